import numpy as np
import pytest
import tensorflow as tf

from data_prep import augment

HEADS, TAILS = (0, 1), (0, 4)  # seeds that draw 0.08 and 0.87


def example_of(image, text="a dog"):
    return {
        "id": tf.constant("train/7"),
        "group": tf.constant(7, tf.int64),
        "images": tf.constant(image, tf.uint8),
        "text": tf.constant(text),
        "labels": tf.constant([0.0, 1.0]),
    }


def apply(function, example, seed):
    """Runs a transform eagerly and inside `Dataset.map`, which must agree; returns numpy."""
    eager = {key: value.numpy() for key, value in function(example, seed).items()}
    dataset = tf.data.Dataset.from_tensors(example).map(lambda e: function(e, seed))
    (mapped,) = dataset.as_numpy_iterator()
    assert eager.keys() == mapped.keys() == example.keys()
    for key, value in eager.items():
        np.testing.assert_array_equal(value, mapped[key], err_msg=key)
        assert value.dtype == mapped[key].dtype if key not in ("id", "text") else True
        assert dataset.element_spec[key].dtype == example[key].dtype
    return eager


def rgb(grey):
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=-1)


def noise(height=20, width=30):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_flip_mirrors_the_image_and_swaps_left_and_right():
    before = example_of(rgb([[1, 2, 3], [4, 5, 6]]), "a dog left of a cat on the right")
    after = apply(augment.flip, before, HEADS)
    np.testing.assert_array_equal(after["images"], rgb([[3, 2, 1], [6, 5, 4]]))
    assert after["text"] == b"a dog right of a cat on the left"
    assert (after["id"], after["group"], after["labels"].tolist()) == (b"train/7", 7, [0, 1])


def test_flip_leaves_half_of_the_examples_alone():
    before = example_of(rgb([[1, 2, 3], [4, 5, 6]]), "a dog left of a cat")
    after = apply(augment.flip, before, TAILS)
    np.testing.assert_array_equal(after["images"], before["images"])
    assert after["text"] == b"a dog left of a cat"
    image = before["images"].numpy()
    flipped = [
        not np.array_equal(augment.flip(before, (0, seed))["images"], image) for seed in range(200)
    ]
    assert abs(np.mean(flipped) - 0.5) < 3 * np.sqrt(0.25 / 200)


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("leftover pizza, bright copyright", "leftover pizza, bright copyright"),
        ("left, right.", "right, left."),
        ("left left right", "right right left"),
        ("a left-handed man", "a right-handed man"),
        ("Left of RIGHT", "Right of LEFT"),
        ("", ""),
        ("ein Vögelchen left", "ein Vögelchen right"),
    ],
)
def test_flip_swaps_whole_words_only(text, mirrored):
    after = apply(augment.flip, example_of(rgb([[1, 2]]), text), HEADS)
    assert after["text"].decode() == mirrored


def test_flip_twice_is_the_identity():
    before = example_of(noise(), "left of the right leftover")
    twice = augment.flip(augment.flip(before, HEADS), HEADS)
    np.testing.assert_array_equal(twice["images"], before["images"])
    assert twice["text"] == before["text"]


def test_crop_of_a_literal_image():
    before = example_of(rgb(np.arange(30).reshape(5, 6)))
    after = apply(lambda e, s: augment.crop(e, s, smallest_fraction=0.5), before, (0, 1))
    expected = [[6, 7, 8, 9, 10], [12, 13, 14, 15, 16], [18, 19, 20, 21, 22]]
    np.testing.assert_array_equal(after["images"], rgb(expected))
    assert after["text"] == b"a dog"


def test_crop_is_a_window_of_at_least_the_fraction_of_each_side():
    height, width = 13, 17
    y, x = np.mgrid[0:height, 0:width]
    before = example_of(np.stack([y, x, np.zeros_like(x)], axis=-1))
    shapes, starts = [], []
    for seed in range(100):
        image = augment.crop(before, (0, seed))["images"].numpy()
        top, left = int(image[0, 0, 0]), int(image[0, 0, 1])
        rows, columns = image.shape[:2]
        np.testing.assert_array_equal(
            image, before["images"][top : top + rows, left : left + columns]
        )
        shapes.append((rows, columns))
        starts.append((top, left))
    fractions = np.array(shapes) / (height, width)
    assert fractions.min() >= 0.8
    assert fractions.max() == 1
    assert (fractions < 1).any(axis=0).all()
    assert np.array(starts).max(axis=0).tolist() == [2, 3]  # the far ends are reached


def test_a_crop_of_one_pixel_is_that_pixel():
    after = apply(augment.crop, example_of([[[1, 2, 3]]]), (0, 0))
    assert after["images"].tolist() == [[[1, 2, 3]]]


def test_color_of_a_literal_image():
    # This seed draws contrast -0.1156 and brightness +0.0824; the mean of the image is 150.
    after = apply(augment.color, example_of(rgb([[100, 200]])), (0, 0))
    low, high = -50 * (1 - 0.1156) + 150 * 1.0824, 50 * (1 - 0.1156) + 150 * 1.0824
    np.testing.assert_array_equal(after["images"], rgb([[round(low), round(high)]]))
    assert after["images"][0, :, 0].tolist() == [118, 207]


def test_color_stays_in_range_and_never_wraps_around():
    white, black = example_of(np.full((2, 2, 3), 255)), example_of(np.zeros((2, 2, 3)))
    brightest, darkest = [], []
    for seed in range(40):
        brightest.append(augment.color(white, (0, seed))["images"].numpy())
        darkest.append(augment.color(black, (0, seed))["images"].numpy())
    assert np.min(brightest) >= np.floor(0.8 * 255)
    assert np.min(brightest) < np.max(brightest) == 255
    assert np.max(darkest) == 0


def test_color_of_strength_zero_changes_nothing():
    before = example_of(noise())
    after = augment.color(before, (0, 0), strength=0.0)
    np.testing.assert_array_equal(after["images"], before["images"])


@pytest.mark.parametrize("name", augment.AUGMENTATIONS)
def test_an_augmentation_follows_from_its_seed(name):
    function, example = augment.get(name), example_of(noise(), "left")
    outputs = [function(example, (3, seed))["images"].numpy() for seed in range(12)]
    again = [function(example, (3, seed))["images"].numpy() for seed in range(12)]
    for first, second in zip(outputs, again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert len({output.tobytes() for output in outputs}) > 1


@pytest.mark.parametrize("name", augment.AUGMENTATIONS)
def test_an_augmentation_keeps_keys_dtypes_and_ranks(name):
    before = example_of(noise(), "left")
    after = apply(augment.get(name), before, (0, 1))
    assert {key: value.ndim for key, value in after.items() if key not in ("id", "text")} == {
        "group": 0,
        "images": 3,
        "labels": 1,
    }
    assert after["images"].dtype == np.uint8


def test_compose_gives_each_function_a_seed_of_its_own():
    seeds = []

    def record(example, seed):
        seeds.append(tuple(np.array(seed).tolist()))
        return example

    joined = augment.compose([record, record, record])
    for _ in range(2):
        joined(example_of(noise()), tf.constant([5, 6]))
    joined(example_of(noise()), tf.constant([5, 7]))
    assert seeds[:3] == seeds[3:6]
    assert len(set(seeds)) == 6
    assert all(len(seed) == 2 for seed in seeds)


def test_compose_applies_in_order():
    def add(example, seed):
        return {**example, "images": example["images"] + tf.constant(10, tf.uint8)}

    def double(example, seed):
        return {**example, "images": example["images"] * tf.constant(2, tf.uint8)}

    before = example_of([[[1, 2, 3]]])
    after = apply(augment.compose([add, double]), before, tf.constant([0, 0]))
    assert after["images"].tolist() == [[[22, 24, 26]]]


def test_compose_takes_names_and_functions_and_nothing():
    before = example_of(noise(), "left")
    after = apply(augment.compose(["flip", augment.crop, "color"]), before, tf.constant([0, 1]))
    assert not np.array_equal(after["images"], before["images"])
    unchanged = apply(augment.compose([]), before, tf.constant([0, 1]))
    np.testing.assert_array_equal(unchanged["images"], before["images"])


def test_an_unknown_name_gets_a_suggestion():
    message = r"Unknown augmentation 'flipp'\. Did you mean 'flip'\? Known: color, crop, flip\."
    with pytest.raises(ValueError, match=message):
        augment.compose(["flipp"])
