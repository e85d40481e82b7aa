"""What `predict --server` makes of an answer. That it is what a folder's model says: tests/serving."""

import json

import numpy as np
import pytest

from mmlearn.cli.main import main
from mmlearn.serving import client


@pytest.fixture
def answer(monkeypatch):
    """The answer of every server."""
    found = {}

    class Answering(client.Client):
        def __init__(self, url, model, manifest):
            pass

        def close(self):
            pass

        def signatures(self):
            names = ("images", "text", "table_age", "table_city")
            return {"serving_default": {"inputs": dict.fromkeys(names, (object, (None,)))}}

        def predict(self, **x):
            return found

    monkeypatch.setattr(client, "Client", Answering)
    return found


def predict(*words):
    return main(["predict", "toys", "--server", "http://localhost:1", *words])


def test_several_heads_and_what_else_a_model_says(answer, capfd):
    answer |= {
        "price_values": np.array([[1.5]]),
        "price_targets": np.array([["euros"]]),
        "kind_probabilities": np.array([[0.25, 0.75]]),
        "kind_labels": np.array([["cat", "dog"]]),
        "modality_weights": np.array([[0.5, 0.2, 0.3]]),
        "status": np.array([0]),
        "answer": np.array(["yes"]),
        "shares": np.array([[1, 2]]),
    }
    assert predict("--text", "a dog", "--table", "age=3", "city=Rome", "--json") == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {
        "kind": {"dog": 0.75, "cat": 0.25},
        "price": {"euros": 1.5},
        "answer": "yes",
        "shares": [1, 2],
        "modality_weights": {"images": 0.5, "table": 0.2, "text": 0.3},
    }
    assert "images 0.50, table 0.20, text 0.30" in err
    assert "shares: [1, 2]" in err


def test_of_one_modality_no_weights_are_shown(answer, capfd):
    answer |= {"labels": np.array([["cat"]]), "probabilities": np.array([[1.0]])}
    answer["modality_weights"] = np.array([[0.1, 0.1, 0.8]])
    assert predict("--text", "a dog") == 0
    assert "weights" not in capfd.readouterr().out


def test_an_answer_that_means_nothing_is_refused(answer, capfd):
    answer |= {"match": np.array([0.5]), "status": np.array([1])}
    assert predict("--text", "a dog") == 2
    assert "nothing to predict from: this model takes images" in capfd.readouterr().err
    answer |= {"image_status": np.array([3])}
    assert predict("--image", "a.jpg") == 2
    assert "'a.jpg', which has too many pixels. Fix" in capfd.readouterr().err
