"""The largest values of the real tokens of a sequence."""

from keras import ops

_LOWEST = -1e4  # below all features, and a number in 16 bits


def masked_max(features, mask):
    """Takes the maximum of each channel over the tokens whose mask is `True`; zeros where there is none.

    Args:
        features: float tensor `(batch_size, length, dim)`.
        mask: bool tensor `(batch_size, length)`.

    Returns:
        float tensor `(batch_size, dim)`.

    Example:

    >>> import numpy as np
    >>> np.asarray(masked_max(np.array([[[1.0], [5.0]]]), np.array([[True, False]]))).tolist()
    [[1.0]]
    """
    largest = ops.max(ops.where(mask[..., None], features, _LOWEST), axis=1)
    return ops.where(ops.any(mask, axis=1)[:, None], largest, 0.0)
