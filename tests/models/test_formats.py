"""Other formats than a SavedModel, each called in its own runtime."""

import importlib.util
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
from mmlearn.models import formats
from mmlearn.serving.parity import made_requests, measure_parity
from tests import toys

TOLERANCE = {"onnx": 1e-4, "openvino": 1e-3, "litert": 1e-4}  # of float32, against Keras
ROWS = 32


@pytest.fixture(scope="module")
def task():
    keras.utils.set_random_seed(3)
    return toys.classifier()


@pytest.fixture(scope="module")
def inputs(task):
    """Model inputs of 32 rows: without a text, without an image, with both."""
    raw, _ = toys.examples(ROWS)
    texts = ["" if row % 3 == 1 else text for row, text in enumerate(raw["text"])]
    made = task.preprocess_samples(task.preprocessor.read_raw({**raw, "text": texts}))
    made = {name: np.array(values) for name, values in made.items()}
    made["images_present"][2::3] = 0
    made["images"][2::3] = 0
    return made


@pytest.fixture(scope="module")
def expected(task, inputs):
    return task.predict(inputs, verbose=0)


def check_parity(call, inputs, expected, tolerance):
    for count in (1, 3, ROWS):
        found = call({name: values[:count] for name, values in inputs.items()})
        assert list(found) == ["probabilities"]
        assert found["probabilities"].dtype == np.float32
        np.testing.assert_allclose(found["probabilities"], expected[:count], atol=tolerance)


def size_of(folder):
    return sum(entry.stat().st_size for entry in os.scandir(folder))


@pytest.mark.large
@pytest.mark.parametrize("format", formats.FORMATS)
def test_runtimes_agree_with_keras_and_files_shrink(format, task, inputs, expected, tmp_path):
    task.export(tmp_path / "32", format)
    check_parity(formats.load(tmp_path / "32"), inputs, expected, TOLERANCE[format])
    description = formats.read_description(tmp_path / "32")
    assert description["labels"] == {"probabilities": ["dog", "cat", "sofa"]}
    assert description["inputs"]["images"] == {"shape": [None, 32, 32, 3], "dtype": "float32"}
    assert set(description["inputs"]) == set(inputs)
    assert sorted(os.listdir(tmp_path)) == ["32"]  # nothing half written is left

    task.export(tmp_path / "16", format, "float16")
    check_parity(formats.load(tmp_path / "16"), inputs, expected, 5e-3)
    assert size_of(tmp_path / "16") < 0.7 * size_of(tmp_path / "32")

    batches = [{name: values[row : row + 6] for name, values in inputs.items()} for row in (0, 6)]
    task.export(tmp_path / "8", format, "int8", batches)
    quantized = formats.load(tmp_path / "8")
    check_parity(quantized, inputs, expected, 0.1)
    assert np.abs(quantized(inputs)["probabilities"] - expected).max() > 1e-6
    assert size_of(tmp_path / "8") < 0.8 * size_of(tmp_path / "32")


@pytest.mark.large
@pytest.mark.parametrize("format", formats.FORMATS)
def test_a_retriever_matches_as_in_keras(format, tmp_path):
    keras.utils.set_random_seed(3)
    task = toys.retriever()
    raw, _ = toys.examples(4)
    inputs = task.preprocessor(task.preprocessor.read_raw(raw))
    inputs = {name: np.array(inputs[name]) for name in task.backbone.input}
    expected = task.predict_outputs(raw, verbose=0)["match"]
    task.export(tmp_path / "1", format)
    found = formats.load(tmp_path / "1")(inputs)["match"]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[format])


@pytest.mark.large
def test_a_saved_model_is_loaded_alike(task, inputs, expected, tmp_path):
    task.export(tmp_path / "1")
    check_parity(formats.load(tmp_path / "1"), inputs, expected, 1e-5)


@pytest.mark.large
def test_a_saved_model_in_16_bits_is_half_as_large_and_nearly_as_exact(task, tmp_path):
    paths = {precision: str(tmp_path / precision) for precision in ("float32", "float16")}
    for precision, path in paths.items():
        task.export(path, precision=precision)
    full, half = (size_of(os.path.join(path, "variables")) for path in paths.values())
    assert half < 0.55 * full
    found = measure_parity(task, paths["float16"], made_requests(task))
    assert set(found) == set(task.signatures())
    for signature, rows in found.items():
        assert rows.pop("unequal") == [], signature
        assert max(rows.values()) < 1e-2, (signature, rows)
    assert found["embed_image"]["all"] > 1e-7  # it is rounded


@pytest.mark.large
def test_a_server_casts_weights_of_16_bits_when_it_loads_them(task, inputs, expected, tmp_path):
    task.export(tmp_path / "1", precision="float16")
    other = toys.classifier()
    other.export(tmp_path / "2", precision="float16")
    first, second = (formats.load(tmp_path / version) for version in "12")
    check_parity(first, inputs, expected, 1e-2)
    check_parity(second, inputs, other.predict(inputs, verbose=0), 1e-2)
    del second
    check_parity(first, inputs, expected, 1e-2)  # its weights are its own
    # The loader of TF Serving: it restores the variables, then runs the initializers.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "1"))
        signature = graph.signature_def["serve_tensors"]
        feed = {signature.inputs[name].name: values for name, values in inputs.items()}
        found = session.run(signature.outputs["probabilities"].name, feed)
    np.testing.assert_allclose(found, first(inputs)["probabilities"], atol=1e-6)


def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    backbone = MultimodalBackbone({"text": encoders.Features(4, 8)}, fusions.get("concat"), 16)
    task = MultimodalClassifier(backbone, num_classes=2)
    with pytest.raises(ValueError, match=r"Unknown export format 'onx'.*Did you mean 'onnx'"):
        task.export(tmp_path / "1", "onx")
    with pytest.raises(ValueError, match=r"A SavedModel has no int8\. .*Fix: float16, or another"):
        task.export(tmp_path / "1", precision="int8")
    with pytest.raises(ValueError, match="An export needs the preprocessor"):
        task.export(tmp_path / "1", "litert")
    task.preprocessor = toys.preprocessor(["text"])
    with pytest.raises(ValueError, match=r"exists. Fix: export to another folder"):
        task.export(tmp_path, "litert")
    with pytest.raises(ValueError, match="int8 needs examples"):
        task.export(tmp_path / "1", "litert", "int8")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package tf2onnx.*mmlearn-keras\[onnx\]"):
        task.export(tmp_path / "1", "onnx")
    assert not os.listdir(tmp_path)


@pytest.mark.large
def test_what_cannot_be_converted_leaves_nothing(task, tmp_path, monkeypatch):
    def fail(saved_model, *_):
        assert os.path.isfile(os.path.join(saved_model, "saved_model.pb"))
        raise RuntimeError("no such op\nsecond line")

    broken = formats.Format("model.x", "x", {}, fail, None)
    monkeypatch.setitem(formats.FORMATS, "broken", broken)
    with pytest.raises(
        ValueError, match=r"broken cannot hold this MultimodalClassifier.*no such op\)"
    ):
        task.export(tmp_path / "1", "broken")
    assert not os.listdir(tmp_path)


def test_nothing_to_load_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="holds no exported model"):
        formats.load(tmp_path)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ValueError, match=r"signature.json' cannot be read"):
        formats.read_description(tmp_path)


def test_texts_are_refused(tmp_path, monkeypatch):
    backbone = MultimodalBackbone({"text": encoders.Features(4, 8)}, fusions.get("concat"), 16)
    task = MultimodalClassifier(backbone, 2, preprocessor=toys.preprocessor(["text"]))
    spec = tf.TensorSpec((None,), tf.int32, name="text_present")

    def write(inputs):
        return {"captions": tf.strings.as_string(inputs["text_present"])}

    signatures = {"serve_tensors": (write, [{"text_present": spec}])}
    monkeypatch.setattr(MultimodalClassifier, "signatures", lambda self: signatures)
    with pytest.raises(ValueError, match="'captions' of a MultimodalClassifier is text"):
        task.export(tmp_path / "1", "litert")
    assert not os.listdir(tmp_path)
