"""Every signature of a task of all modalities and several heads, in every format, beside Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalMultiTask, encoders
from mmlearn.models import formats, onnx_format
from mmlearn.models.head import Head
from mmlearn.models.manifest import read_manifest
from mmlearn.serving.parity import made_requests
from mmlearn.serving.versions import export_version
from tests import toys
from tests.models.test_signatures import ALLOWED

pytestmark = pytest.mark.large

COUNTS = (1, 3, 32)
TOLERANCE = {"onnx": 1e-4, "litert": 1e-4, "openvino": 1e-3}
MODALITIES = ("text", "audio", "series", "table")  # images: see test_formats
OPTIONS = {
    "audio": ("conv", {"num_samples": toys.NUM_SAMPLES, "num_mel_bins": 32}),
    "series": ("transformer", {"length": 6, "num_channels": 2}),
    "table": ("feature_tokens", {"num_numbers": 2, "num_categories": [3]}),
}

# Besides what signatures of images and texts are made of: what loads variables and tables; spectrograms,
# WAV files, exact GELUs and the categories of a table. TensorFlow 2.19 loads and runs them all.
LOADING = """
    AssignVariableOp DisableCopyOnRead HashTableV2 LookupTableImportV2 MergeV2Checkpoints RestoreV2
    SaveV2 Select ShardedFilename StringJoin VarHandleOp
"""
SIGNALS = """
    BroadcastArgs Cos Cumsum DecodeWav Erfc FloorDiv FloorMod IRFFT Imag IsFinite Log LogicalOr
    LookupTableFindV2 MirrorPad Pad PadV2 RFFT Real Split SplitV TopKV2
"""
KNOWN = ALLOWED | set(f"{LOADING} {SIGNALS}".split())


def an_encoder(modality):
    if modality not in OPTIONS:
        return toys.encoder(modality)
    name, options = OPTIONS[modality]
    return encoders.get(modality, name, **options)


def make_task(modalities):
    keras.utils.set_random_seed(3)
    built = {modality: an_encoder(modality) for modality in modalities}
    backbone = MultimodalBackbone(built, toys.get_fusion("concat"), hidden_dim=16)
    heads = [
        Head("scene", "multi_class", ("indoor", "outdoor")),
        Head("price", "regression", ("euros",), means=(2.0,), deviations=(3.0,)),
    ]
    return MultimodalMultiTask(backbone, heads, toys.preprocessor(modalities))


def requests_of(task):
    """What is asked of each signature, 32 rows, and what Keras answers: `{name: (inputs, outputs)}`."""
    requests, signatures = {}, task.signatures()
    for name, (inputs, rows) in made_requests(task).items():
        # A row with everything, then one without each modality, over and over.
        inputs = {key: values[np.arange(COUNTS[-1]) % len(rows)] for key, values in inputs.items()}
        function, specs = signatures[name]
        in_order = [tf.constant(inputs[spec.name]) for spec in keras.tree.flatten(specs)]
        outputs = function(*keras.tree.pack_sequence_as(specs, in_order))
        requests[name] = inputs, {key: np.asarray(value) for key, value in outputs.items()}
    return requests


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A task of all modalities, the folder of its version, and its requests."""
    task = make_task(MODALITIES)
    folder = export_version(task, tmp_path_factory.mktemp("all") / "serving")
    return task, folder, requests_of(task)


def check(call, inputs, expected, tolerance):
    for count in COUNTS:
        found = call({name: values[:count] for name, values in inputs.items()})
        assert set(found) == set(expected)
        for name, values in expected.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(
                    found[name], values[:count], rtol=0, atol=tolerance, err_msg=name
                )
            else:
                np.testing.assert_array_equal(found[name], values[:count], err_msg=name)


def test_every_signature_of_the_saved_model_says_what_keras_says(exported):
    _, folder, requests = exported
    model = tf.saved_model.load(folder)
    assert set(requests) == set(model.signatures)
    assert {"serving_default", "explain", "embed_audio", "embed_table"} < set(requests)

    def ask(signature):
        def call(inputs):
            inputs = {name: tf.constant(values) for name, values in inputs.items()}
            return {name: value.numpy() for name, value in signature(**inputs).items()}

        return call

    for name, (inputs, expected) in requests.items():
        check(ask(model.signatures[name]), inputs, expected, 1e-5)
    _, outputs = requests["serving_default"]
    assert np.ptp(outputs["scene_probabilities"][:, 0]) > 1e-4  # what is missing matters


@pytest.mark.parametrize("format", ["litert", "openvino"])
def test_the_tensor_signature_of_other_formats_says_what_keras_says(format, exported, tmp_path):
    task, _, requests = exported
    task.export(tmp_path / "1", format)
    check(formats.load(tmp_path / "1"), *requests["serve_tensors"], TOLERANCE[format])


def test_onnx_says_what_keras_says(tmp_path):
    task = make_task(("text", "series", "table"))
    task.export(tmp_path / "1", "onnx")
    request = requests_of(task)["serve_tensors"]
    check(formats.load(tmp_path / "1"), *request, TOLERANCE["onnx"])


def test_an_op_that_onnx_has_not_is_an_error_and_no_file(tmp_path):
    spec = tf.TensorSpec((None, 8), name="x")
    module = tf.Module()  # as a spectrogram does
    module.run = tf.function(lambda x: {"y": tf.math.imag(tf.signal.rfft(x))}, [spec])
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serve_tensors": module.run})
    with pytest.raises(Exception, match="No Op registered for"):
        onnx_format.convert(str(tmp_path / "model"), "serve_tensors", tmp_path, "float32", None)
    assert not (tmp_path / "model.onnx").exists()


def test_all_ops_are_old_enough_for_tensorflow_serving(exported):
    used = set(read_manifest(exported[1])["ops"])
    assert used <= KNOWN, sorted(used - KNOWN)
