"""The mean of the real tokens of a sequence."""

from keras import ops


def masked_mean(features, mask):
    """Averages over the tokens whose mask is `True`; zeros where there is none.

    Args:
        features: float tensor `(batch_size, length, dim)`.
        mask: bool tensor `(batch_size, length)`.

    Returns:
        float tensor `(batch_size, dim)`.

    Example:

    >>> import numpy as np
    >>> np.asarray(masked_mean(np.array([[[1.0], [5.0]]]), np.array([[True, False]]))).tolist()
    [[1.0]]
    """
    mask = ops.cast(mask, features.dtype)[..., None]
    return ops.sum(features * mask, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1)
