"""Label statistics, class weights and oversampling: what to do about rare classes."""

import numpy as np
from scipy import sparse

from data_prep.errors import DataError


def label_counts(labels):
    """How often each class is a label.

    Args:
        labels: array or sparse array `(num_examples, num_classes)`; soft targets count in part, and
            -1, which is unknown, not at all.

    Returns:
        float64 `(num_classes,)`.
    """
    return np.asarray(_known(labels).sum(axis=0), np.float64).ravel()


def label_shares(labels):
    """The share of the examples that have each label, of those where it is known.

    Args:
        labels: array or sparse array `(num_examples, num_classes)`; soft targets count in part, and
            -1, which is unknown, not at all.

    Returns:
        float64 `(num_classes,)`; 0 for a class that is never known.

    Example:

    >>> label_shares(np.array([[1, -1], [0, -1]])).tolist()
    [0.5, 0.0]
    """
    return label_counts(labels) / np.maximum(_num_known(labels), 1)


def class_weights(labels):
    """Balanced weights: N / (C n_c) for a class with n_c of N labels, C classes that occur.

    Args:
        labels: array or sparse array `(num_examples, num_classes)`.

    Returns:
        float64 `(num_classes,)`; 0 for a class that does not occur. The mean weight over all
        labels is 1.

    Example:

    >>> class_weights(np.array([[1, 0], [1, 0], [1, 0], [0, 1]])).round(3).tolist()
    [0.667, 2.0]
    """
    counts = label_counts(labels)
    present = counts > 0
    weights = np.zeros_like(counts)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def example_weights(labels, weights):
    """One weight per example: the mean weight of its labels, scaled to a mean of 1.

    Args:
        labels: array or sparse array `(num_examples, num_classes)`.
        weights: float array `(num_classes,)`, such as `class_weights` returns.

    Returns:
        float32 `(num_examples,)`. An example without labels has the weight 1 before the scaling.
    """
    weights = np.asarray(weights, np.float64)
    if weights.shape != (labels.shape[1],) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise DataError(
            f"There must be one weight from 0 for each of {labels.shape[1]} classes. Received: "
            f"{weights.tolist()}. Fix: pass 'balanced', or as many numbers as there are labels."
        )
    labels = _known(labels)
    totals = np.asarray(labels.sum(axis=1), np.float64).ravel()
    means = np.asarray(labels @ weights, np.float64).ravel() / np.maximum(totals, 1e-12)
    means = np.where(totals > 0, means, 1.0)
    return (means / max(means.mean(), 1e-12)).astype(np.float32)


def _known(labels):
    """The labels, 0 where one is not known. Sparse ones are known: what is left out of them is 0."""
    return labels if sparse.issparse(labels) else np.maximum(labels, 0)


def _num_known(labels):
    return labels.shape[0] if sparse.issparse(labels) else (labels >= 0).sum(axis=0)


def oversampled_rows(labels, threshold):
    """The rows of an epoch in which examples of rare classes come more than once.

    The repeat factor of class c, which has the share f_c of the examples where it is known, is
    max(1, sqrt(threshold / f_c)), that of an example the largest of its labels, rounded.

    Args:
        labels: array or sparse array `(num_examples, num_classes)`.
        threshold: float in (0, 1]. The share of examples below which a class is rare.

    Returns:
        int64 array: every row at least once, in order.

    Reference:
        Gupta, Dollar and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation",
        2019, section 5.1 (repeat factor sampling).

    Example:

    >>> oversampled_rows(np.array([[1, 0], [1, 0], [1, 0], [0, 1]]), threshold=1.0).tolist()
    [0, 1, 2, 3, 3]
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"`oversample` must be a share in (0, 1]. Received: {threshold}.")
    is_label = sparse.csr_array(labels) > 0
    shares = np.asarray(is_label.sum(axis=0)).ravel() / np.maximum(_num_known(labels), 1)
    factors = np.sqrt(threshold / np.maximum(shares, 1e-12))
    largest = np.asarray((is_label * factors[None, :]).max(axis=1).todense()).ravel()
    counts = np.rint(np.maximum(largest, 1.0)).astype(np.int64)
    return np.repeat(np.arange(labels.shape[0]), counts)
