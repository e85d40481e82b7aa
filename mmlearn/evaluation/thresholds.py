"""From which probability on a label is predicted: pure functions over arrays."""

import numpy as np

FEWEST = 5  # positives that a threshold of a class's own is tuned on


def tune_thresholds(labels, probabilities, per_class=True):
    """Finds the thresholds with the highest F1.

    They fit the examples they are tuned on better than any others: report F1 on others, see
    `mmlearn.evaluation.calibrate.cross_fit`.

    Args:
        labels: int array `(num_examples, num_classes)`, 0 or 1; or -1, which is unknown and does not
            count.
        probabilities: float array of the same shape.
        per_class: bool. Whether each class gets its own, with the highest F1 of that class; else all get
            one, with the highest micro F1. A class with fewer than 5 positives takes the one of all.

    Returns:
        float array `(num_classes,)`, each half way between two probabilities that occur.

    Raises:
        ValueError: when no label is true.

    Reference:
        Lipton, Elkan and Naryanaswamy 2014, "Optimal thresholding of classifiers to maximize F1
        measure", section 2.

    Example:

    >>> labels, probabilities = np.array([[1], [1], [0]]), np.array([[0.4], [0.3], [0.1]])
    >>> tune_thresholds(labels, probabilities).round(6).tolist()
    [0.2]
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    known, is_true = labels >= 0, labels > 0
    if not is_true.any():
        raise ValueError("No label is true, so there is nothing to tune thresholds on.")
    found = np.full(labels.shape[1], _best(is_true[known], probabilities[known]))
    for c in np.flatnonzero(is_true.sum(0) >= FEWEST) if per_class else ():
        found[c] = _best(is_true[known[:, c], c], probabilities[known[:, c], c])
    return found


def _best(is_true, scores):
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(is_true[order])
    # Equal scores are predicted together: a threshold is possible behind the last of them.
    ends = np.flatnonzero(np.r_[np.diff(ranked) != 0, True])
    f1 = 2 * hits[ends] / (ends + 1 + hits[-1])
    best = ends[f1.argmax()]
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return (ranked[best] + below) / 2
