"""Position, sharding, balance, caching, other modalities: the options of `build_dataset`."""

import io
import itertools
import wave

import cv2
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from data_prep.errors import DataError
from data_prep.pipeline import build_dataset, count_examples, flat_captions
from tests import toys
from tests.data_prep.test_pipeline import assert_same, ids_of
from tests.examples_source import ExamplesSource, examples

TRAINING = {"shuffle": True, "augmentations": ("flip", "crop", "color", "erase"), "seed": 3}


@pytest.fixture(scope="module")
def preprocessor():
    return toys.preprocessor()


def train_only(count, labels=None, **columns):
    return ExamplesSource({"train": examples(range(count), labels, **columns)})


def batches(source, preprocessor, count=None, **options):
    dataset = build_dataset(source, "train", preprocessor, 5, with_ids=True, **TRAINING, **options)
    return list((dataset if count is None else dataset.take(count)).as_numpy_iterator())


def test_one_or_eight_parallel_calls_give_the_same_bits(shapes, preprocessor):
    one, eight = (batches(shapes, preprocessor, parallel_calls=n) for n in (1, 8))
    assert_same(one, eight)


def test_going_on_in_the_middle_gives_the_rest_of_the_same_epoch_and_then_the_next(
    shapes, preprocessor
):
    options = {"with_ids": True, **TRAINING}
    whole = build_dataset(shapes, "train", preprocessor, 5, **options)
    epochs = [list(whole.as_numpy_iterator()) for _ in range(3)]
    rest = build_dataset(shapes, "train", preprocessor, 5, start=(1, 3), **options)
    assert_same(list(rest.as_numpy_iterator()), epochs[1][3:])
    assert_same(list(rest.as_numpy_iterator()), epochs[2])


def test_an_endless_dataset_is_the_epochs_in_whole_batches_one_after_the_other(
    shapes, preprocessor
):
    options = {"with_ids": True, "drop_remainder": True, **TRAINING}
    finite = build_dataset(shapes, "train", preprocessor, 5, **options)
    expected = [batch for _ in range(3) for batch in finite.as_numpy_iterator()]
    assert len(expected) == 3 * (24 // 5)
    endless = build_dataset(shapes, "train", preprocessor, 5, repeat=True, **options)
    assert_same(list(endless.take(12).as_numpy_iterator()), expected)
    later = build_dataset(shapes, "train", preprocessor, 5, repeat=True, start=(1, 2), **options)
    assert_same(list(later.take(6).as_numpy_iterator()), expected[6:])


def test_a_later_start_of_an_unshuffled_dataset_holds_for_its_first_pass_alone(
    shapes, preprocessor
):
    options = {"with_ids": True, "augmentations": ("color",)}
    whole = list(build_dataset(shapes, "train", preprocessor, 5, **options).as_numpy_iterator())
    rest = build_dataset(shapes, "train", preprocessor, 5, start=(2, 3), **options)
    assert_same(list(rest.as_numpy_iterator()), whole[3:])
    assert_same(list(rest.as_numpy_iterator()), whole)


def test_the_order_does_not_depend_on_the_global_seed(shapes, preprocessor):
    tf.random.set_seed(1)
    first = batches(shapes, preprocessor)
    tf.random.set_seed(2)
    assert_same(first, batches(shapes, preprocessor))


def test_hosts_share_an_epoch_without_overlap_in_equally_many_batches(shapes):
    parts = [
        ids_of(build_dataset(shapes, "train", shuffle=True, shard=(host, 5))) for host in range(5)
    ]
    assert sorted(itertools.chain.from_iterable(parts)) == sorted(shapes.examples("train").ids)
    assert [len(part) for part in parts] == [5, 5, 5, 5, 4]
    even = [
        build_dataset(shapes, "train", toys.preprocessor(), 2, drop_remainder=True, shard=(h, 5))
        for h in range(5)
    ]
    assert {len(dataset) for dataset in even} == {2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": (2, 2)}, r"`shard` must be \(index, count\) with an index below the count"),
        ({"start": (-1, 0)}, r"`start` must be \(epoch, step\), both from 0"),
        ({"class_weights": "even"}, "`class_weights` must be 'balanced' or numbers"),
        ({"class_weights": [1.0]}, "There must be one weight from 0 for each of 8 classes"),
        ({"oversample": 2.0}, r"`oversample` must be a share in \(0, 1\]"),
        ({"service": "grpc://x:1", "shuffle": True}, "starts every pass anew"),
        ({"augmentations": ("mixup",)}, "for images alone: half a caption has no meaning"),
    ],
)
def test_options_out_of_range_are_refused(shapes, preprocessor, options, message):
    with pytest.raises(ValueError, match=message):
        build_dataset(shapes, "train", preprocessor, **options)


def colors(count=4):
    """Small files, each of one grey, in memory of the test's folder."""
    return [np.full((10, 12, 3), 40 * row + 20, np.uint8) for row in range(count)]


@pytest.fixture
def paths(tmp_path):
    found = []
    for row, image in enumerate(colors()):
        found.append(str(tmp_path / f"{row}.png"))
        cv2.imwrite(found[-1], image)
    return found


LABELS = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.uint8)


def test_sample_weights_follow_the_labels(paths, preprocessor):
    source = train_only(4, LABELS, images=paths, captions=[["a"]] * 4)
    (batch,) = build_dataset(source, "train", preprocessor)
    assert batch[2].numpy().tolist() == [1.0] * 4
    (batch,) = build_dataset(source, "train", preprocessor, class_weights=[1.0, 3.0])
    np.testing.assert_allclose(batch[2], np.array([1, 1, 2, 1]) / 1.25)
    (batch,) = build_dataset(source, "train", preprocessor, class_weights="balanced")
    # Of 4 labels 3 and 1: weights 4 / (2 * 3) and 4 / (2 * 1), means of the labels, scaled.
    expected = np.array([2 / 3, 2 / 3, 4 / 3, 1])
    np.testing.assert_allclose(batch[2], expected / expected.mean(), rtol=1e-6)


def test_oversampling_shows_rare_classes_more_often_with_other_augmentations(paths):
    source = train_only(4, LABELS, images=paths, captions=[["a"]] * 4)
    dataset = build_dataset(source, "train", shuffle=True, augmentations=["color"], oversample=1.0)
    assert len(dataset) == 5
    found = list(dataset.as_numpy_iterator())
    twice = [example for example in found if example["id"] == b"2"]
    assert sorted(example["id"].decode() for example in found) == ["0", "1", "2", "2", "3"]
    assert not np.array_equal(twice[0]["images"], twice[1]["images"])


def test_sparse_labels_are_the_dense_ones(paths):
    soft = np.array([[0, 0.3, 0], [0, 0, 0], [1, 0, 0.6], [0, 1, 0]], np.float32)
    for labels in (soft, sparse.csr_array(soft)):
        index = examples(range(4), labels, images=paths)
        source = ExamplesSource({"train": index}, label_names="abc")
        found = list(build_dataset(source, "train").as_numpy_iterator())
        np.testing.assert_array_equal(np.stack([e["labels"] for e in found]), soft)
        assert sorted(found[0]) == ["group", "id", "images", "labels"]


def test_an_absent_image_has_no_pixels_and_is_marked_in_the_batch(paths, preprocessor):
    files, captions = [paths[0], "", paths[2], ""], [["a"], ["b"], [], ["c"]]
    source = train_only(4, images=files, captions=captions)
    found = list(build_dataset(source, "train").as_numpy_iterator())
    assert [e["images"].shape for e in found] == [(10, 12, 3), (0, 0, 3), (10, 12, 3), (0, 0, 3)]
    for options in ({}, {"augmentations": ("flip", "crop", "color", "erase", "blur", "noise")}):
        ((x, _, _),) = build_dataset(source, "train", preprocessor, **options)
        assert x["images_present"].numpy().tolist() == [1, 0, 1, 0]
        assert x["text_present"].numpy().tolist() == [1, 1, 0, 1]
        assert not x["images"].numpy()[[1, 3]].any()
        assert x["images"].numpy()[[0, 2]].any(axis=(1, 2, 3)).all()


def test_cached_files_are_read_once_and_give_the_same_batches(paths, preprocessor, monkeypatch):
    source = train_only(4, images=[*paths[:3], ""], captions=[["a", "b"]] * 4)
    plain = batches(source, preprocessor)
    dataset = build_dataset(source, "train", preprocessor, 5, with_ids=True, cache=True, **TRAINING)
    for path in paths:
        with open(path, "w"):
            pass  # the files are empty now
    assert_same(list(dataset.as_numpy_iterator()), plain)
    monkeypatch.setattr("data_prep.pipeline.SHARE_OF_MEMORY", 1e-12)
    with open(paths[0], "wb") as file:
        file.write(b"0" * 1000)
    with pytest.raises(DataError, match=r"The images of 'train' need .* GB, more than half of"):
        build_dataset(source, "train", preprocessor, cache=True)


def test_a_service_gives_the_same_batches(shapes, preprocessor):
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=address))
    options = {"repeat": True, **TRAINING}
    here = build_dataset(shapes, "train", preprocessor, 5, **options).take(6)
    there = build_dataset(shapes, "train", preprocessor, 5, service=dispatcher.target, **options)
    assert_same(list(here.as_numpy_iterator()), list(there.take(6).as_numpy_iterator()))
    del worker


def test_mixup_and_cutmix_act_on_batches_of_images_alone(shapes):
    images = toys.preprocessor(("images",))
    plain = build_dataset(shapes, "train", images, 8, shuffle=True, drop_remainder=True)
    for name in ("mixup", "cutmix"):
        options = {"shuffle": True, "drop_remainder": True, "augmentations": (name,)}
        mixed = build_dataset(shapes, "train", images, 8, **options)
        first = [list(mixed.as_numpy_iterator()) for _ in range(2)]
        again = build_dataset(shapes, "train", images, 8, start=(1, 0), **options)
        assert_same(list(again.as_numpy_iterator()), first[1])
        plain_again = build_dataset(shapes, "train", images, 8, shuffle=True, drop_remainder=True)
        (x, y, _), (before, labels, _) = first[0][0], next(iter(plain_again))
        assert np.abs(x["images"] - before["images"]).max() > 1
        # The labels of a mixed batch are mixed as well, and none are lost.
        np.testing.assert_allclose(y.sum(), labels.numpy().sum(), rtol=1e-5)
        assert ((y > 0) & (y < 1)).any()
    assert len(plain) == 3


def waveform_file(path, samples):
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, 16000, len(samples), "NONE", ""))
        file.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    path.write_bytes(data.getvalue())
    return str(path)


def test_audio_series_and_tables_are_in_the_examples(tmp_path):
    sound = waveform_file(tmp_path / "a.wav", [0.5, -0.5, 0.25])
    series = np.array([[[1, 2], [np.nan, 4]], [[5, 6], [7, 8]]], np.float32)
    source = train_only(
        2,
        audio=[sound, ""],
        series=series,
        table={"age": np.array([30, 40], np.float32), "city": ["Rome", ""]},
    )
    dataset = build_dataset(source, "train")
    assert {name: spec.shape.as_list() for name, spec in dataset.element_spec["table"].items()} == {
        "age": [],
        "city": [],
    }
    first, second = dataset.as_numpy_iterator()
    np.testing.assert_allclose(first["audio"], [0.5, -0.5, 0.25], atol=1e-4)
    assert second["audio"].shape == (0,)
    np.testing.assert_array_equal(first["series"], series[0])
    assert (first["table"]["age"], first["table"]["city"]) == (30, b"Rome")
    assert (second["table"]["age"], second["table"]["city"]) == (40, b"")
    assert "images" not in first
    assert "text" not in first


@pytest.mark.parametrize(
    ("option", "value"),
    [("oversample", 0.5), ("class_weights", "balanced"), ("class_weights", [1])],
)
def test_options_for_labels_are_refused_for_regression_targets(option, value):
    source = train_only(3, np.array([[0.5], [-2], [7]], np.float32), captions=[["a"]] * 3)
    source.label_kind = "regression"
    targets = [e["labels"].tolist() for e in build_dataset(source, "train").as_numpy_iterator()]
    assert targets == [[0.5], [-2], [7]]
    assert count_examples(source, "train") == 3
    message = (
        rf"^`{option}` needs labels, but 'my data' has regression targets\. Fix: leave it out\.$"
    )
    with pytest.raises(ValueError, match=message):
        build_dataset(source, "train", **{option: value})
    if option == "oversample":
        with pytest.raises(ValueError, match=message):
            count_examples(source, "train", value)


def test_places_stand_for_the_values_and_nothing_else_changes(shapes):
    index = shapes.examples("train")
    captions = flat_captions(index)
    options = {"preprocessor": None, "shuffle": True, "start": (1, 2), "batch_size": 3}
    plain = build_dataset(shapes, "train", **options).as_numpy_iterator()
    found = build_dataset(shapes, "train", places=("images", "text"), **options)
    for example, other in zip(plain, found.as_numpy_iterator(), strict=True):
        assert index.ids[other["images"]] == example["id"].decode()
        assert captions[other["text"]] == example["text"].decode()
        assert {**other, "images": 0, "text": 0}.keys() == example.keys()
        assert other["id"] == example["id"] and other["group"] == example["group"]


def test_places_are_refused_where_an_augmentation_needs_the_values(shapes):
    with pytest.raises(ValueError, match="An augmentation needs the values of 'text'"):
        build_dataset(shapes, "train", augmentations=("flip",), places=("text",))
    with pytest.raises(ValueError, match=r"Unknown modality 'image'.*Did you mean 'images'"):
        build_dataset(shapes, "train", places=("image",))
    build_dataset(shapes, "train", augmentations=("crop",), places=("text",))
