"""Confusion matrices against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from mmlearn.evaluation.confusion import (
    find_errors,
    multiclass_confusion,
    multiclass_predictions,
    multilabel_confusion,
    per_class_confusion,
    predicted_labels,
)
from mmlearn.evaluation.per_class import false_rate, miss_rate, order_by_errors, per_class


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    labels = (random.random((60, 4)) < 0.4).astype(int)
    return labels, random.random(labels.shape)


def test_of_each_class_it_is_that_of_scikit_learn(data):
    labels, values = data
    expected = metrics.multilabel_confusion_matrix(labels, values >= 0.5)
    np.testing.assert_array_equal(per_class_confusion(labels, values >= 0.5), expected)
    unknown = labels.copy()
    unknown[:10, 2] = -1
    own = metrics.confusion_matrix(labels[10:, 2], values[10:, 2] >= 0.5)
    np.testing.assert_array_equal(per_class_confusion(unknown, values >= 0.5)[2], own)


def test_of_one_true_class_it_is_that_of_scikit_learn(data):
    truth, values = data[0].argmax(1), data[1]
    found = multiclass_confusion(np.eye(4, dtype=int)[truth], multiclass_predictions(values))
    np.testing.assert_array_equal(found, metrics.confusion_matrix(truth, values.argmax(1)))


def test_of_several_labels_every_true_one_counts_once(data):
    labels, values = data
    predicted = values >= 0.5
    found = multilabel_confusion(labels, predicted)
    np.testing.assert_allclose(found[:-1].sum(axis=1), labels.sum(axis=0))
    np.testing.assert_allclose(np.diag(found)[:-1], (labels & predicted).sum(axis=0))


def test_of_several_labels_by_hand():
    labels = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, -1, 0, 0]])
    predicted = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0]], bool)
    # 1 is missed and 2 and 3 are seen; 1 is missed and nothing seen; nothing is missed and 3 is
    # seen; 1 is seen, of which nothing is known.
    expected = np.zeros((5, 5))
    expected[0, 0], expected[1, 2], expected[1, 3], expected[1, 4], expected[4, 3] = (
        3,
        0.5,
        0.5,
        1,
        1,
    )
    np.testing.assert_array_equal(multilabel_confusion(labels, predicted), expected)


def test_each_class_is_scored_as_scikit_learn_scores_it(data):
    labels, values = data
    found = per_class("multi_label", labels, values, ["a", "b", "c", "d"])
    predicted = values >= 0.5
    columns = metrics.precision_recall_fscore_support(labels, predicted)
    for c, name in enumerate("abcd"):
        expected = {
            "average_precision": metrics.average_precision_score(labels[:, c], values[:, c]),
            "AUC": metrics.roc_auc_score(labels[:, c], values[:, c]),
            **{m: columns[k][c] for k, m in enumerate(("precision", "recall", "F1"))},
        }
        assert {m: found[name][m] for m in expected} == pytest.approx(expected, abs=1e-9)
        assert found[name]["true_positives"] + found[name]["false_negatives"] == labels[:, c].sum()


def test_what_a_class_lacks_is_none():
    labels, values = np.array([[0, 1], [0, 1]]), np.array([[0.1, 0.9], [0.2, 0.1]])
    found = per_class("multi_label", labels, values, ["never", "always"], [0.5, 0.95])
    assert found["never"]["average_precision"] is None
    assert found["never"]["recall"] is found["never"]["F1"] is None
    assert found["always"]["AUC"] is None
    assert found["always"]["precision"] is None
    assert found["always"]["recall"] == found["always"]["F1"] == 0.0


def test_one_true_class_and_numbers():
    truth = np.eye(2, dtype=int)[[0, 1, 1]]
    values = np.array([[0.45, 0.4], [0.6, 0.4], [0.2, 0.8]])
    found = per_class("multi_class", truth, values, ["a", "b"])
    assert found["a"]["precision"] == 0.5  # the likeliest counts, whatever its probability
    assert found["b"]["recall"] == 0.5
    targets = np.array([[1.0, 5.0], [3.0, 5.0]])
    found = per_class("regression", targets, targets + [[1.0, 0.0]], ["x", "y"])
    assert found["x"] == {"MAE": 1.0, "RMSE": 1.0, "R2": 0.0}
    assert found["y"] == {"MAE": 0.0, "RMSE": 0.0, "R2": None}


def test_errors_leave_unknown_labels_out():
    labels = np.array([[1, 0, -1], [1, 1, 0], [0, 0, 0]])
    values = np.array([[0.9, 0.6, 0.9], [0.2, 0.5, 0.1], [0.7, 0.1, 0.3]])
    missed, false = find_errors(labels, predicted_labels("multi_label", values, [0.1, 0.7, 0.2]))
    assert missed.tolist() == [[False] * 3, [False, True, False], [False] * 3]
    assert false.tolist() == [[False] * 3, [False] * 3, [True, False, True]]
    one = np.eye(3, dtype=int)
    missed, false = find_errors(one, predicted_labels("multi_class", values))
    assert missed.sum(axis=1).tolist() == [0, 0, 1]  # in the first row, the first of two equal ones
    assert false[2].tolist() == [True, False, False]
    found = per_class("multi_label", labels, values, ["a", "b", "c"])
    rates = {name: (miss_rate(own), false_rate(own)) for name, own in found.items()}
    assert rates == {"a": (0.5, 1.0), "b": (0.0, 0.5), "c": (None, 0.0)}
    assert [name for name, _ in order_by_errors(found)] == ["a", "b", "c"]
