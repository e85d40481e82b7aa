"""The exported model, loaded where neither Keras nor this package is."""

import io
import os
import pickle
import struct
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mmlearn import MultimodalClassifier
from mmlearn.layers.masked_mean import masked_mean
from mmlearn.models import signatures
from tests import toys
from tests.pictures import large_png

# Calls every signature on every batch and lists the ops it is made of, functions included.
CLIENT = """
import pickle, sys
import tensorflow as tf, tensorflow_text
assert not any(name.split(".")[0] == "mmlearn" for name in sys.modules)
model = tf.saved_model.load(sys.argv[1])
with open(sys.argv[2], "rb") as file:
    requests = pickle.load(file)
results = []
for name, inputs in requests:
    inputs = {key: tf.constant(value) for key, value in inputs.items()}
    outputs = model.signatures[name](**inputs)
    results.append({key: value.numpy() for key, value in outputs.items()})
ops = {}
for name, function in model.signatures.items():
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    ops[name] = sorted({node.op for node in nodes})
with open(sys.argv[3], "wb") as file:
    pickle.dump((results, ops), file)
"""

# All of these have been in TensorFlow Serving with its text ops for years. A new one that a change
# brings in should be looked up before it is added here.
ARITHMETIC = """
    AddV2 All Any BatchMatMulV2 BiasAdd BroadcastTo Cast ConcatV2 Const Conv2D EnsureShape Equal
    ExpandDims Fill FusedBatchNormV3 GatherV2 Greater GreaterEqual Identity Less LessEqual
    LogicalAnd MatMul Max Maximum Mean Min Minimum Mul Neg NoOp NotEqual OnesLike Pack Placeholder Pow
    Prod Range RealDiv Relu Reshape ReverseV2 Rsqrt ScatterNd SelectV2 Shape Sigmoid Size Slice
    Softmax Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice Sub Sum Tanh Tile
    Transpose ZerosLike
"""
CONTROL = """
    Assert If PartitionedCall ReadVariableOp StatefulPartitionedCall StatelessCase StatelessIf
    StatelessWhile While
"""
DECODING = """
    BatchDatasetV2 ConcatenateDataset DatasetToSingleElement DecodeImage DecodeJpeg DecodeRaw
    ExtractJpegShape IgnoreErrorsDataset MapDataset OptionsDataset ResizeArea ResizeBilinear
    StaticRegexFullMatch Substr TensorDataset TensorScatterUpdate TensorSliceDataset
"""
TEXT = """
    CaseFoldUTF8 FastWordpieceTokenizeWithOffsets NormalizeUTF8 RaggedGather RaggedRange
    RaggedTensorToTensor RegexSplitWithOffsets StaticRegexReplace StringLength StringStrip
"""
ALLOWED = set(f"{ARITHMETIC} {CONTROL} {DECODING} {TEXT}".split())


def jpeg(seed=0):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


# Says that it has 2.5 billion pixels, and has none: only its header tells that it is too large.
HUGE = large_png(8)[:16] + struct.pack(">II", 50_000, 50_000) + large_png(8)[24:]
IMAGES = [jpeg(), b"", b"\xff\xd8 garbage", b"", jpeg(1)[:200], HUGE]
TEXTS = ["a dog on the sofa", "a red cat", "", "dog", "\xe9 zebra", "a cat"]
IMAGE_STATUS = [0, 1, 2, 1, 2, 3]
STATUS = [0, 0, 1, 0, 0, 0]  # of the third row, neither can be read


def requests(preprocessor):
    """`(signature, inputs)`: each signature at batch sizes 6 and 1."""
    for rows in (slice(0, 6), slice(0, 1)):
        images = np.array(IMAGES[rows], object)
        texts = np.array([text.encode() for text in TEXTS[rows]], object)
        raw = {"images": images, "text": texts}
        yield "serving_default", raw
        yield "explain", raw
        yield "embed_image", {"images": images}
        yield "embed_text", {"text": texts}
        tensors = {name: np.array(value) for name, value in preprocessor(raw).items()}
        yield "serve_tensors", tensors


def call_elsewhere(folder, wanted, tmp_path):
    """Loads a SavedModel in a fresh process; returns results and the ops by signature."""
    with open(tmp_path / "requests.pickle", "wb") as file:
        pickle.dump(wanted, file)
    paths = [str(tmp_path / name) for name in ("requests.pickle", "results.pickle")]
    environment = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(folder), *paths],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with open(paths[1], "rb") as file:
        return pickle.load(file)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """`(classifier, [(signature, inputs, outputs)], ops by signature, folder)`."""
    keras.utils.set_random_seed(3)
    tmp_path = tmp_path_factory.mktemp("export")
    classifier = toys.classifier()
    classifier.export(str(tmp_path / "serving" / "1"))
    wanted = list(requests(classifier.preprocessor))
    results, ops = call_elsewhere(tmp_path / "serving" / "1", wanted, tmp_path)
    answers = [(*request, result) for request, result in zip(wanted, results, strict=True)]
    return classifier, answers, ops, tmp_path / "serving" / "1"


def answers_of(served, name):
    return [(inputs, outputs) for signature, inputs, outputs in served[1] if signature == name]


def expected_outputs(classifier, raw):
    prepared = classifier.preprocessor({name: tf.constant(x) for name, x in raw.items()})
    return keras.tree.map_structure(np.asarray, classifier.explain_inputs(prepared))


def test_every_signature_answers_at_both_batch_sizes(served):
    names = ("serving_default", "explain", "embed_image", "embed_text", "serve_tensors")
    assert set(served[2]) == set(names)
    for name in names:
        sizes = [len(next(iter(outputs.values()))) for _, outputs in answers_of(served, name)]
        assert sizes == [6, 1], name


def test_serving_default_equals_keras(served):
    for raw, outputs in answers_of(served, "serving_default"):
        names = {"probabilities", "labels", "modality_weights", "status", "image_status"}
        assert set(outputs) == names
        expected = expected_outputs(served[0], raw)
        np.testing.assert_allclose(outputs["probabilities"], expected["classes"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            outputs["modality_weights"], expected["modality_weights"], rtol=0, atol=1e-5
        )


def test_explain_equals_keras(served):
    for raw, outputs in answers_of(served, "explain"):
        expected = expected_outputs(served[0], raw)
        pairs = {
            "probabilities": expected["classes"],
            "images_probabilities": expected["images_classes"],
            "text_probabilities": expected["text_classes"],
            "modality_weights": expected["modality_weights"],
        }
        pairs |= {f"attention_{d}": x for d, x in expected["attention_scores"].items()}
        assert set(outputs) == {*pairs, "labels", "status", "image_status"}
        for name, values in pairs.items():
            np.testing.assert_allclose(outputs[name], values, rtol=0, atol=1e-5, err_msg=name)


def test_embeddings_are_the_normalised_mean_of_the_real_tokens(served):
    classifier = served[0]
    for signature, modality, name in (
        ("embed_image", "images", "image_embedding"),
        ("embed_text", "text", "text_embedding"),
    ):
        for raw, outputs in answers_of(served, signature):
            prepared = classifier.preprocessor({k: tf.constant(x) for k, x in raw.items()})
            features, masks = classifier.backbone.encode(prepared)
            assert modality in features
            pooled = np.asarray(masked_mean(features[modality], masks[modality]))
            expected = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
            np.testing.assert_allclose(outputs[name], expected, rtol=0, atol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(outputs[name], axis=1), 1.0, atol=1e-5)


def test_tensors_give_what_raw_values_give(served):
    raw, tensors = answers_of(served, "serving_default"), answers_of(served, "serve_tensors")
    for (_, first), (_, second) in zip(raw, tensors, strict=True):
        assert set(second) == {"probabilities"}
        np.testing.assert_allclose(
            first["probabilities"], second["probabilities"], rtol=0, atol=1e-5
        )


def test_bad_rows_are_reported_and_leave_their_neighbours_alone(served):
    for name in ("serving_default", "explain", "embed_image"):
        many, one = (outputs for _, outputs in answers_of(served, name))
        assert many["image_status"].tolist() == IMAGE_STATUS
        assert one["image_status"].tolist() == [0]
        if name != "embed_image":
            assert many["status"].tolist() == STATUS
            assert one["status"].tolist() == [0]
    many, one = (outputs for _, outputs in answers_of(served, "serving_default"))
    np.testing.assert_allclose(many["probabilities"][:1], one["probabilities"], atol=1e-5)
    assert np.isfinite(many["probabilities"]).all()


def test_labels_are_named_in_every_row(served):
    for _, outputs in answers_of(served, "serving_default"):
        for row in outputs["labels"]:
            assert row.tolist() == [b"dog", b"cat", b"sofa"]


def test_every_signature_is_made_of_allowed_ops(served):
    for name, ops in served[2].items():
        assert "TFText>RoundRobinTrim" not in ops  # TF Serving up to 2.19 cannot load it
        unknown = sorted(set(ops) - ALLOWED)
        assert not unknown, f"{name}: {unknown}"
    assert "DecodeImage" in served[2]["serving_default"]
    assert "DecodeImage" not in served[2]["embed_text"]
    assert "FastWordpieceTokenizeWithOffsets" in served[2]["embed_text"]
    others = set(DECODING.split()) | set(TEXT.split())
    assert not others & set(served[2]["serve_tensors"])


def test_each_weight_is_stored_once(served):
    stored = sum(path.stat().st_size for path in (served[3] / "variables").iterdir())
    weights = sum(weight.size * weight.dtype.itemsize for weight in served[0].get_weights())
    assert 0.98 * weights < stored < 1.1 * weights  # names and places of so small ones are 3 %


def test_texts_alone_tell_rows_apart(served):
    (_, outputs), _ = answers_of(served, "serving_default")
    # Rows 1 and 3 have no image: only a tokenizer that came with the model can tell them apart.
    assert np.abs(outputs["probabilities"][1] - outputs["probabilities"][3]).max() > 1e-6


def test_an_existing_folder_is_refused_and_left_alone(served, tmp_path):
    folder = tmp_path / "1"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"exists\. Fix: export to a new version, such as '.*/2'"):
        served[0].export(str(folder))
    assert [path.name for path in tmp_path.rglob("*")] == ["1"]


def test_a_failed_export_leaves_nothing_behind(tmp_path, monkeypatch):
    classifier = toys.classifier(("text",))
    one = {"serve": (lambda x: x, [tf.TensorSpec((None,))])}
    monkeypatch.setattr(signatures, "signatures", lambda task: one)

    def fail(model, folder, *args, **kwargs):
        os.makedirs(folder)
        raise OSError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        classifier.export(str(tmp_path / "1"))
    assert not list(tmp_path.iterdir())


def test_an_export_needs_the_preprocessor(tmp_path):
    classifier = MultimodalClassifier(toys.backbone(("text",)), 3)
    with pytest.raises(ValueError, match="An export needs the preprocessor"):
        classifier.export(str(tmp_path / "1"))


def test_a_text_classifier_has_no_image_signatures(tmp_path):
    classifier = toys.classifier(("text",))
    classifier.export(str(tmp_path / "1"))
    model = tf.saved_model.load(str(tmp_path / "1"))
    assert set(model.signatures) == {"serving_default", "explain", "embed_text", "serve_tensors"}
    outputs = model.signatures["serving_default"](text=tf.constant(["a dog", ""]))
    assert set(outputs) == {"probabilities", "labels", "modality_weights", "status"}
    assert outputs["status"].numpy().tolist() == [0, 1]
    expected = classifier.predict({"text": ["a dog"]}, verbose=0)
    np.testing.assert_allclose(outputs["probabilities"][:1], expected, rtol=0, atol=1e-5)
