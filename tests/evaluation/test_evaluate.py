"""The table of a task on a dataset: every head, every baseline, one row each."""

import numpy as np
import pytest
import tensorflow as tf

from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.evaluation.evaluate import evaluate
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
    with pytest.raises(ValueError, match=r"The data has 2 classes, but the model knows 3\. Fix:"):
        evaluate(task, dataset(x, y[:, :2]), prior=np.ones(2))
