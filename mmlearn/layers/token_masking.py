"""Hiding some tokens of a text, for a model to guess them."""

import keras
from keras import ops

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1  # of the chosen tokens; the rest stays as it is


def num_masked(sequence_length, rate):
    """The most tokens that are chosen in a text of so many, the two special ones not counted."""
    return max(1, round(rate * (sequence_length - 2)))


def mask_tokens(token_ids, can_mask, draws, mask_token_id, vocabulary_size, rate=0.15):
    """Chooses tokens at random and hides them; a pure function of its arguments.

    Of each text the share `rate` is chosen, at least one token. Of the chosen ones, 80 % become the
    mask token, 10 % any token, and 10 % stay.

    Args:
        token_ids: int tensor `(batch_size, sequence_length)`.
        can_mask: bool tensor `(batch_size, sequence_length)`, which tokens may be chosen.
        draws: float tensor `(batch_size, sequence_length, 3)`, uniform in [0, 1): what decides on the
            choice, on the kind of replacement, and on the token.
        mask_token_id: int.
        vocabulary_size: int.
        rate: float in (0, 1).

    Returns:
        The new token ids `(batch_size, sequence_length)`; the int places of the chosen tokens
        `(batch_size, num_masked)`; and a bool tensor of that shape, `False` where a text has fewer.

    Reference:
        Devlin et al. 2019, "BERT", section 3.1, task 1.
    """
    most = num_masked(token_ids.shape[1], rate)
    there = ops.sum(ops.cast(can_mask, "float32"), axis=1, keepdims=True)
    wanted = ops.minimum(ops.maximum(ops.round(rate * there), 1.0), ops.minimum(there, most))
    wanted = ops.cast(wanted, "int32")
    order = ops.argsort(ops.where(can_mask, draws[..., 0], 2.0), axis=1)
    is_chosen = ops.cast(ops.argsort(order, axis=1), "int32") < wanted
    kind = draws[..., 1]
    any_token = ops.cast(draws[..., 2] * vocabulary_size, token_ids.dtype)
    new = ops.where(kind < MASK_SHARE + RANDOM_SHARE, any_token, token_ids)
    new = ops.where(kind < MASK_SHARE, ops.cast(mask_token_id, token_ids.dtype), new)
    places = ops.cast(order[:, :most], "int32")
    return ops.where(is_chosen, new, token_ids), places, ops.arange(most)[None, :] < wanted


@keras.saving.register_keras_serializable(package="mmlearn")
class TokenMasking(keras.layers.Layer):
    """Hides tokens of texts; what is drawn is an input, so that it can be drawn again.

    Args:
        mask_token_id: int.
        vocabulary_size: int.
        special_token_ids: ints, the tokens that are never chosen.
        rate: float in (0, 1). Share of the tokens that is chosen.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        token_ids: int tensor `(batch_size, sequence_length)`.
        draws: float tensor `(batch_size, sequence_length, 3)`, uniform in [0, 1).

    Returns:
        See `mask_tokens`.
    """

    def __init__(self, mask_token_id, vocabulary_size, special_token_ids, rate=0.15, **kwargs):
        super().__init__(**kwargs)
        if not 0 < rate < 1:
            raise ValueError(f"`rate` must be in (0, 1). Received: rate={rate}.")
        self.mask_token_id = mask_token_id
        self.vocabulary_size = vocabulary_size
        self.special_token_ids = tuple(special_token_ids)
        self.rate = rate

    def call(self, token_ids, draws):
        can_mask = ops.ones_like(token_ids, dtype="bool")
        for special in self.special_token_ids:
            can_mask = ops.logical_and(can_mask, token_ids != special)
        arguments = (self.mask_token_id, self.vocabulary_size, self.rate)
        return mask_tokens(token_ids, can_mask, draws, *arguments)

    def get_config(self):
        return {
            **super().get_config(),
            "mask_token_id": self.mask_token_id,
            "vocabulary_size": self.vocabulary_size,
            "special_token_ids": self.special_token_ids,
            "rate": self.rate,
        }
