"""When a first, cheaper answer is enough: confidence, and thresholds of it. Pure functions over arrays."""

import numpy as np

from mmlearn.evaluation.scores import MAIN, score

CANDIDATES = 101  # thresholds that are tried, at equal shares of the examples


def confidence(kind, probabilities):
    """How sure a classifier is of its answer.

    Args:
        kind: `"multi_label"` or `"multi_class"`.
        probabilities: float array `(num_examples, num_classes)`.

    Returns:
        float array `(num_examples,)`: the probability of the likeliest class; of several labels, that
        all of the answers are right, were these independent.

    Raises:
        ValueError: when the head predicts numbers, of which it does not say how sure it is.

    Example:

    >>> confidence("multi_label", np.array([[0.9, 0.5], [1.0, 0.1]])).tolist()
    [0.45, 0.9]
    """
    if kind == "regression":
        raise ValueError(
            "A cascade stops where the first answer is sure, and a regressor does not say how sure it is. "
            "Fix: a classifier."
        )
    if kind == "multi_class":
        return probabilities.max(axis=1)
    return np.maximum(probabilities, 1 - probabilities).prod(axis=1)


def threshold_curve(kind, labels, first, full, sure):
    """The main metric of a cascade at thresholds of confidence.

    Args:
        kind: str, of the head.
        labels: int array `(num_examples, num_classes)`.
        first: float array of the same shape, the first answers.
        full: likewise, those of the full model.
        sure: float array `(num_examples,)`, the confidence of the first answers.

    Returns:
        Thresholds, rising, float array `(num_thresholds,)`, and the metric at each; the last threshold is
        infinity, at which everything is the full model's.

    Example:

    >>> labels, sure = np.array([[1], [0], [1], [0]]), np.array([0.9, 0.8, 0.6, 0.6])
    >>> first, full = np.array([[0.9], [0.2], [0.4], [0.6]]), np.array([[0.9], [0.1], [0.8], [0.2]])
    >>> thresholds, scores = threshold_curve("multi_label", labels, first, full, sure)
    >>> thresholds.tolist(), scores.round(3).tolist()
    ([0.6, 0.8, 0.9, inf], [0.833, 1.0, 1.0, 1.0])
    """
    shares = np.linspace(0, 1, CANDIDATES)
    thresholds = np.append(np.unique(np.quantile(sure, shares, method="nearest")), np.inf)
    scores = [
        score(kind, labels, np.where((sure >= threshold)[:, None], first, full))[MAIN[kind]]
        for threshold in thresholds
    ]
    return thresholds, np.array(scores)


def choose_threshold(thresholds, scores, tolerance):
    """Chooses the threshold that answers most examples early.

    Args:
        thresholds: float array, rising, see `threshold_curve`.
        scores: float array of the same shape.
        tolerance: float. How much lower the metric may be than at the last threshold.

    Returns:
        float, the lowest one that keeps that.

    Example:

    >>> choose_threshold(np.array([0.6, 0.8, np.inf]), np.array([0.83, 0.97, 0.98]), 0.02)
    0.8
    """
    is_kept = scores >= scores[-1] - tolerance - 1e-12
    return float(thresholds[np.argmax(is_kept)])
