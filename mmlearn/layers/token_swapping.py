"""Putting words of other texts into a text."""

from keras import ops

RATE = 0.3


def swap_tokens(token_ids, can_swap, draws, rate=RATE):
    """Replaces some tokens by tokens of the batch, drawn as often as they come; a pure function.

    Args:
        token_ids: int tensor `(batch_size, sequence_length)`.
        can_swap: bool tensor `(batch_size, sequence_length)`, which tokens take part.
        draws: float tensor `(batch_size, sequence_length, 2)`, uniform in [0, 1): what decides whether a
            token is replaced, and by which one.
        rate: float in [0, 1]. Share of the tokens that are replaced.

    Returns:
        The new token ids, and a bool tensor of the same shape, `True` where they differ.

    Example:

    >>> import numpy as np
    >>> ids, draws = np.array([[2, 7, 8, 3]]), np.zeros((1, 4, 2))
    >>> new, is_swapped = swap_tokens(ids, ids > 3, draws, rate=1.0)
    >>> np.asarray(new).tolist(), np.asarray(is_swapped).tolist()
    ([[2, 7, 7, 3]], [[False, False, True, False]])
    """
    # Of the tokens that take part, the one whose number was drawn.
    numbers = ops.cumsum(ops.cast(ops.reshape(can_swap, (-1,)), "int32"))
    drawn = ops.cast(ops.floor(draws[..., 1] * ops.cast(numbers[-1], draws.dtype)), "int32")
    places = ops.searchsorted(numbers, ops.reshape(drawn, (-1,)), side="right")
    places = ops.minimum(places, ops.shape(numbers)[0] - 1)  # where none takes part
    others = ops.reshape(ops.take(ops.reshape(token_ids, (-1,)), places), ops.shape(token_ids))
    is_chosen = ops.logical_and(can_swap, draws[..., 0] < rate)
    new = ops.where(is_chosen, others, token_ids)
    return new, ops.not_equal(new, token_ids)
