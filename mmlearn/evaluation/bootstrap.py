"""Paired bootstrap intervals of differences between two models on the same examples."""

import numpy as np

from mmlearn.evaluation.classification import per_class_average_precision


def paired_map_interval(labels, first, second, num_resamples=500, confidence=0.95, seed=0):
    """How much higher the mAP of one set of predictions is than that of another.

    Examples are resampled with replacement, the same ones for both.

    Args:
        labels: int array `(num_examples, num_classes)`.
        first: float array of the same shape, probabilities.
        second: likewise.
        num_resamples: int.
        confidence: float in (0, 1).
        seed: int.

    Returns:
        A dict of floats: `difference` (first minus second, all examples), `low`, `high`.

    Reference:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3 (percentile).
    """

    def difference(rows):
        return np.nanmean(
            per_class_average_precision(labels[rows], first[rows])
            - per_class_average_precision(labels[rows], second[rows])
        )

    random = np.random.default_rng(seed)
    count = len(labels)
    draws = [difference(random.integers(0, count, count)) for _ in range(num_resamples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return {
        "difference": float(difference(np.arange(count))),
        "low": float(low),
        "high": float(high),
    }
