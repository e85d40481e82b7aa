"""Multi-label metrics against scikit-learn and by hand."""

import keras
import numpy as np
import pytest
from sklearn import metrics

from mmlearn.evaluation.calibration import expected_calibration_error
from mmlearn.evaluation.classification import (
    multilabel_metrics,
    per_class_average_precision,
    trivial_baselines,
)


def scores(count=200, num_classes=6, seed=0):
    random = np.random.default_rng(seed)
    labels = (random.random((count, num_classes)) < 0.3).astype(int)
    return labels, np.clip(random.random(labels.shape) * 0.7 + labels * 0.25, 0, 1)


def keras_accuracy(labels, probabilities):
    """What Keras prints for `metrics=["accuracy"]`, as the report's notebook has it."""
    model = keras.Sequential([keras.Input(labels.shape[1:]), keras.layers.Identity()])
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    return round(model.evaluate(probabilities, labels, verbose=0)[1], 6)  # float32


def test_equals_scikit_learn():
    labels, probabilities = scores()
    predicted = probabilities >= 0.5
    assert multilabel_metrics(labels, probabilities) == pytest.approx(
        {
            "mAP": metrics.average_precision_score(labels, probabilities, average="macro"),
            "macro_F1": metrics.f1_score(labels, predicted, average="macro"),
            "micro_F1": metrics.f1_score(labels, predicted, average="micro"),
            "AUC": metrics.roc_auc_score(labels, probabilities, average="macro"),
            "binary_accuracy": metrics.accuracy_score(labels.ravel(), predicted.ravel()),
            "categorical_accuracy": keras_accuracy(labels, probabilities),
            "subset_accuracy": metrics.accuracy_score(labels, predicted),
            "top_1_accuracy": labels[np.arange(200), probabilities.argmax(1)].mean(),
            # Of six classes: unless the one that is least likely is the only true one.
            "top_5_accuracy": 1
            - np.mean(
                (labels.sum(1) == 0)
                | ((labels.sum(1) == 1) & (labels.argmax(1) == probabilities.argmin(1)))
            ),
            "Jaccard": metrics.jaccard_score(labels, predicted, average="samples", zero_division=1),
            "macro_precision": metrics.precision_score(labels, predicted, average="macro"),
            "macro_recall": metrics.recall_score(labels, predicted, average="macro"),
            "micro_precision": metrics.precision_score(labels, predicted, average="micro"),
            "micro_recall": metrics.recall_score(labels, predicted, average="micro"),
            "micro_AP": metrics.average_precision_score(labels, probabilities, average="micro"),
            "ECE": expected_calibration_error(labels.ravel() > 0, probabilities.ravel()),
            "Brier": metrics.brier_score_loss(labels.ravel(), probabilities.ravel()),
            "num_examples": 200,
            "num_classes": 6,
            "num_labels": labels.sum() / 200,
        },
        abs=1e-9,
    )


def test_equals_values_by_hand():
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    probabilities = np.array([[0.9, 0.6], [0.8, 0.7], [0.3, 0.2], [0.1, 0.1]])
    # Class 0 finds its positives at ranks 1 and 3, class 1 also: (1/1 + 2/3) / 2.
    # At 0.5, each class has one hit, one false alarm and one miss: F1 = 2 / (2 + 1 + 1).
    # Of the four (positive, negative) pairs of each class, three are in order.
    # Each class has one hit and one right rejection. The likeliest class is always 0: the first true
    # one of two examples, and taken for that of the last, which has none.
    assert multilabel_metrics(labels, probabilities) == pytest.approx(
        {
            "mAP": 5 / 6,
            "macro_F1": 0.5,
            "micro_F1": 0.5,
            "AUC": 0.75,
            "binary_accuracy": 0.5,
            "categorical_accuracy": 0.75,
            # The last one is wholly right; of the others each has one error. The first has one label
            # of two right, the third none of its two; nothing is true or predicted of the last.
            "subset_accuracy": 0.25,
            "top_1_accuracy": 0.5,
            "Jaccard": (1 / 2 + 1 / 2 + 0 + 1) / 4,
            "macro_precision": 0.5,
            "macro_recall": 0.5,
            "micro_precision": 0.5,
            "micro_recall": 0.5,
            # All labels in one ranking: positives at ranks 1, 3, 5 and 6.
            "micro_AP": (1 / 1 + 2 / 3 + 3 / 5 + 4 / 6) / 4,
            # Each label has a bin of its own, except that 0.1 is there twice.
            "ECE": (0.1 + 0.6 + 0.8 + 0.3 + 0.7 + 0.8 + 0.1 + 0.1) / 8,
            "Brier": (0.01 + 0.36 + 0.64 + 0.09 + 0.49 + 0.64 + 0.01 + 0.01) / 8,
            "num_examples": 4,
            "num_classes": 2,
            "num_labels": 1.0,
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
            "binary_accuracy": metrics.accuracy_score(flat, predicted),
            "categorical_accuracy": 1.0,  # there is one class
            "subset_accuracy": metrics.accuracy_score(flat, predicted),
            "top_1_accuracy": flat.mean(),
            "Jaccard": np.mean(flat == predicted),
            "macro_precision": metrics.precision_score(flat, predicted),
            "macro_recall": metrics.recall_score(flat, predicted),
            "micro_precision": metrics.precision_score(flat, predicted),
            "micro_recall": metrics.recall_score(flat, predicted),
            "micro_AP": metrics.average_precision_score(flat, probabilities[:, 0]),
            "ECE": expected_calibration_error(flat > 0, probabilities[:, 0]),
            "Brier": metrics.brier_score_loss(flat, probabilities[:, 0]),
            "num_examples": 200,
            "num_classes": 1,
            "num_labels": flat.mean(),
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


def test_each_class_may_have_a_threshold_of_its_own():
    labels, probabilities = scores()
    thresholds = np.array([0.2, 0.5, 0.7, 0.4, 0.6, 0.3])
    found = multilabel_metrics(labels, probabilities, thresholds)
    predicted = probabilities >= thresholds
    for name, average in (("macro_F1", "macro"), ("micro_F1", "micro")):
        expected = metrics.f1_score(labels, predicted, average=average)
        assert found[name] == pytest.approx(expected, abs=1e-9)


def test_the_most_frequent_class_is_a_baseline_where_one_is_true():
    baselines = trivial_baselines(2, [0.2, 0.5, 0.3], "multi_class")
    assert baselines["most_frequent"].tolist() == [[0, 1, 0]] * 2
    assert list(baselines) == ["most_frequent", "prior"]
    assert trivial_baselines(1, [4.5], "regression")["mean"].tolist() == [[4.5]]


def test_predicting_nothing_is_accurate():
    labels = np.zeros((100, 80), int)
    labels[:, :3] = 1
    scored = multilabel_metrics(labels, np.zeros(labels.shape))
    assert scored["binary_accuracy"] == pytest.approx(77 / 80)
    assert scored["categorical_accuracy"] == 1.0  # the first class, true of all
    assert scored["num_labels"] == 3.0
    labels[:, 40:] = -1  # unknown
    assert multilabel_metrics(labels, np.zeros(labels.shape))["binary_accuracy"] == 37 / 40


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
