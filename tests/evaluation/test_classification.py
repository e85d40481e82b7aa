"""Multi-label metrics against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from mmlearn.evaluation.classification import (
    multilabel_metrics,
    per_class_average_precision,
    trivial_baselines,
)


def scores(count=200, num_classes=6, seed=0):
    random = np.random.default_rng(seed)
    labels = (random.random((count, num_classes)) < 0.3).astype(int)
    return labels, np.clip(random.random(labels.shape) * 0.7 + labels * 0.25, 0, 1)


def test_equals_scikit_learn():
    labels, probabilities = scores()
    predicted = probabilities >= 0.5
    assert multilabel_metrics(labels, probabilities) == pytest.approx(
        {
            "mAP": metrics.average_precision_score(labels, probabilities, average="macro"),
            "macro_F1": metrics.f1_score(labels, predicted, average="macro"),
            "micro_F1": metrics.f1_score(labels, predicted, average="micro"),
            "AUC": metrics.roc_auc_score(labels, probabilities, average="macro"),
            "num_examples": 200,
            "num_classes": 6,
        },
        abs=1e-9,
    )


def test_equals_values_by_hand():
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    probabilities = np.array([[0.9, 0.6], [0.8, 0.7], [0.3, 0.2], [0.1, 0.1]])
    # Class 0 finds its positives at ranks 1 and 3, class 1 also: (1/1 + 2/3) / 2.
    # At 0.5, each class has one hit, one false alarm and one miss: F1 = 2 / (2 + 1 + 1).
    # Of the four (positive, negative) pairs of each class, three are in order.
    assert multilabel_metrics(labels, probabilities) == pytest.approx(
        {
            "mAP": 5 / 6,
            "macro_F1": 0.5,
            "micro_F1": 0.5,
            "AUC": 0.75,
            "num_examples": 4,
            "num_classes": 2,
        },
        abs=1e-9,
    )


def test_the_threshold_itself_counts_as_predicted():
    labels = np.array([[1], [0]])
    probabilities = np.array([[0.4], [0.1]])
    assert multilabel_metrics(labels, probabilities, threshold=0.4)["macro_F1"] == 1.0
    assert multilabel_metrics(labels, probabilities)["macro_F1"] == 0.0


def test_one_class_is_scored_as_scikit_learn_scores_a_binary_problem():
    labels, probabilities = scores(num_classes=1)
    flat, predicted = labels[:, 0], probabilities[:, 0] >= 0.5
    assert multilabel_metrics(labels, probabilities) == pytest.approx(
        {
            "mAP": metrics.average_precision_score(flat, probabilities[:, 0]),
            "macro_F1": metrics.f1_score(flat, predicted),
            "micro_F1": metrics.f1_score(flat, predicted),
            "AUC": metrics.roc_auc_score(flat, probabilities[:, 0]),
            "num_examples": 200,
            "num_classes": 1,
        },
        abs=1e-9,
    )


def test_a_class_without_positive_is_left_out():
    labels, probabilities = scores()
    labels[:, 2] = 0
    scored = multilabel_metrics(labels, probabilities)
    others = [0, 1, 3, 4, 5]
    expected = multilabel_metrics(labels[:, others], probabilities[:, others])
    assert scored["num_classes"] == 5
    for name in ("mAP", "macro_F1", "AUC"):
        assert scored[name] == pytest.approx(expected[name], abs=1e-9)
    # Micro F1 counts its false alarms.
    assert scored["micro_F1"] < expected["micro_F1"]
    average_precisions = per_class_average_precision(labels, probabilities)
    assert np.isnan(average_precisions).tolist() == [False, False, True, False, False, False]


def test_a_class_without_negative_has_no_auc_but_a_precision():
    labels, probabilities = scores()
    labels[:, 0] = 1
    scored = multilabel_metrics(labels, probabilities)
    assert scored["num_classes"] == 6
    expected = metrics.roc_auc_score(labels[:, 1:], probabilities[:, 1:], average="macro")
    assert scored["AUC"] == pytest.approx(expected, abs=1e-9)
    assert np.isnan(multilabel_metrics(labels[:, :1], probabilities[:, :1])["AUC"])


def test_unknown_labels_do_not_count():
    labels, probabilities = scores()
    other_labels, others = scores(seed=1)
    own, foreign = labels.copy(), other_labels.copy()
    own[:, 3:], foreign[:, :3] = -1, -1  # each example knows half of the classes
    scored = multilabel_metrics(np.vstack([own, foreign]), np.vstack([probabilities, others]))
    halves = [
        multilabel_metrics(labels[:, :3], probabilities[:, :3]),
        multilabel_metrics(other_labels[:, 3:], others[:, 3:]),
    ]
    assert (scored["num_examples"], scored["num_classes"]) == (400, 6)
    for name in ("mAP", "macro_F1", "AUC"):
        assert scored[name] == pytest.approx(np.mean([half[name] for half in halves]), abs=1e-9)
    flat = np.hstack([labels[:, :3], other_labels[:, 3:]]).ravel()
    predicted = np.hstack([probabilities[:, :3], others[:, 3:]]).ravel() >= 0.5
    assert scored["micro_F1"] == pytest.approx(metrics.f1_score(flat, predicted), abs=1e-9)


def test_predicting_nothing_scores_the_prevalence():
    labels, _ = scores()
    prior = labels.mean(axis=0)
    baselines = trivial_baselines(len(labels), prior)
    assert {name: values.shape for name, values in baselines.items()} == {
        "nothing": labels.shape,
        "prior": labels.shape,
    }
    np.testing.assert_allclose(baselines["prior"], np.tile(prior, (len(labels), 1)), atol=1e-7)
    for values in baselines.values():  # constant scores rank nothing
        scored = multilabel_metrics(labels, values)
        assert scored["mAP"] == pytest.approx(prior.mean(), abs=1e-9)
        assert scored["AUC"] == pytest.approx(0.5, abs=1e-9)
        assert scored["macro_F1"] == scored["micro_F1"] == 0.0


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (np.ones((3, 2)), np.ones((3, 1)), r"one shape .*Received: \(3, 2\) and \(3, 1\)"),
        (np.ones(3), np.ones(3), r"Received: \(3,\) and \(3,\)"),
        (np.ones((2, 1)), np.array([[0.5], [np.nan]]), r"holds NaN or infinity"),
        (np.ones((2, 1)), np.array([[0.5], [np.inf]]), r"holds NaN or infinity"),
        (np.zeros((2, 1)), np.ones((2, 1)), r"No class has a positive label"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        multilabel_metrics(labels, probabilities)
