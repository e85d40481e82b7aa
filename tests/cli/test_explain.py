"""The command `explain`: its errors, and a run of each kind on a tiny model."""

import json
import os

import cv2
import numpy as np
import pytest

from mmlearn import MultimodalClassifier
from mmlearn.analysis.evidence import read_all_evidence
from mmlearn.cli.main import main
from tests import toys


@pytest.fixture(scope="module")
def model(shapes, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("model") / "preset")
    MultimodalClassifier(
        toys.backbone(), 8, toys.preprocessor(), label_names=shapes.label_names
    ).save_to_preset(folder)
    return folder


def run(capfd, *args, code=0):
    assert main(["explain", *(str(arg) for arg in args)]) == code
    return capfd.readouterr()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "There is nothing to explain. Fix: pass --image FILE"),
        (["--text", " "], "--text is empty"),
        (["--text", "a dog"], "Fix: pass the output folder of a run"),
        (["--measure", "--text", "a dog"], "--measure is of a data set"),
        (["--measure", "--count", "0"], "--count must be at least 1. Received: 0"),
    ],
)
def test_user_errors_are_one_line(args, message, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "nowhere"
    (line,) = run(capfd, model, *args, code=2).err.strip().splitlines()
    assert message in line


@pytest.mark.large
def test_an_example_is_explained(model, capfd, tmp_path):
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8))
    args = ("--image", image, "--text", "a red circle", "--output", tmp_path / "out", "--json")
    captured = run(capfd, model, *args)
    record = json.loads(captured.out.strip().splitlines()[-1])
    assert record["words"] == ["a", "red", "circle"]
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*record["figures"], "explanation.json"])
    assert "modality weights" in captured.err and "integrated gradients" in captured.err
    (line,) = run(capfd, model, *args[:4], "--label", "cow", code=2).err.strip().splitlines()
    assert "no label 'cow'" in line
    (line,) = run(capfd, model, "--image", tmp_path / "no.png", code=2).err.strip().splitlines()
    assert "no.png" in line


@pytest.mark.large
def test_a_model_is_measured(model, shapes_root, capfd, tmp_path):
    flags = ["--data.source", "shapes", "--data.root", shapes_root, "--count", 12, "--curves", 1]
    captured = run(capfd, model, "--measure", *flags, "--output", tmp_path / "out", "--json")
    found = json.loads(captured.out.strip().splitlines()[-1])
    assert found["attention"]["grid"] == [2, 2]
    assert found["evidence"] == str(tmp_path / "out" / "evidence" / "attention.json")
    assert "centre prior" in " ".join(
        read_all_evidence(str(tmp_path / "out"))["attention"]["remarks"]
    )
    assert sorted(os.listdir(tmp_path / "out" / "evidence")) == [
        "attention.json",
        "attention.md",
        "attention_deletion.png",
        "attention_pointing.png",
    ]
