"""Which metrics are those of which head."""

from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.evaluation.multiclass import multiclass_metrics
from mmlearn.evaluation.regression import regression_metrics
from mmlearn.evaluation.weighted import (
    weighted_map,
    weighted_multiclass,
    weighted_multilabel,
    weighted_regression,
)

MAIN = {"multi_label": "mAP", "multi_class": "top_1_accuracy", "regression": "R2"}
WEIGHTED = {
    "multi_label": weighted_multilabel,
    "multi_class": weighted_multiclass,
    "regression": weighted_regression,
}
BASELINES = ("nothing", "most_frequent", "prior", "mean", "keywords")


def score(kind, labels, predictions, threshold=None):
    """Scores the predictions of a head.

    Args:
        kind: str, of the head: `"multi_label"`, `"multi_class"` or `"regression"`.
        labels: array `(num_examples, num_columns)`.
        predictions: float array of the same shape.
        threshold: float, or `(num_columns,)`, or `None` for 0.5. Only of several labels.

    Returns:
        A dict, see `multilabel_metrics`, `multiclass_metrics` and `regression_metrics`.
    """
    if kind == "regression":
        return regression_metrics(labels, predictions)
    if kind == "multi_class":
        return multiclass_metrics(labels.astype(int), predictions)
    return multilabel_metrics(
        labels.astype(int), predictions, 0.5 if threshold is None else threshold
    )


def score_name(kind):
    """What `weighted_score` is called: `"mAP"`, or of numbers `"R2"`."""
    return "R2" if kind == "regression" else "mAP"


def weighted_score(kind, labels, predictions, weights):
    """One score for any kind of head that needs no threshold, under many weightings of the examples.

    Args:
        kind: str, of the head.
        labels: array `(num_examples, num_columns)`; of classes -1 is unknown and does not count.
        predictions: float array of the same shape.
        weights: float array `(num_examples, num_weightings)`.

    Returns:
        float array `(num_weightings,)`; NaN without any positive, or target that changes.

    Example:

    >>> import numpy as np
    >>> labels, values = np.array([[1], [0], [1]]), np.array([[0.9], [0.8], [0.7]])
    >>> weighted_score("multi_label", labels, values, np.array([[1, 2], [1, 0], [1, 1]])).round(4).tolist()
    [0.8333, 1.0]
    """
    if kind == "regression":
        return weighted_regression(labels, predictions, weights)["R2"]
    return weighted_map(labels, predictions, weights)


def kind_of_metrics(metrics):
    """The kind of the one head that metrics are of, told by its baseline.

    Args:
        metrics: dict of row to dict, as `evaluate` returns.
    """
    kinds = {"mean": "regression", "most_frequent": "multi_class"}
    return next((kind for row, kind in kinds.items() if row in metrics), "multi_label")
