"""Numbers of a table, from training to serving by the command line."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from mmlearn.cli.main import main

WORDS = {"cheap": 10.0, "fair": 30.0, "dear": 90.0}
TRAIN = [
    *("train", "coco_small", "--data.source", "table", "--model.modalities", "text"),
    *("--data.options", "text=title", "targets=price,stars", "split=part"),
    *("--model.text.name", "bert_tiny", "--model.text.weights", "none"),
    *("--model.text.sequence-length", "8", "--model.hidden-dim", "16"),
    *("--model.fusion.name", "concat"),
    *("--training.phases.0.epochs", "0", "--training.phases.1.epochs", "0"),
    *("--training.phases.2.epochs", "12", "--training.phases.2.learning-rate", "3e-3"),
    *("--training.phases.2.learn-loss-weights", "--data.augmentations"),
    *("--training.batch-size", "16", "--training.precision", "float32"),
]


def write_table(path):
    random = np.random.default_rng(0)
    with open(path, "w") as file:
        file.write("part,title,price,stars\n")
        for row in range(160):
            word = random.choice(list(WORDS))
            part = "train" if row < 128 else "val"
            price = WORDS[word] + random.normal()
            file.write(f"{part},a {word} sofa,{price:.3f},{price / 1000:.6f}\n")


@pytest.mark.large
def test_a_table_of_numbers_is_trained_on_scored_and_served(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_table("prices.csv")
    assert main([*TRAIN, "--data.root", "prices.csv", "--output", "out", "--json"]) == 0
    summary = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    with open("out/run.json") as file:
        record = json.load(file)
    assert record["task"] == "MultimodalRegressor"
    assert record["data"]["label_names"] == ["price", "stars"]
    assert list(summary["metrics"]) == ["fused", "mean"]
    assert summary["metrics"]["fused"]["R2"] > 0.8
    assert summary["metrics"]["mean"]["R2"] < 0.1
    weights = record["history"][-1]["history"]["values_weight"]
    assert len(weights) == 12
    assert weights[-1] != weights[0]

    assert main(["evaluate", "out", "--json"]) == 0
    again = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["metrics"]
    assert again["fused"] == pytest.approx(summary["metrics"]["fused"], rel=1e-4)

    assert main(["predict", "out", "--text", "a dear sofa", "--json"]) == 0
    values = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["values"]
    assert list(values) == ["price", "stars"]
    assert values["price"] > 50

    assert main(["export", "out"]) == 0
    serve = tf.saved_model.load(os.path.join("out", "serving", "2")).signatures["serving_default"]
    served = serve(text=tf.constant(["a dear sofa"]))
    assert served["targets"].numpy().tolist() == [[b"price", b"stars"]]
    np.testing.assert_allclose(served["values"][0], list(values.values()), rtol=1e-4)

    capfd.readouterr()
    assert main([*TRAIN, "--data.root", "prices.csv", "--continual.model", "out"]) == 2
    assert "is a model of MultimodalRegressor" in capfd.readouterr().err
