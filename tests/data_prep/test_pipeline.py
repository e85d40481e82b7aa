import cv2
import numpy as np
import pytest
import tensorflow as tf

from data_prep.errors import DataError
from data_prep.features import example_spec
from data_prep.pipeline import build_dataset
from tests import toys
from tests.examples_source import ExamplesSource, examples


@pytest.fixture(scope="module")
def preprocessor():
    return toys.preprocessor()


def source_with(captions, images):
    index = examples(range(len(images)), captions=captions, images=images)
    return ExamplesSource({"train": index})


def ids_of(dataset):
    """The ids of one pass, in order, of raw examples or of batches with ids."""
    elements = [e["id"] if isinstance(e, dict) else e[0] for e in dataset.as_numpy_iterator()]
    return [name.decode() for name in np.hstack(elements)]


def assert_same(first, second):
    tf.nest.map_structure(np.testing.assert_array_equal, first, second)


def test_raw_examples_have_the_declared_spec(shapes):
    dataset = build_dataset(shapes, "train")
    assert dataset.element_spec == example_spec(shapes.examples("train"))
    assert len(dataset) == 24


def test_raw_examples_hold_what_the_source_says(shapes):
    index = shapes.examples("train")
    found = list(build_dataset(shapes, "train").as_numpy_iterator())
    assert len(found) == len(index) == 24
    for row, example in enumerate(found):
        assert example["id"].decode() == index.ids[row]
        assert example["group"] == index.groups[row]
        assert example["text"].decode() == index.captions[row][0]
        np.testing.assert_array_equal(example["labels"], index.labels[row])
        image = cv2.imread(index.images[row])[..., ::-1]
        assert np.abs(example["images"].astype(int) - image).mean() < 2


def test_batches_have_the_declared_keys_shapes_and_dtypes(shapes, preprocessor):
    dataset = build_dataset(shapes, "train", preprocessor, batch_size=10)
    assert len(dataset) == 3
    batches = list(dataset)
    assert [len(y) for _, y, _ in batches] == [10, 10, 4]
    for x, y, sample_weight in batches:
        size = len(y)
        assert {key: (value.dtype.name, value.shape) for key, value in x.items()} == {
            "images": ("float32", (size, 32, 32, 3)),
            "images_present": ("int32", (size,)),
            "token_ids": ("int32", (size, 8)),
            "segment_ids": ("int32", (size, 8)),
            "padding_mask": ("int32", (size, 8)),
            "text_present": ("int32", (size,)),
        }
        assert (y.dtype, y.shape) == (tf.float32, (size, 8))
        assert sample_weight.dtype == tf.float32
        assert sample_weight.numpy().tolist() == [1.0] * size
        assert x["images_present"].numpy().all()
        assert x["text_present"].numpy().all()
        assert x["images"].numpy().max() > 100  # in [0, 255], not [0, 1]


def test_batches_are_the_preprocessed_examples_in_the_order_of_the_source(shapes, preprocessor):
    index = shapes.examples("val")
    x, y, _ = next(iter(build_dataset(shapes, "val", preprocessor, batch_size=12)))
    np.testing.assert_array_equal(y, index.labels)
    files = []
    for path in index.images:
        with open(path, "rb") as file:
            files.append(file.read())
    expected = preprocessor({"images": files, "text": [texts[0] for texts in index.captions]})
    assert x.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(x[key], value, atol=1e-3, err_msg=key)


def test_ids_come_beside_the_batch_and_never_inside(shapes, preprocessor):
    dataset = build_dataset(shapes, "train", preprocessor, 10, with_ids=True)
    plain = build_dataset(shapes, "train", preprocessor, 10)
    names = []
    for (ids, data), without in zip(dataset, plain, strict=True):
        assert ids.dtype == tf.string
        names += [name.decode() for name in ids.numpy()]
        assert not {"id", "group", "labels"} & set(data[0])
        assert_same(data, without)
    assert names == shapes.examples("train").ids


def test_unshuffled_passes_are_equal_even_with_augmentations(shapes):
    dataset = build_dataset(shapes, "train", augmentations=("crop", "color"))
    first, second = (list(dataset.as_numpy_iterator()) for _ in range(2))
    assert_same(first, second)
    assert [example["id"].decode() for example in first] == shapes.examples("train").ids


def test_every_shuffled_pass_holds_every_example_once_in_another_order(shapes):
    dataset = build_dataset(shapes, "train", shuffle=True)
    passes = [ids_of(dataset) for _ in range(3)]
    expected = shapes.examples("train").ids
    for ids in passes:
        assert sorted(ids) == sorted(expected)
        assert ids != expected
    assert len({tuple(ids) for ids in passes}) == 3


def test_shuffled_batches_hold_every_example_once(shapes, preprocessor):
    dataset = build_dataset(shapes, "train", preprocessor, 7, shuffle=True, with_ids=True)
    assert sorted(ids_of(dataset)) == sorted(shapes.examples("train").ids)


def test_shuffling_keeps_the_parts_of_an_example_together(shapes):
    index = shapes.examples("train")
    rows = {name: row for row, name in enumerate(index.ids)}
    for example in build_dataset(shapes, "train", shuffle=True).as_numpy_iterator():
        row = rows[example["id"].decode()]
        assert example["group"] == index.groups[row]
        assert example["text"].decode() in index.captions[row]
        np.testing.assert_array_equal(example["labels"], index.labels[row])
        image = cv2.imread(index.images[row])[..., ::-1]
        assert np.abs(example["images"].astype(int) - image).mean() < 2


def test_shuffling_draws_every_caption_equally_often_and_anew_on_each_pass(shapes):
    source = source_with([list("abcde")] * 100, shapes.examples("val").images[:1] * 100)
    dataset = build_dataset(source, "train", shuffle=True)
    passes = []
    for _ in range(2):
        drawn = {int(e["group"]): e["text"].decode() for e in dataset.as_numpy_iterator()}
        passes.append([drawn[group] for group in range(100)])
    counts = np.array([(passes[0] + passes[1]).count(letter) for letter in "abcde"])
    assert np.abs(counts - 40).max() < 3 * np.sqrt(200 * 0.2 * 0.8)
    assert passes[0] != passes[1]


AUGMENTATIONS = ("flip", "crop", "color")


@pytest.mark.parametrize("augmentations", [(), AUGMENTATIONS])
def test_the_same_seed_gives_the_same_passes_bit_by_bit(shapes, augmentations):
    options = {"shuffle": True, "augmentations": augmentations, "seed": 3}
    first, second = (build_dataset(shapes, "train", **options) for _ in range(2))
    for _ in range(2):
        assert_same(list(first.as_numpy_iterator()), list(second.as_numpy_iterator()))


def test_the_same_seed_gives_the_same_batches_bit_by_bit(shapes, preprocessor):
    options = {"shuffle": True, "augmentations": AUGMENTATIONS, "seed": 3, "with_ids": True}
    first, second = (build_dataset(shapes, "train", preprocessor, 8, **options) for _ in range(2))
    for _ in range(2):
        assert_same(list(first.as_numpy_iterator()), list(second.as_numpy_iterator()))


def test_another_seed_gives_another_order_and_other_augmentations(shapes):
    orders = [ids_of(build_dataset(shapes, "train", shuffle=True, seed=s)) for s in (0, 1)]
    assert orders[0] != orders[1]
    images = [
        next(build_dataset(shapes, "train", augmentations=["color"], seed=s).as_numpy_iterator())
        for s in (0, 1)
    ]
    assert images[0]["id"] == images[1]["id"]
    assert not np.array_equal(images[0]["images"], images[1]["images"])


def test_augmentations_differ_between_examples_and_between_passes(shapes):
    sizes_of_passes = []
    dataset = build_dataset(shapes, "train", shuffle=True, augmentations=["crop"])
    for _ in range(2):
        sizes = {e["id"]: e["images"].shape for e in dataset.as_numpy_iterator()}
        assert len(set(sizes.values())) > 12
        sizes_of_passes.append(sizes)
    first, second = sizes_of_passes
    changed = [first[name] != second[name] for name in first]
    assert np.mean(changed) > 0.8


def test_drop_remainder_leaves_the_smaller_batch_out(shapes, preprocessor):
    dataset = build_dataset(shapes, "train", preprocessor, 10, drop_remainder=True)
    assert [len(y) for _, y, _ in dataset] == [10, 10]
    assert dataset.element_spec[1].shape == (10, 8)


def test_a_split_smaller_than_one_batch_is_an_error_only_if_the_remainder_is_dropped(
    shapes, preprocessor
):
    message = "The split 'val' has 12 examples, fewer than one batch of 13. Fix: a smaller batch"
    with pytest.raises(DataError, match=message):
        build_dataset(shapes, "val", preprocessor, 13, drop_remainder=True)
    (batch,) = build_dataset(shapes, "val", preprocessor, 13)
    assert len(batch[1]) == 12


@pytest.mark.parametrize(
    ("change", "component"),
    [
        (lambda e: {**e, "images": tf.cast(e["images"], tf.float32)}, "images"),
        (lambda e: {**e, "images": e["images"][..., 0]}, "images"),
        (lambda e: {k: v for k, v in e.items() if k != "text"}, "text"),
    ],
)
def test_an_augmentation_that_breaks_the_example_is_named_before_any_is_read(
    shapes, change, component
):
    message = rf"The pipeline of 'train' yields a wrong component \['{component}'\]"
    with pytest.raises(ValueError, match=message):
        build_dataset(shapes, "train", augmentations=[lambda example, seed: change(example)])


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("captions", [[["a dog"], [], ["red", "blue"]], [[], [], []]])
def test_an_image_without_captions_has_an_empty_text(shapes, captions, shuffle):
    source = source_with(captions, shapes.examples("train").images[:3])
    dataset = build_dataset(source, "train", shuffle=shuffle)
    for example in dataset.as_numpy_iterator():
        allowed = captions[int(example["group"])] or [""]
        assert example["text"].decode() in allowed


def test_absent_text_is_marked_in_the_batch(shapes, preprocessor):
    source = source_with([["a dog"], []], shapes.examples("train").images[:2])
    ((x, _, _),) = build_dataset(source, "train", preprocessor)
    assert x["text_present"].numpy().tolist() == [1, 0]


def test_data_without_labels_have_batches():
    index = examples(range(3), np.zeros((3, 0), np.uint8), captions=[["a dog"], ["a cat"], []])
    source = ExamplesSource({"train": index}, label_names=())
    dataset = build_dataset(source, "train", toys.preprocessor(("text",)), 2, with_ids=True)
    assert [y.shape for _, (_, y, _) in dataset] == [(2, 0), (1, 0)]
    assert build_dataset(source, "train").element_spec == example_spec(index)
    assert ids_of(dataset) == ids_of(build_dataset(source, "train")) == ["0", "1", "2"]


def test_the_preprocessor_may_draw_by_the_seed_of_an_example(shapes):
    class Draws:
        def convert_example(self, example):
            draw = tf.random.stateless_uniform((), example["seed"])
            return {"draw": draw, "labels": example["labels"]}

        def __call__(self, batch):
            return batch

    def draws(**options):
        dataset = build_dataset(shapes, "train", Draws(), 4, with_seeds=True, **options)
        return np.concatenate([x["draw"] for x, _, _ in dataset.take(6)])

    options = {"shuffle": True, "repeat": True}
    first = draws(**options)
    assert len(set(first.tolist())) == 24
    np.testing.assert_array_equal(draws(**options, parallel_calls=1), first)
    assert not set(draws(**options, start=(1, 0))) & set(first)
