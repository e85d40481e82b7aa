"""The table of a task on a dataset: every head, every baseline, one row each."""

import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.evaluation.evaluate import evaluate
from mmlearn.evaluation.keywords import keyword_match
from mmlearn.evaluation.multiclass import multiclass_metrics
from tests import toys


@pytest.fixture(scope="module")
def task():
    return toys.classifier()


def dataset(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(3)


def test_scores_every_head_baseline_and_oracle(task):
    x, y = toys.examples(7)
    prior = y.mean(axis=0)
    scores, predictions = evaluate(task, dataset(x, y), prior, oracles={"labels": y * 1.0})
    assert set(scores) == {"fused", "images", "text", "nothing", "prior", "oracle_labels"}
    np.testing.assert_array_equal(predictions["labels"], y)
    outputs = task.predict_outputs(x, verbose=0)
    for row, output in (
        ("fused", "classes"),
        ("images", "images_classes"),
        ("text", "text_classes"),
    ):
        np.testing.assert_allclose(predictions[row], outputs[output], rtol=0, atol=1e-6)
        assert scores[row] == pytest.approx(multilabel_metrics(y, predictions[row]))
    assert scores["oracle_labels"]["mAP"] == 1.0
    assert scores["nothing"]["micro_F1"] == 0.0
    assert scores["prior"]["mAP"] == pytest.approx(prior.mean())


def test_a_modality_is_scored_on_the_examples_that_have_it(task):
    x, y = toys.examples(8)
    y[:, 0] = 1  # a class with a positive in any subset
    x["text"][:5] = [""] * 5
    scores, predictions = evaluate(task, dataset(x, y), prior=y.mean(axis=0))
    assert scores["text"]["num_examples"] == 3
    assert scores["images"]["num_examples"] == scores["fused"]["num_examples"] == 8
    own = multilabel_metrics(y[5:], predictions["text"][5:])
    assert scores["text"] == pytest.approx(own, nan_ok=True)


def test_labels_of_another_size_are_refused(task):
    x, y = toys.examples(3)
    with pytest.raises(
        ValueError, match=r"The data has 2 columns of labels, but the model knows 3\. Fix:"
    ):
        evaluate(task, dataset(x, y[:, :2]), prior=np.ones(2))


def test_a_modality_that_no_example_has_is_left_out():
    task = toys.classifier()
    x, y = toys.examples(4)
    dataset = tf.data.Dataset.from_tensor_slices(({"text": x["text"]}, y)).batch(2)
    scores, _ = evaluate(task, dataset, prior=y.mean(axis=0))
    assert "images" not in scores
    assert {"fused", "text", "prior"} <= set(scores)


def test_one_true_class_is_scored_as_such_and_baselines_are_rows():
    backbone = MultimodalBackbone(
        {"text": encoders.Features(length=2, dim=4)}, fusions.get("concat"), hidden_dim=8
    )
    task = MultimodalClassifier(
        backbone, 3, label_names=["dog", "cat", "sofa"], activation="softmax", hidden_dim=None
    )
    random = np.random.default_rng(0)
    x = {
        "text_features": random.normal(size=(9, 2, 4)).astype("float32"),
        "text_mask": np.ones((9, 2), "int32"),
        "text_present": np.ones(9, "int32"),
    }
    y = np.eye(3, dtype=int)[random.integers(0, 3, 9)]
    words = keyword_match(["a dog", *[""] * 8], task.label_names, [0.2, 0.5, 0.3], "multi_class")
    prior = np.array([0.2, 0.5, 0.3])
    scores, predictions = evaluate(task, dataset(x, y), prior, baselines={"keywords": words})
    assert list(scores) == ["fused", "most_frequent", "prior", "keywords"]
    assert scores["fused"] == pytest.approx(multiclass_metrics(y, predictions["fused"]))
    assert scores["most_frequent"]["top_1_accuracy"] == y[:, 1].mean()
    assert scores["keywords"] == pytest.approx(multiclass_metrics(y, words))
