"""Metrics of one true class against scikit-learn and by hand."""

import numpy as np
import pytest
from scipy import special
from sklearn import metrics

from mmlearn.evaluation.multiclass import multiclass_metrics


def scores(count=150, num_classes=7, seed=0):
    random = np.random.default_rng(seed)
    truth = random.integers(0, num_classes, count)
    labels = np.eye(num_classes, dtype=int)[truth]
    return truth, labels, special.softmax(random.normal(size=labels.shape) + 1.5 * labels, axis=1)


def test_equals_scikit_learn():
    truth, labels, probabilities = scores()
    predicted = probabilities.argmax(1)
    found = multiclass_metrics(labels, probabilities)
    expected = {
        "top_1_accuracy": metrics.accuracy_score(truth, predicted),
        "top_5_accuracy": metrics.top_k_accuracy_score(truth, probabilities, k=5),
        "macro_F1": metrics.f1_score(truth, predicted, average="macro"),
        "micro_F1": metrics.f1_score(truth, predicted, average="micro"),
        "mAP": metrics.average_precision_score(labels, probabilities, average="macro"),
        "AUC": metrics.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"),
        "macro_precision": metrics.precision_score(truth, predicted, average="macro"),
        "macro_recall": metrics.balanced_accuracy_score(truth, predicted),
        "Brier": np.mean(np.sum((probabilities - labels) ** 2, axis=1)),
        "num_examples": 150,
        "num_classes": 7,
        "num_labels": 1.0,
    }
    assert set(found) == {*expected, "ECE"}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_equals_values_by_hand():
    labels = np.eye(3, dtype=int)[[0, 0, 1]]
    probabilities = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1]])
    found = multiclass_metrics(labels, probabilities)
    # Class 0: one of two found, no false one; class 1: found, with one false one; 2 does not occur.
    assert found["top_1_accuracy"] == pytest.approx(2 / 3)
    assert found["macro_F1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert found["macro_precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["macro_recall"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["mAP"] == 1.0
    # Likeliest classes: 0.8 right, 0.6 wrong, 0.7 right, each in a bin of its own.
    assert found["ECE"] == pytest.approx((0.2 + 0.6 + 0.3) / 3)
    assert found["num_classes"] == 2
    assert "top_5_accuracy" not in found


def test_an_example_without_a_class_does_not_count():
    _, labels, probabilities = scores()
    expected = multiclass_metrics(labels[5:], probabilities[5:])
    labels[:5] = -1
    assert multiclass_metrics(labels, probabilities) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [[1, 1], [1, 0]],
            r"one true class per example\. Received: 2 in row 0\. Fix: .*multi_label",
        ),
        ([[0, 0], [0, 0]], r"No example has a true class"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        multiclass_metrics(np.array(labels), np.full((2, 2), 0.5))
