"""The command that goes on from the model of an earlier run."""

import json
import os

import numpy as np
import pytest


@pytest.mark.full
def test_train_goes_on_and_measures_what_is_forgotten(main_job, mmlearn, tmp_path):
    model, _ = main_job
    from data_prep.sources.shapes import COLORS

    source = model.parent / "data" / "val"
    images = sorted(str(path) for path in source.iterdir())
    rows = ["photo,title,kinds"]
    for row, path in enumerate(images):
        color = list(COLORS)[row % len(COLORS)]
        rows.append(f"{os.path.basename(path)},a {color} ring,{color}|ring")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    output = tmp_path / "colors"
    flags = (
        *("train", "shapes", "--data.source", "table", "--data.root", tmp_path / "table.csv"),
        *("--continual.model", model, "--continual.rehearsal", "0.3", "--output", output),
        *("--continual.distillation", "1", "--training.batch-size", "4", "--json"),
        *("--training.phases.0.epochs", "1", "--training.phases.2.epochs", "1"),
    )
    options = ("images=photo", "text=title", "labels=kinds", f"folder={source}")
    result = mmlearn(*flags, "--data.options", *options)
    summary = json.loads(result.stdout.strip().splitlines()[-1])
    record = json.loads((output / "run.json").read_text())
    assert summary["forgetting"] == record["forgetting"]
    assert set(record["forgetting"]["classes"]) <= set(
        json.loads((model / "run.json").read_text())["data"]["label_names"]
    )
    assert "earlier classes, 24 validation examples" in result.stderr
    assert record["config"]["continual"]["model"] == str(model)
    assert record["config"]["model"]["hidden_dim"] == 16  # as the earlier run has it
    assert len(record["earlier"]["weights"]) == 64
    assert len(record["data"]["label_names"]) == 8 + len(COLORS)
    result = mmlearn("train", output / "run.json", "--output", tmp_path / "again", "--json")
    again = json.loads(result.stdout.strip().splitlines()[-1])
    assert again["metrics"] == summary["metrics"]
    assert again["forgetting"] == summary["forgetting"]
    result = mmlearn("evaluate", output, "--json")
    metrics = json.loads(result.stdout.strip().splitlines()[-1])["metrics"]
    assert metrics["fused"] == pytest.approx(summary["metrics"]["fused"], abs=1e-6)
    labels = np.load(output / "predictions.npz")["labels"]
    assert sorted(np.unique(labels)) == [-1, 0, 1]
