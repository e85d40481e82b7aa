"""The command that gives a trained model new classes."""

import json
import os

import numpy as np
import pytest


@pytest.mark.large
def test_adapt_then_predict_and_serve(main_job, mmlearn, tmp_path):
    model, _ = main_job
    words = ("red", "blue", "green")
    rows = [f"a {word} {shape},{word}" for shape in ("ring", "star", "cross") for word in words]
    (tmp_path / "table.csv").write_text("\n".join(["title,color", *rows * 3]))
    output = tmp_path / "colors"
    result = mmlearn(
        *("adapt", model, "--data.source", "table", "--data.root", tmp_path / "table.csv"),
        *("--data.options", "text=title", "labels=color", "--data.stratify"),
        *("--shots", "5", "--seeds", "2", "--output", output, "--json"),
    )
    summary = json.loads(result.stdout.strip().splitlines()[-1])
    assert [point["shots"] for point in summary["curves"]["fused"]] == [1, 2, 5, "all"]
    assert "no images" in result.stderr
    assert sorted(os.listdir(output)) == ["figures", "preset", "serving", "shots.json"]
    result = mmlearn("predict", output, "--text", "a red ring", "--top", "3", "--json")
    labels = json.loads(result.stdout.strip().splitlines()[-1])["labels"]
    assert set(labels) == set(words)
    assert sum(labels.values()) == pytest.approx(1, abs=1e-5)

    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    served = tf.saved_model.load(str(output / "serving" / "1")).signatures["serving_default"]
    answer = served(images=tf.constant([b""]), text=tf.constant(["a red ring"]))
    names = [name.decode() for name in answer["labels"][0].numpy()]
    np.testing.assert_allclose(
        answer["probabilities"][0], [labels[name] for name in names], atol=1e-5
    )
