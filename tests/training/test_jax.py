"""Keras on JAX trains what Keras on TensorFlow trains, on one device."""

import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.pipeline import build_dataset
from data_prep.sources.shapes import ShapesSource
from mmlearn import MultimodalClassifier
from mmlearn.models.manifest import check_files
from tests import toys
from tests.programs import run_program
from tests.training import jax_program

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(
        importlib.util.find_spec("jax") is None, reason="jax is not installed; it is in `dev`"
    ),
]


def run(*words, backend="jax"):
    """Runs a module in a process of its own; returns the JSON object in its last line."""
    return run_program("-m", *words, KERAS_BACKEND=backend)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What the same training leaves on both backends, and its folder."""
    folder = tmp_path_factory.mktemp("same")
    keras.utils.set_random_seed(5)
    toys.classifier(modality_dropout=0.0).save_to_preset(folder / "preset")
    run("tests.training.jax_program", "same", folder)
    jax_program.train_the_same(str(folder))
    results = [dict(np.load(folder / f"{name}.npz")) for name in ("tensorflow", "jax")]
    return *results, folder


def test_the_same_preset_predicts_the_same(both):
    expected, found, _ = both
    np.testing.assert_allclose(found["before"], expected["before"], rtol=0, atol=1e-5)


def test_all_phases_train_the_same(both):
    expected, found, _ = both
    assert set(found) == set(expected)
    assert np.abs(expected["after"] - expected["before"]).max() > 0.05  # they did learn
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-4)
    for name in expected:
        if "/" in name:  # the history, contributions among it
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-4, err_msg=name)
    for name in ("weights", "after", "explained", "on_batch"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-4, err_msg=name)


def test_tensorflow_loads_what_jax_has_saved(both):
    _, found, folder = both
    raw, _ = toys.examples(len(found["after"]))
    task = MultimodalClassifier.from_preset(str(folder / "jax"))
    np.testing.assert_allclose(task.predict(raw, verbose=0), found["after"], rtol=0, atol=1e-5)
    task = keras.models.load_model(folder / "jax.keras")
    assert not task.jit_compile
    assert task.optimizer.built


@pytest.mark.full
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path):
    report = run("tests.training.jax_program", "resume", tmp_path)
    assert len(report) == 3
    for name, found in report.items():
        assert found == {"different": 0, "same_history": True}, name


def test_what_needs_tensorflow_is_refused_in_a_line(tmp_path):
    report = run("tests.training.jax_program", "refuse", tmp_path)
    said = {
        "replicas": r"With JAX, one device trains. Received: num_replicas=2. Fix: ",
        "hosts": "the strategy 'multi_worker' with Keras on jax. Fix: KERAS_BACKEND=tensorflow",
        "micro-batches": "Received: micro_batches=2 with Keras on jax. Fix: ",
    }
    for name, line in said.items():
        code, text = report[name]
        assert code == 2
        assert line in text
        assert len(text.strip().splitlines()) == 1
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("out")]


@pytest.mark.full
def test_a_nan_in_an_image_ends_training(tmp_path):
    said = run("tests.training.jax_program", "stop", tmp_path)
    assert "The loss became nan in phase 'only', epoch 1, step 1." in said


@pytest.mark.full
def test_it_trains_in_16_bits(tmp_path):
    report = run("tests.training.jax_program", "precisions", tmp_path)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        first, last, dtype = report[policy]
        assert last < first, policy
        assert dtype == "float32"


SHAPES = (
    *("--data.options", "num_train=800", "num_val=200", "seed=0"),
    *("--model.images.image-size", "48", "--model.text.sequence-length", "16"),
    *("--training.batch-size", "16", "--training.precision", "float32"),
    *("--training.phases.0.epochs", "2", "--training.phases.1.epochs", "2"),
    *("--training.phases.2.epochs", "1"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The records of the experiment `shapes` on both backends, and its folder."""
    folder = tmp_path_factory.mktemp("runs")
    records = {}
    for backend in ("tensorflow", "jax"):
        output = folder / backend
        words = ("--data.root", folder / "data", "--output", output, "--json")
        run("mmlearn", "train", "shapes", *SHAPES, *words, backend=backend)
        records[backend] = json.loads((output / "run.json").read_text())
    return records, folder


@pytest.mark.full
def test_the_command_trains_on_jax_as_on_tensorflow(runs):
    records, _ = runs
    assert {name: record["backend"] for name, record in records.items()} == {
        "tensorflow": "tensorflow",
        "jax": "jax",
    }
    assert "jax" in records["jax"]["versions"]
    stored = [phase["stored_features"] for phase in records["jax"]["history"]]
    assert stored == [[], ["images", "text"], []]
    for row in ("fused", "images", "text"):
        expected, found = (records[name]["metrics"][row]["mAP"] for name in ("tensorflow", "jax"))
        assert found == pytest.approx(expected, abs=0.03), row
    assert found > records["jax"]["metrics"]["prior"]["mAP"] + 0.4  # of text
    histories = [record["history"] for record in records.values()]
    for ours, theirs in zip(*histories, strict=True):
        assert set(ours["history"]) == set(theirs["history"])


@pytest.mark.full
def test_its_results_serve_tensorflow(runs):
    _, folder = runs
    saved = np.load(folder / "jax" / "predictions.npz")
    source = ShapesSource(folder / "data", num_train=800, num_val=200)
    task = MultimodalClassifier.from_preset(str(folder / "jax" / "preset"))
    dataset = build_dataset(source, "val", task.preprocessor, 50)
    predicted = task.predict(dataset.map(lambda x, *_: x), verbose=0)
    np.testing.assert_allclose(predicted, saved["fused"], rtol=0, atol=1e-5)
    served = tf.saved_model.load(str(folder / "jax" / "serving" / "1"))
    index = source.examples("val")
    files = [pathlib.Path(path).read_bytes() for path in index.images[:8]]
    texts = [captions[0] if captions else "" for captions in index.captions[:8]]
    answer = served.signatures["serving_default"](
        images=tf.constant(files), text=tf.constant(texts)
    )
    np.testing.assert_allclose(answer["probabilities"], saved["fused"][:8], rtol=0, atol=1e-3)
    names = sorted(path.name for path in (folder / "jax" / "serving").iterdir())
    assert names == ["1", "batching.txt", "models.config"]
    check_files(folder / "jax" / "serving" / "1")
