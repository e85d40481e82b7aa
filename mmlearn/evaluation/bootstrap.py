"""Paired bootstrap intervals of differences between two models on the same examples."""

import numpy as np

from mmlearn.evaluation.classification import per_class_average_precision


def paired_map_interval(labels, first, second, num_resamples=500, confidence=0.95, seed=0):
    """How much higher the mAP of one set of predictions is than that of another.

    Examples are resampled with replacement, the same ones for both. A resample in which no class
    has a positive says nothing and is left out.

    Args:
        labels: int array `(num_examples, num_classes)`; -1 is unknown and does not count.
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
        own = labels[rows]
        counted = (own > 0).any(axis=0)
        if not counted.any():
            return np.nan
        apart = [per_class_average_precision(own, scores[rows]) for scores in (first, second)]
        return np.mean((apart[0] - apart[1])[counted])

    random = np.random.default_rng(seed)
    count = len(labels)
    draws = [difference(random.integers(0, count, count)) for _ in range(num_resamples)]
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return {
        "difference": float(difference(np.arange(count))),
        "low": float(low),
        "high": float(high),
    }
