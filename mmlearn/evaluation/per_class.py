"""The metrics of each class, or of each target."""

import numpy as np

from mmlearn.evaluation.classification import per_class_auc, per_class_average_precision
from mmlearn.evaluation.confusion import per_class_confusion, predicted_labels
from mmlearn.evaluation.regression import regression_metrics


def per_class(kind, labels, predictions, label_names, threshold=None):
    """Scores each class of a head.

    Args:
        kind: str, of the head: `"multi_label"`, `"multi_class"` or `"regression"`.
        labels: array `(num_examples, num_columns)`; of classes -1 is unknown and does not count.
        predictions: float array of the same shape.
        label_names: list of str, the columns.
        threshold: float, or `(num_columns,)`; by default 0.5. Only of several labels.

    Returns:
        A dict of name to dict: of a class `average_precision`, `AUC`, `precision`, `recall`, `F1`, and
        the counts `true_positives`, `false_positives`, `false_negatives`, `true_negatives`; of a
        target `MAE`, `RMSE` and `R2`. `None` is what is not defined: without a positive, or
        a prediction.

    Example:

    >>> found = per_class("multi_label", np.array([[1], [0]]), np.array([[0.9], [0.7]]), ["dog"])
    >>> found["dog"]["precision"], found["dog"]["recall"], found["dog"]["false_positives"]
    (0.5, 1.0, 1)
    """
    if kind == "regression":
        found = {}
        for column, name in enumerate(label_names):
            own = slice(column, column + 1)
            scores = regression_metrics(labels[:, own], predictions[:, own])
            found[name] = {m: _plain(scores[m]) for m in ("MAE", "RMSE", "R2")}
        return found
    labels, predictions = np.asarray(labels), np.asarray(predictions, np.float64)
    if kind == "multi_class":
        rows = (labels > 0).any(1)
        labels, predictions = (labels[rows] > 0).astype(int), predictions[rows]
    predicted = predicted_labels(kind, predictions, threshold)
    average_precisions = per_class_average_precision(labels, predictions)
    aucs = per_class_auc(labels, predictions)
    found = {}
    for c, ((negatives, false), (missed, hits)) in enumerate(
        per_class_confusion(labels, predicted)
    ):
        found[label_names[c]] = {
            "average_precision": _plain(average_precisions[c]),
            "AUC": _plain(aucs[c]),
            "precision": _ratio(hits, hits + false),
            "recall": _ratio(hits, hits + missed),
            "F1": _ratio(2 * hits, 2 * hits + false + missed) if hits + missed else None,
            "true_positives": int(hits),
            "false_positives": int(false),
            "false_negatives": int(missed),
            "true_negatives": int(negatives),
        }
    return found


def order_by_errors(classes):
    """The classes with the most errors first: a list of `(name, dict)`.

    Args:
        classes: dict, as `per_class` returns.
    """
    return sorted(
        classes.items(),
        key=lambda each: -(each[1]["false_negatives"] + each[1]["false_positives"]),
    )


def miss_rate(own):
    """The share of the true ones of a class that are missed; `None` where there are none.

    Args:
        own: dict of a class, as `per_class` returns.
    """
    true = own["true_positives"] + own["false_negatives"]
    return own["false_negatives"] / true if true else None


def false_rate(own):
    """The share of the others that are wrongly found as a class, likewise."""
    others = own["true_negatives"] + own["false_positives"]
    return own["false_positives"] / others if others else None


def _plain(value):
    return None if np.isnan(value) else float(value)


def _ratio(part, whole):
    return float(part / whole) if whole else None
