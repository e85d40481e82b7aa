"""The main metrics under many weightings of the examples at once, for resampling.

An example that is drawn twice counts twice, so a resample is a vector of weights, and nothing is
sorted anew. Everything equals scikit-learn's metrics with `sample_weight`.
"""

import numpy as np
from scipy import sparse

from mmlearn.evaluation.confusion import multiclass_predictions


def weighted_average_precision(labels, scores, weights):
    """Average precision of one class.

    Args:
        labels: bool array `(num_examples,)`.
        scores: float array of the same shape.
        weights: float array `(num_examples, num_weightings)`.

    Returns:
        float array `(num_weightings,)`; NaN where no positive has a weight.

    Example:

    >>> labels, scores = np.array([True, False, True]), np.array([0.9, 0.8, 0.3])
    >>> weighted_average_precision(labels, scores, np.array([[1, 2], [1, 0], [1, 1]])).round(4).tolist()
    [0.8333, 1.0]
    """
    order = np.argsort(-scores, kind="stable")
    is_true, ranked = labels[order], scores[order]
    if not is_true.any():
        return np.full(weights.shape[1], np.nan)
    # Precision matters at equal scores that hold a positive alone: a segment ends with each of them.
    tied = np.cumsum(np.r_[True, np.diff(ranked) != 0]) - 1
    ends = np.unique(tied[is_true])
    segments = np.searchsorted(ends, tied)
    last = segments == len(ends)  # negatives behind the last positive
    segments, order, is_true = segments[~last], order[~last], is_true[~last]

    def totals(chosen):
        ones = np.ones(int(chosen.sum()))
        shape = (len(ends), len(weights))
        return sparse.csr_array((ones, (segments[chosen], order[chosen])), shape) @ weights

    hits = totals(is_true)
    found = np.cumsum(hits + totals(~is_true), axis=0)
    positives = hits.sum(axis=0)
    precision = np.cumsum(hits, axis=0) / np.where(found > 0, found, 1)
    with np.errstate(invalid="ignore"):
        return (hits * precision).sum(axis=0) / positives


def weighted_map(labels, probabilities, weights):
    """Mean average precision over the classes that have a positive: `(num_weightings,)`.

    Args:
        labels: int or bool array `(num_examples, num_classes)`; -1 is unknown and does not count.
        probabilities: float array of the same shape.
        weights: float array `(num_examples, num_weightings)`.
    """
    known, is_true = labels >= 0, labels > 0
    classes = np.flatnonzero(is_true.any(0))
    found = np.empty((len(classes), weights.shape[1]))
    for place, c in enumerate(classes):
        rows = known[:, c]
        own = weights if rows.all() else weights[rows]
        found[place] = weighted_average_precision(is_true[rows, c], probabilities[rows, c], own)
    return _mean_of_known(found)


def weighted_multilabel(labels, probabilities, weights, threshold=0.5):
    """The main metrics of `multilabel_metrics`: a dict of name to `(num_weightings,)`.

    Args:
        labels: int array `(num_examples, num_classes)`; -1 is unknown and does not count.
        probabilities: float array of the same shape.
        weights: float array `(num_examples, num_weightings)`.
        threshold: float, or `(num_classes,)`.
    """
    known, is_true = labels >= 0, labels > 0
    predicted = (probabilities >= threshold) & known
    return {
        "mAP": weighted_map(labels, probabilities, weights),
        **_f1(is_true, predicted, weights),
    }


def weighted_multiclass(labels, probabilities, weights, threshold=None):
    """The main metrics of `multiclass_metrics`, likewise; a threshold changes nothing."""
    is_true = labels > 0
    rows = is_true.any(1)
    is_true, probabilities, weights = is_true[rows], probabilities[rows], weights[rows]
    predicted = multiclass_predictions(probabilities)
    f1 = _f1(is_true, predicted, weights)
    return {
        "top_1_accuracy": f1["micro_F1"],  # the same where one class is true and one predicted
        "macro_F1": f1["macro_F1"],
        "mAP": weighted_map(is_true, probabilities, weights),
    }


def weighted_regression(targets, values, weights, threshold=None):
    """The metrics of `regression_metrics`, likewise; a threshold changes nothing."""
    errors = np.asarray(values, np.float64) - targets
    total = weights.sum(axis=0)
    squared = (errors**2).T @ weights  # (num_targets, num_weightings)
    # Around the mean of all, so that no digits are lost.
    apart = np.asarray(targets, np.float64) - np.mean(targets, axis=0)
    size = (apart**2).T @ weights
    spread = size - (apart.T @ weights) ** 2 / total
    # A target that changes may still be the same all over a resample.
    changes = spread > 1e-12 * size
    explained = np.where(changes, 1 - squared / np.where(changes, spread, 1), np.nan)
    return {
        "MAE": (np.abs(errors).T @ weights / total).mean(axis=0),
        "RMSE": np.sqrt(squared / total).mean(axis=0),
        "R2": _mean_of_known(explained),
    }


def _f1(is_true, predicted, weights):
    hits, true, found = (
        each.T.astype(np.float64) @ weights for each in (is_true & predicted, is_true, predicted)
    )
    either = true + found
    own = np.where(true > 0, 2 * hits / np.where(either > 0, either, 1), np.nan)
    total = either.sum(axis=0)
    micro = 2 * hits.sum(axis=0) / np.where(total > 0, total, 1)
    return {"macro_F1": _mean_of_known(own), "micro_F1": np.where(total > 0, micro, np.nan)}


def _mean_of_known(values):
    """The mean over the first axis without NaN; NaN where there is nothing else."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
