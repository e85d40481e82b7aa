"""A saved model made smaller, through the command line."""

import json
import os

import keras
import numpy as np
import pytest

from mmlearn import MultimodalClassifier
from mmlearn.analysis.evidence import read_all_evidence
from mmlearn.cli.main import main
from mmlearn.experiments.compression import EVERY_FOURTH, draw_calibration
from mmlearn.experiments.config import DataConfig
from mmlearn.experiments.scoring import evaluate_model
from mmlearn.models import formats
from tests import toys

COUNTS = {"num_train": 24, "num_val": 12}


@pytest.fixture(scope="module")
def saved(shapes, shapes_root, tmp_path_factory):
    """A preset for the small data set, its `DataConfig`, and the flags that name the data."""
    keras.utils.set_random_seed(0)
    names = list(shapes.label_names)
    task = MultimodalClassifier(
        toys.backbone(), len(names), toys.preprocessor(), label_names=names, hidden_dim=8
    )
    folder = str(tmp_path_factory.mktemp("saved") / "preset")
    task.save_to_preset(folder)
    options = [f"{name}={count}" for name, count in COUNTS.items()]
    flags = ["--data.source", "shapes", "--data.root", shapes_root, "--data.options", *options]
    return folder, DataConfig("shapes", shapes_root, COUNTS), flags


@pytest.mark.large
def test_calibration_lacks_each_modality_as_the_preprocessor_says(saved):
    task = MultimodalClassifier.from_preset(saved[0])
    (batch,) = draw_calibration(task, saved[1], 16)
    rows = np.arange(0, 16, EVERY_FOURTH)
    without = {m: np.flatnonzero(batch[f"{m}_present"] == 0) for m in ("images", "text")}
    assert without["images"].tolist() == rows[::2].tolist()
    assert without["text"].tolist() == rows[1::2].tolist()
    absent = task.preprocessor(task.preprocessor.read_raw({"text": [""]}))
    for name in ("token_ids", "padding_mask"):
        np.testing.assert_array_equal(batch[name][without["text"][0]], absent[name][0])
    (again,) = draw_calibration(task, saved[1], 16)
    np.testing.assert_array_equal(batch["images"], again["images"])
    assert len(draw_calibration(task, saved[1], 100)[0]["images"]) == COUNTS["num_train"]


def test_wrong_words_are_one_line(saved, capfd):
    folder, _, flags = saved
    assert main(["compress", folder, "--method", "int4", *flags]) == 2
    assert "Unknown compression method 'int4'. Did you mean 'int8'?" in capfd.readouterr().err
    assert main(["compress", folder, "--format", "onx", *flags]) == 2
    assert "Did you mean 'onnx'?" in capfd.readouterr().err
    assert main(["compress", folder, "--format", "tf_saved_model", *flags]) == 2
    assert "A SavedModel has no int8." in capfd.readouterr().err
    assert main(["compress", folder, "--repeats", "0", *flags]) == 2
    assert "`repeats` must be at least 1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("method", "format", "tolerance"),
    [
        pytest.param("float16", "onnx", 0.01, marks=pytest.mark.full),
        pytest.param("float16", "tf_saved_model", 0.01, marks=pytest.mark.large),
        pytest.param("int8", "litert", 0.1, marks=pytest.mark.full),
        pytest.param("int8", "openvino", 0.1, marks=pytest.mark.large),
    ],
)
def test_a_smaller_model_says_nearly_the_same(method, format, tolerance, saved, tmp_path, capfd):
    folder, data, flags = saved
    options = ("--method", method, "--format", format, "--calibration-examples", "8")
    words = (*options, "--resamples", "20", "--repeats", "3", "--output", str(tmp_path))
    assert main(["compress", folder, *words, *flags, "--json"]) == 0
    record = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["compression"]
    small = record["artefacts"]["small"]["size_mb"]
    # The graphs of a SavedModel are most of so small a model.
    assert (
        small
        < (0.9 if format == "tf_saved_model" else 0.8) * record["artefacts"]["full"]["size_mb"]
    )
    assert [row["without"] for row in record["quality"]] == [None, "images", "text"]
    for row in record["quality"]:
        assert row["same_format_difference"] < 1e-3
        assert 0 < row["largest_difference"] < tolerance
        assert row["change"]["value"] == pytest.approx(row["after"] - row["before"], abs=1e-6)
    expected = evaluate_model(folder, data)["metrics"]["fused"]["mAP"]
    assert record["quality"][0]["before"] == pytest.approx(expected, abs=1e-6)
    assert record["num_examples"] == COUNTS["num_val"]
    assert callable(formats.load(record["folder"]))
    content = read_all_evidence(tmp_path)[f"compression_{method}_{format}"]
    assert content["compression"] == record
    assert os.listdir(tmp_path / "compressed") == [f"{method}_{format}"]
