"""Raw batches to model inputs: the same in every place, every bad value named by its row."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_prep.pipeline import build_dataset
from mmlearn import MultimodalPreprocessor, encoders
from tests import checks, toys

TEXTS = ["a dog on the sofa", "", "  \t ", "Café DOG, 犬!", "zebra " * 30, "left of"]


def file_bytes(height=40, width=30, kind="PNG", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue(), pixels


def batch_of_files():
    good, jpeg = file_bytes()[0], file_bytes(25, 60, "JPEG", 1)[0]
    return np.array([good, b"", jpeg, b"garbage", jpeg[:40], good], object)


@pytest.fixture(scope="module")
def preprocessor():
    return toys.preprocessor()


def test_names_dtypes_and_shapes_of_model_inputs(preprocessor):
    inputs = preprocessor(toys.examples(4)[0])
    assert {name: (tuple(x.shape), x.dtype.name) for name, x in inputs.items()} == {
        "images": ((4, toys.IMAGE_SIZE, toys.IMAGE_SIZE, 3), "float32"),
        "images_present": ((4,), "int32"),
        "padding_mask": ((4, toys.SEQUENCE_LENGTH), "int32"),
        "segment_ids": ((4, toys.SEQUENCE_LENGTH), "int32"),
        "text_present": ((4,), "int32"),
        "token_ids": ((4, toys.SEQUENCE_LENGTH), "int32"),
    }


def test_token_ids_are_what_bert_reads(preprocessor):
    inputs = preprocessor({"text": ["a dog", "dog zebra"]})
    # [PAD] [UNK] [CLS] [SEP] [MASK] a dog ...
    assert inputs["token_ids"].numpy().tolist() == [
        [2, 5, 6, 3, 0, 0, 0, 0],
        [2, 6, 1, 3, 0, 0, 0, 0],
    ]
    assert inputs["padding_mask"].numpy().tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]] * 2
    assert not inputs["segment_ids"].numpy().any()


def test_long_texts_are_cut_and_keep_their_end_token(preprocessor):
    ids = preprocessor({"text": ["dog " * 30]})["token_ids"].numpy()
    assert ids.tolist() == [[2, 6, 6, 6, 6, 6, 6, 3]]


@pytest.mark.parametrize("batch_size", [1, 4, 6])
def test_eager_equals_inside_a_dataset(preprocessor, batch_size):
    raw = {"images": batch_of_files(), "text": TEXTS}
    eager = preprocessor(raw)
    dataset = tf.data.Dataset.from_tensor_slices(raw).batch(batch_size).map(preprocessor)
    batches = list(dataset)
    for name, values in eager.items():
        mapped = np.concatenate([batch[name] for batch in batches])
        np.testing.assert_array_equal(mapped, values, name)
        assert mapped.dtype == values.dtype.as_numpy_dtype


def test_invalid_utf8_is_an_unknown_word_everywhere(preprocessor):
    raw = {"text": np.array([b"dog \xff\xfe", b"a dog"], object)}
    eager = preprocessor(raw)["token_ids"]
    (mapped,) = tf.data.Dataset.from_tensor_slices(raw).batch(2).map(preprocessor)
    np.testing.assert_array_equal(mapped["token_ids"], eager)
    assert 1 in eager.numpy()[0]


def test_examples_converted_one_by_one_equal_the_batch(preprocessor):
    raw, _ = toys.examples(4)
    dataset = tf.data.Dataset.from_tensor_slices(raw).map(preprocessor.convert_example)
    (mapped,) = dataset.batch(4).map(preprocessor)
    batch = preprocessor(raw)
    assert sorted(mapped) == sorted(batch)
    for name, values in batch.items():
        np.testing.assert_array_equal(mapped[name], values, name)


def test_labels_and_weights_pass_through(preprocessor):
    raw, labels = toys.examples(2)
    inputs, y, weight = preprocessor(raw, y=labels, sample_weight=np.array([1.0, 2.0]))
    assert sorted(inputs) == sorted(preprocessor(raw))
    np.testing.assert_array_equal(y, labels)
    np.testing.assert_array_equal(weight, [1.0, 2.0])


@pytest.mark.parametrize("missing", ["images", "text"])
def test_a_missing_modality_becomes_zeros_and_not_present(preprocessor, missing):
    raw, _ = toys.examples(3)
    other = "text" if missing == "images" else "images"
    inputs = preprocessor({other: raw[other]})
    assert inputs[f"{missing}_present"].numpy().tolist() == [0, 0, 0]
    assert inputs[f"{other}_present"].numpy().tolist() == [1, 1, 1]
    assert inputs["images"].shape == (3, toys.IMAGE_SIZE, toys.IMAGE_SIZE, 3)
    if missing == "images":
        assert not inputs["images"].numpy().any()
    else:
        assert inputs["token_ids"].numpy().tolist() == [[2, 3, 0, 0, 0, 0, 0, 0]] * 3


def test_blank_text_is_absent(preprocessor):
    inputs = preprocessor({"text": TEXTS})
    assert inputs["text_present"].numpy().tolist() == [1, 0, 0, 1, 1, 1]


def test_unreadable_bytes_are_absent_and_leave_their_neighbours_alone(preprocessor):
    files = batch_of_files()
    inputs = preprocessor({"images": files})
    assert inputs["images_present"].numpy().tolist() == [1, 0, 1, 0, 0, 1]
    assert not inputs["images"].numpy()[[1, 3, 4]].any()
    alone = preprocessor({"images": files[2:3]})["images"]
    np.testing.assert_array_equal(inputs["images"][2:3], alone)


def test_bytes_of_a_png_equal_its_pixels(preprocessor):
    data, pixels = file_bytes()
    np.testing.assert_array_equal(
        preprocessor({"images": np.array([data], object)})["images"],
        preprocessor({"images": pixels[None]})["images"],
    )


def test_config_round_trip_keeps_the_vocabulary(preprocessor):
    again = checks.check_layer_config(preprocessor)
    again.converters["text"].tokenizer.set_vocabulary(
        preprocessor.converters["text"].tokenizer.get_vocabulary()
    )
    for name, values in preprocessor({"text": TEXTS}).items():
        np.testing.assert_array_equal(again({"text": TEXTS})[name], values)


# --- read_raw ------------------------------------------------------------------------------------


def test_reads_arrays_as_they_are(preprocessor):
    raw, _ = toys.examples(3)
    read = preprocessor.read_raw(raw)
    np.testing.assert_array_equal(read["images"], raw["images"])
    assert read["text"].tolist() == raw["text"]


def test_reads_a_list_of_equal_arrays_as_one_array(preprocessor):
    raw, _ = toys.examples(3)
    read = preprocessor.read_raw({"images": list(raw["images"])})
    np.testing.assert_array_equal(read["images"], raw["images"])


def test_reads_sizes_paths_bytes_and_nothing_side_by_side(preprocessor, tmp_path):
    data, pixels = file_bytes()
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    small = np.full((9, 7, 3), 200, np.uint8)
    read = preprocessor.read_raw({"images": [small, pixels, path, str(path), data, None, "", b""]})
    inputs = preprocessor(read)
    assert inputs["images_present"].numpy().tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    images = inputs["images"].numpy()
    np.testing.assert_allclose(images[0], 200.0, atol=1e-3)
    expected = preprocessor({"images": pixels[None]})["images"][0]
    for row in range(1, 5):
        np.testing.assert_array_equal(images[row], expected)


def test_float_images_of_different_sizes_are_rounded_not_cut(preprocessor):
    images = [np.full((8, 8, 3), 99.6), np.full((9, 9, 3), 300.0)]
    inputs = preprocessor(preprocessor.read_raw({"images": images}))["images"].numpy()
    np.testing.assert_allclose(inputs[0], 100.0, atol=1e-3)
    np.testing.assert_allclose(inputs[1], 255.0, atol=1e-3)


def test_reads_absent_texts(preprocessor):
    read = preprocessor.read_raw({"text": ["a dog", None, "", b"a cat"]})
    assert read["text"].tolist() == ["a dog", "", "", b"a cat"]


def test_a_bad_image_far_down_is_named_by_its_row(preprocessor):
    small = np.zeros((4, 4, 3), np.uint8)
    images = [small, *[file_bytes(8, 8)[0]] * 69, b"garbage"]
    with pytest.raises(ValueError, match=r"images\[70\] \(bytes\) is no readable image"):
        preprocessor.read_raw({"images": images})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"text": "a dog"}, r"`text` must be a batch\. Received: one str\. Fix: wrap it in a list"),
        ({"images": b"\xff\xd8"}, r"`images` must be a batch\. Received: one bytes"),
        (
            {"images": np.zeros((2, 8, 8, 3)), "text": ["a"]},
            r"one value per example\. Received: {'images': 2, 'text': 1}",
        ),
        ({"text": []}, r"The batch is empty"),
        ({}, r"`x` must be a dict of modality to a batch"),
        ([1, 2], r"`x` must be a dict .* Received: list"),
        ({"image": [None]}, r"Unknown modality 'image'\. Did you mean 'images'"),
        (
            {"images": [None, b"garbage"]},
            r"images\[1\] \(bytes\) is no readable image\. Fix: pass a whole JPEG, PNG or BMP file",
        ),
        (
            {"images": [file_bytes(kind="GIF")[0]]},
            r"images\[0\] \(bytes\) is no readable image\. Fix: ",
        ),
        ({"images": ["/no/such.jpg"]}, r"images\[0\] cannot be read: .*'/no/such\.jpg'.*Fix:"),
        (
            {"images": np.zeros((2, 8, 8))},
            r"`images` must have the shape .*Received: \(2, 8, 8\)",
        ),
        ({"images": np.zeros((2, 8, 8, 1))}, r"Received: \(2, 8, 8, 1\)"),
        (
            {"images": [np.zeros((8, 8, 3)), np.zeros((8, 8))]},
            r"images\[1\] must have the shape \(height, width, 3\)\. Received: \(8, 8\)",
        ),
        ({"text": ["a", 3.5]}, r"`text` must hold strings\. Received: text\[1\]=3\.5"),
    ],
)
def test_what_cannot_be_read_is_refused(preprocessor, raw, message):
    with pytest.raises(ValueError, match=message):
        preprocessor.read_raw(raw)


def test_an_unreadable_file_is_named_by_row_and_path(preprocessor, tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"images\[1\] \('.*notes\.jpg'\) is no readable image"):
        preprocessor.read_raw({"images": [None, path]})


def test_an_empty_file_is_unreadable_not_absent(preprocessor, tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(ValueError, match=r"images\[0\] \('.*empty\.jpg'\) is no readable image"):
        preprocessor.read_raw({"images": [path]})


def test_an_unknown_key_of_a_batch_is_refused(preprocessor):
    with pytest.raises(ValueError, match=r"Unknown modality 'texts'\. Did you mean 'text'"):
        preprocessor({"texts": ["a dog"]})


def test_features_of_the_wrong_shape_are_refused():
    preprocessor = MultimodalPreprocessor({"text": encoders.FeaturesConverter(length=4, dim=2)})
    with pytest.raises(ValueError, match=r"\(batch_size, 4, 2\)\. Received: \(3, 4, 5\)"):
        preprocessor({"text": np.zeros((3, 4, 5), "float32")})


def test_groups_are_model_inputs_where_they_are_asked_for():
    preprocessor = MultimodalPreprocessor(toys.preprocessor(["text"]).converters, with_group=True)
    x = {"text": ["a dog", "a cat", "a cat"], "group": [4, 7, 7]}
    assert np.asarray(preprocessor(preprocessor.read_raw(x))["group"]).tolist() == [4, 7, 7]
    del x["group"]
    assert np.asarray(preprocessor(x)["group"]).tolist() == [0, 1, 2]
    assert preprocessor.read_raw(x)["group"].tolist() == [0, 1, 2]
    copy = MultimodalPreprocessor.from_config(preprocessor.get_config())
    assert copy.with_group
    assert preprocessor.with_converters({}).with_group
    with pytest.raises(ValueError, match="one value per example"):
        preprocessor.read_raw({**x, "group": [1, 2]})


def test_groups_come_from_the_pipeline(shapes):
    converters = toys.preprocessor(["text"]).converters
    preprocessor = MultimodalPreprocessor(converters, with_group=True)
    ids = shapes.examples("val").groups
    (batch,) = build_dataset(shapes, "val", preprocessor, batch_size=12)
    assert batch[0]["group"].numpy().tolist() == ids.tolist()
    (batch,) = build_dataset(shapes, "val", MultimodalPreprocessor(converters), batch_size=12)
    assert "group" not in batch[0]


def test_groups_are_refused_where_they_are_not_asked_for():
    with pytest.raises(ValueError, match="'group'"):
        toys.preprocessor(["text"])({"text": ["a dog"], "group": [1]})
