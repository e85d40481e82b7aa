"""Versions: what lies beside the SavedModel, and whether it is true."""

import hashlib
import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from mmlearn.models import formats
from mmlearn.models.manifest import MANIFEST, check_files, read_manifest
from mmlearn.serving.parity import made_requests, measure_parity
from mmlearn.serving.server_config import write_server_config
from mmlearn.serving.versions import export_version, find_versions
from mmlearn.serving.warm_up import WARM_UP


def test_a_version_is_whole_and_has_the_config_of_its_server_beside_it(exported):
    folder = pathlib.Path(exported[1])
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"saved_model.pb", "variables/variables.index", MANIFEST, WARM_UP} <= found
    assert folder.name == "1"
    assert sorted(os.listdir(folder.parent)) == ["1", "batching.txt", "models.config"]
    text = (folder.parent / "models.config").read_text()
    assert 'name: "toys"' in text
    assert 'base_path: "/models/toys"' in text


def test_the_manifest_describes_the_model(exported):
    classifier, folder = exported
    manifest = read_manifest(folder)
    assert manifest["task"] == "MultimodalClassifier"
    assert manifest["versions"]["tensorflow"] == tf.__version__
    assert manifest["versions"]["keras"] == keras.__version__
    assert manifest["labels"] == {"classes": list(classifier.label_names)}
    model = tf.saved_model.load(folder)
    assert set(manifest["signatures"]) == set(model.signatures)
    serve = manifest["signatures"]["serving_default"]
    assert serve["inputs"] == {
        name: {"dtype": "string", "shape": [None]} for name in ("images", "text")
    }
    assert serve["outputs"]["probabilities"] == {"dtype": "float32", "shape": [None, 3]}
    assert serve["outputs"]["image_status"] == {"dtype": "int32", "shape": [None]}
    graph = model.signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    assert {node.op for node in nodes} <= set(manifest["ops"])
    assert manifest["ops"] == sorted(manifest["ops"])


def test_the_manifest_says_how_exact_the_saved_model_is(exported):
    found = read_manifest(exported[1])["parity"]
    assert list(found["explain"]) == ["all", "without_images", "without_text", "unequal"]
    assert set(found) == set(read_manifest(exported[1])["signatures"])
    for signature, rows in found.items():
        assert rows.pop("unequal") == [], signature
        assert all(0 <= apart < 1e-5 for apart in rows.values()), (signature, rows)


@pytest.mark.large
def test_a_version_in_16_bits_is_as_whole(exported, tmp_path):
    classifier, folder = exported
    half = export_version(classifier, tmp_path / "toys" / "serving", precision="float16")
    check_files(half)
    parity = read_manifest(half)["parity"]["serving_default"]
    assert all(0 < parity[row] < 1e-2 for row in ("all", "without_images", "without_text"))
    weights = "variables/variables.data-00000-of-00001"
    sizes = [pathlib.Path(each, weights).stat().st_size for each in (half, folder)]
    assert sizes[0] < 0.6 * sizes[1]
    assert pathlib.Path(half, WARM_UP).is_file()


def test_parity_shows_which_signatures_a_changed_weight_moves(exported):
    classifier, folder = exported
    weights = classifier.get_weights()
    try:
        classifier.backbone.encoders["text"].set_weights(
            [1.5 * weight for weight in classifier.backbone.encoders["text"].get_weights()]
        )
        found = measure_parity(classifier, folder, made_requests(classifier))
    finally:
        classifier.set_weights(weights)
    assert found["serving_default"]["all"] > 1e-4
    assert found["serving_default"]["without_text"] < 1e-5
    assert found["embed_text"]["all"] > 1e-3
    assert found["embed_image"]["all"] < 1e-5


def test_files_are_checked(exported, tmp_path):
    folder = tmp_path / "1"
    shutil.copytree(exported[1], folder)
    for check in (check_files, formats.load):
        check(folder)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    assert files["saved_model.pb"]["sha256"] == (
        hashlib.sha256((folder / "saved_model.pb").read_bytes()).hexdigest()
    )
    (folder / "assets" / "more").write_text("more")
    with pytest.raises(ValueError, match=r"'assets/more' in '.*/1' was not exported with it\. Fix"):
        check_files(folder)
    (folder / "assets" / "more").unlink()
    weights = folder / "variables" / "variables.data-00000-of-00001"
    data = bytearray(weights.read_bytes())
    data[100] ^= 1
    weights.write_bytes(data)
    for check in (check_files, formats.load):
        with pytest.raises(
            ValueError, match=r"'variables/variables\.data.*' is not what was exported"
        ):
            check(folder)
    weights.unlink()
    with pytest.raises(ValueError, match=r"'variables/variables\.data.*' is missing"):
        check_files(folder)
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(
        ValueError, match=r"is not the manifest of an exported model .* Fix: export"
    ):
        check_files(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 1}, r"'.*/1' exists\. Fix: export to a new version, such as .*2"),
        ({"version": 0}, r"`version` must be at least 1\. Received: version=0"),
        ({"name": "a/b"}, r"Received: 'a/b'\. Fix: pass another name"),
        ({"precision": "int8"}, r"A SavedModel has no int8\. .* Fix: float16"),
    ],
)
def test_what_cannot_be_exported_is_said_and_leaves_nothing(exported, options, message):
    classifier, folder = exported
    folder = os.path.dirname(folder)
    before = sorted(os.listdir(folder))
    with pytest.raises(ValueError, match=message):
        export_version(classifier, folder, **options)
    assert sorted(os.listdir(folder)) == before


def test_versions_are_numbers(tmp_path):
    for name in ("1", "10", "2", "models.config", ".3.partial-7", "4a"):
        (tmp_path / name).mkdir()
    assert find_versions(tmp_path) == [1, 2, 10]
    assert find_versions(tmp_path / "nowhere") == []


def test_a_config_that_is_there_stays(tmp_path):
    (tmp_path / "models.config").write_text("mine")
    write_server_config(tmp_path, "toys")
    assert (tmp_path / "models.config").read_text() == "mine"
    assert "max_batch_size" in (tmp_path / "batching.txt").read_text()


@pytest.mark.large
def test_tensorflow_serving_reads_the_requests_and_the_config(exported):
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    folder = pathlib.Path(exported[1])
    config = text_format.Parse(
        (folder.parent / "models.config").read_text(), ModelServerConfig()
    ).model_config_list.config[0]
    assert (config.name, config.base_path) == ("toys", "/models/toys")
    assert config.model_version_policy.latest.num_versions == 1
    model = tf.saved_model.load(str(folder))
    sizes = {}
    for record in tf.data.TFRecordDataset(str(folder / WARM_UP)):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "toys"
        inputs = {name: tf.constant(tf.make_ndarray(v)) for name, v in request.inputs.items()}
        signature = request.model_spec.signature_name
        outputs = model.signatures[signature](**inputs)
        sizes.setdefault(signature, []).append(len(next(iter(outputs.values()))))
        assert all(np.isfinite(v).all() for v in outputs.values() if v.dtype == tf.float32)
    assert set(sizes) == set(model.signatures)
    assert sizes["serving_default"] == [1, 3]
