import numpy as np
import pytest
import tensorflow as tf

from data_prep import augment

HEADS, TAILS = (0, 1), (0, 4)  # seeds that draw 0.08 and 0.87
CHANGED = {  # by which augmentation; the first is the modality it needs
    "flip": ("images", "text"),
    "flip_undirected": ("images",),
    "crop": ("images",),
    "color": ("images",),
    "erase": ("images",),
    "blur": ("images",),
    "noise": ("images",),
    "drop_words": ("text",),
    "swap_words": ("text",),
    "audio_noise": ("audio",),
    "audio_shift": ("audio",),
    "spec_augment": ("audio",),
}


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


def full_example():
    """An example with all modalities, long enough that every augmentation has work to do."""
    waveform = 0.3 * np.sin(np.arange(6000) / 5) + 0.01 * np.random.default_rng(1).normal(size=6000)
    text = "two  dogs and a cat sit on a red sofa beside the old lamp in a bright room"
    return {**example_of(noise(64, 81), text), "audio": tf.constant(waveform, tf.float32)}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def rate_of(changed, probability):
    """Asserts that the share of true values is within three standard deviations."""
    sigma = np.sqrt(probability * (1 - probability) / len(changed))
    assert abs(np.mean(changed) - probability) < 3 * sigma


def images_of(function, image, count):
    """The images for the seeds (0, 0), (0, 1), ..."""
    example = example_of(image)
    seeds = tf.data.Dataset.from_tensor_slices(tf.range(count))
    return list(
        seeds.map(lambda seed: function(example, tf.stack([0, seed]))["images"]).as_numpy_iterator()
    )


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


def test_flip_without_a_text_mirrors_the_image():
    before = example_of(rgb([[1, 2, 3]]))
    del before["text"]
    after = apply(augment.flip, before, HEADS)
    np.testing.assert_array_equal(after["images"], rgb([[3, 2, 1]]))


@pytest.mark.parametrize("image", [None, np.zeros((0, 0, 3))])
def test_flip_leaves_the_text_of_no_image_alone(image):
    before = example_of(np.zeros((0, 0, 3)), "a dog left of a cat")
    if image is None:
        del before["images"]
    assert apply(augment.flip, before, HEADS)["text"] == b"a dog left of a cat"


UNDIRECTED = [
    *(
        b"",
        b"a dog",
        b"leftover pizza",
        b"copyright",
        b"bright",
        b"aleft",
        b"a clock",
        b"otherwise",
    ),
    b"no UTF-8 \xff",
]
DIRECTED = [
    *(b"left", b"Right", b"to the LEFT.", b"the leftmost", b"rightmost dog", b"a left-hand turn"),
    *(b"left-handed", b"lefthanded", b"leftward", b"rightwards", b"righthand side", b"leftside"),
    *(b"clockwise", b"Counterclockwise", b"anti-clockwise", b"anticlockwise", b"counter-clockwise"),
    *(b"two\nlines, right", b"no UTF-8 \xff left"),
]


def test_flip_undirected_leaves_an_image_alone_whose_text_tells_a_direction():
    def mirror(text):
        return augment.flip_undirected({**example_of(rgb([[1, 2, 3]])), "text": text}, HEADS)

    texts = tf.data.Dataset.from_tensor_slices([*UNDIRECTED, *DIRECTED])
    after = list(texts.map(mirror).as_numpy_iterator())
    assert [example["text"] for example in after] == [*UNDIRECTED, *DIRECTED]
    is_mirrored = {e["text"]: e["images"][0, :, 0].tolist() == [3, 2, 1] for e in after}
    assert [text for text, mirrored in is_mirrored.items() if mirrored] == UNDIRECTED
    assert all(e["images"][0, :, 0].tolist() in ([1, 2, 3], [3, 2, 1]) for e in after)


def test_flip_undirected_mirrors_half_of_the_images():
    image = rgb([[1, 2]])
    mirrored = images_of(augment.flip_undirected, image, 300)
    rate_of([after[0, 0, 0] == 2 for after in mirrored], 0.5)


def test_the_smallest_crop_is_a_named_constant():
    image = noise(40, 40)
    rows = [len(after) for after in images_of(augment.crop, image, 200)]
    assert min(rows) in (round(40 * augment.SMALLEST_CROP), round(40 * augment.SMALLEST_CROP) + 1)
    assert max(rows) == 40


def test_erase_of_a_literal_image():
    before = example_of(rgb(np.arange(0, 96, 2).reshape(6, 8)))
    after = apply(augment.erase, before, HEADS)
    expected = [
        [0, 2, 4, 6, 8, 10, 12, 14],
        [16, 18, 47, 47, 47, 26, 28, 30],
        [32, 34, 47, 47, 47, 42, 44, 46],
        [48, 50, 52, 54, 56, 58, 60, 62],
        [64, 66, 68, 70, 72, 74, 76, 78],
        [80, 82, 84, 86, 88, 90, 92, 94],
    ]
    np.testing.assert_array_equal(after["images"], rgb(expected))


def test_erase_paints_a_box_of_the_right_size_in_the_mean_color():
    image = noise(50, 80)
    image[..., 2] = 7
    image[image[..., 0] == 127] = 0  # then no pixel has the mean color but by erasing
    mean = np.round(image.reshape(-1, 3).mean(0)).astype(np.uint8)
    assert not (image == mean).all(-1).any()
    areas, ratios, corners, is_erased = [], [], [], []
    for after in images_of(augment.erase, image, 300):
        changed = (after != image).any(-1)
        is_erased.append(changed.any())
        if not changed.any():
            continue
        (top, left), (bottom, right) = np.argwhere(changed).min(0), np.argwhere(changed).max(0)
        assert changed[top : bottom + 1, left : right + 1].all()
        assert (after[changed] == mean).all()
        height, width = (bottom + 1 - top) / 50, (right + 1 - left) / 80
        areas.append(height * width)
        ratios.append(height / width)
        corners.append((top == 0, left == 0, bottom == 49, right == 79))
    rate_of(is_erased, 0.5)
    # A box of 4 rows may be off by half a row, hence the slack.
    assert 0.015 < min(areas) < 0.03
    assert 0.19 < max(areas) < 0.22
    assert 0.25 < min(ratios) < 0.4
    assert 2.5 < max(ratios) < 3.7
    assert abs(np.mean(areas) - 0.11) < 3 * 0.18 / np.sqrt(12 * len(areas))
    assert abs(np.mean(np.log(ratios))) < 3 * np.log(11) / np.sqrt(12 * len(ratios))
    assert np.any(corners, axis=0).all()


def gaussian_blur(image, sigma):
    """An oracle in numpy: full two-dimensional kernel, mirrored borders."""
    offsets = np.arange(-6, 7)
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    padded = np.pad(image.astype(float), ((6, 6), (6, 6), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (13, 13), axis=(0, 1))
    return np.einsum("yxcij,ij->yxc", windows, kernel)


@pytest.mark.parametrize("shape", [(20, 30), (1, 1), (1, 4), (2, 3), (7, 6)])
def test_blur_is_a_gaussian_with_mirrored_borders(shape):
    image = noise(*shape)
    blurred = images_of(lambda e, s: augment.blur(e, s, probability=1.0), image, 10)
    for seed, after in enumerate(blurred):
        draw = tf.random.stateless_uniform((2,), (0, seed)).numpy()[1]
        expected = gaussian_blur(image, 0.1 + 1.9 * draw)
        np.testing.assert_allclose(after, expected, atol=0.501)  # rounded to whole numbers


def test_blur_of_a_literal_image():
    before = example_of(rgb([[0, 0, 0, 0], [0, 0, 180, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))

    def half(example, seed):
        return augment.blur(example, seed, 1.0, smallest_sigma=0.5, largest_sigma=0.5)

    after = apply(half, before, (0, 0))
    # The weights are 0.7866, 0.1065 beside it and 0.0003 at a distance of two. The row above and
    # the column to the right count twice, because their neighbour beyond the border is the same.
    expected = [[0, 4, 30, 8], [0, 15, 111, 30], [0, 2, 15, 4], [0, 0, 0, 0]]
    np.testing.assert_array_equal(after["images"], rgb(expected))


def test_blur_leaves_half_of_the_images_and_a_plain_one_alone():
    image = noise()
    rate_of(
        [not np.array_equal(after, image) for after in images_of(augment.blur, image, 300)], 0.5
    )
    plain = np.full((5, 9, 3), 255, np.uint8)
    for after in images_of(lambda e, s: augment.blur(e, s, probability=1.0), plain, 10):
        np.testing.assert_array_equal(after, plain)


def test_noise_has_mean_zero_and_a_random_strength():
    image = np.full((40, 50, 3), 128, np.uint8)
    added = [after - 128.0 for after in images_of(augment.noise, image, 100)]
    deviations = np.std(added, axis=(1, 2, 3))
    for values, sd in zip(added, deviations, strict=True):
        assert abs(values.mean()) < 4 * max(sd, 0.01) / np.sqrt(values.size)
    assert deviations.min() < 1
    assert 12 < deviations.max() < 0.05 * 255 + 0.4
    assert abs(deviations.mean() - 0.025 * 255) < 3 * 0.05 * 255 / np.sqrt(12 * 100)


def test_noise_stays_in_range_and_differs_between_channels():
    for value, sign in ((0, 1), (255, -1)):
        for after in images_of(augment.noise, np.full((9, 9, 3), value), 5):
            assert (sign * (after.astype(int) - value) >= 0).all()
            assert abs(after.astype(int) - value).max() < 70
            assert (after[..., 0] != after[..., 1]).any()


def test_every_augmentation_is_in_the_tables():
    assert CHANGED.keys() == augment.AUGMENTATIONS.keys()


@pytest.mark.parametrize("name", CHANGED)
def test_an_augmentation_follows_from_its_seed_and_changes_nothing_else(name):
    function, before = augment.get(name), full_example()
    seeds = tf.constant([[seed, 7] for seed in range(8)])
    dataset = tf.data.Dataset.from_tensor_slices(seeds)
    outputs = list(dataset.map(lambda seed: function(before, seed)).as_numpy_iterator())
    for seed, mapped in zip(seeds, outputs, strict=True):
        eager = function(before, seed)
        assert_equal({key: value.numpy() for key, value in eager.items()}, mapped)  # bit by bit
    for key in before:
        values = {str(np.asarray(output[key]).tolist()) for output in outputs}
        if key == CHANGED[name][0]:
            assert len(values) > 1
        elif key not in CHANGED[name]:
            assert values == {str(np.asarray(before[key]).tolist())}


@pytest.mark.parametrize("name", CHANGED)
def test_an_augmentation_keeps_keys_dtypes_and_ranks(name):
    before = full_example()
    spec = {key: tf.TensorSpec([None] * value.ndim, value.dtype) for key, value in before.items()}
    spec["images"] = tf.TensorSpec((None, None, 3), tf.uint8)
    dataset = tf.data.Dataset.from_generator(lambda: iter([before]), output_signature=spec)
    dataset = dataset.map(lambda example: augment.get(name)(example, HEADS))
    assert dataset.element_spec == spec
    (after,) = dataset.as_numpy_iterator()
    assert after["images"].dtype == np.uint8
    assert after["images"].ndim == 3
    assert after["audio"].shape == (6000,)


@pytest.mark.parametrize("name", CHANGED)
def test_a_missing_modality_leaves_the_example_as_it_is(name):
    before = full_example()
    del before[CHANGED[name][0]]
    assert_equal(apply(augment.get(name), before, HEADS), before)


@pytest.mark.parametrize("name", CHANGED)
def test_an_absent_modality_stays_absent(name):
    before = {**example_of(np.zeros((0, 0, 3)), ""), "audio": tf.zeros([0])}
    assert_equal(apply(augment.get(name), before, HEADS), before)


@pytest.mark.parametrize("name", [name for name, keys in CHANGED.items() if keys[0] == "images"])
def test_an_image_of_one_pixel_is_no_problem(name):
    after = images_of(augment.get(name), [[[10, 20, 30]]], 8)
    assert {image.shape for image in after} == {(1, 1, 3)}


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
    message = (
        r"Unknown augmentation 'flipp'\. Did you mean 'flip'\? Known: audio_noise, audio_shift,"
    )
    with pytest.raises(ValueError, match=message):
        augment.compose(["flipp"])
