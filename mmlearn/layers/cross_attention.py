"""Multi-head attention of one modality's tokens to another's."""

import keras
from keras import ops

from mmlearn.layers.attention_projections import AttentionProjections


def cross_attention(query, key, value, mask=None, dropout=None):
    """Scaled dot-product attention that survives rows with nothing to attend to.

    Args:
        query: float tensor `(batch_size, num_heads, query_length, head_dim)`.
        key: float tensor `(batch_size, num_heads, key_length, head_dim)`.
        value: float tensor `(batch_size, num_heads, key_length, value_dim)`.
        mask: bool tensor `(batch_size, key_length)`, `True` where a key is real, or one
            `(batch_size, query_length, key_length)`, `True` where a query may attend to a key; or `None`.
        dropout: callable applied to the scores before they weigh the values, or `None`.

    Returns:
        attended: `(batch_size, num_heads, query_length, value_dim)`.
        scores: `(batch_size, num_heads, query_length, key_length)`. Each row sums to 1 and is
            exactly 0 at masked keys; where every key is masked, the row is all 0.

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, equation 1.
    """
    logits = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
    logits = logits / float(query.shape[-1]) ** 0.5
    if mask is None:
        scores = _softmax(logits)
    else:
        mask = ops.cast(mask, logits.dtype)
        mask = mask[:, None, None, :] if len(mask.shape) == 2 else mask[:, None, :, :]
        # Subtracting a big number, not -inf, keeps fully masked rows finite; the product with the
        # mask makes them, and all masked keys, exactly zero.
        scores = _softmax(logits - (1.0 - mask) * 1e4) * mask
        total = ops.sum(scores, axis=-1, keepdims=True)
        scores = scores / ops.where(total > 0, total, ops.ones_like(total))
    weights = scores if dropout is None else dropout(scores)
    return ops.matmul(weights, value), scores


def check_grounded_heads(grounded_heads, num_heads):
    """Raises a `ValueError` unless `grounded_heads` is one of 0, ..., `num_heads`."""
    if not 0 <= grounded_heads <= num_heads:
        raise ValueError(
            f"`grounded_heads` must be in [0, num_heads]. Received: grounded_heads={grounded_heads}, "
            f"num_heads={num_heads}."
        )


def _softmax(logits):
    # Over one key it is 1 whatever the logit: Keras warns then, and a constant would have no gradient.
    return 1.0 + 0.0 * logits if logits.shape[-1] == 1 else ops.softmax(logits, axis=-1)


@keras.saving.register_keras_serializable(package="mmlearn")
class CrossAttention(AttentionProjections):
    """Lets each token of one modality gather what it needs from the tokens of another.

    Args:
        hidden_dim: int. Size of queries, keys, values and outputs; divisible by `num_heads`.
        num_heads: int.
        dropout: float in [0, 1). Dropout rate of the attention scores.
        grounded_heads: int. The first so many heads have scores that learn from nothing but a loss of
            their own (see `mmlearn.losses.grounding`): what comes out trains only what they gather.
        head_dim: int or `None`, see `AttentionProjections`.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        query: float tensor `(batch_size, query_length, query_dim)`.
        value: float tensor `(batch_size, key_length, value_dim)`, keys as well as values.
        mask: bool tensor `(batch_size, key_length)` over the keys, or `None`.
        training: bool.

    Returns:
        attended: `(batch_size, query_length, hidden_dim)`.
        attention_scores: `(batch_size, num_heads, query_length, key_length)`; rows sum to 1, and
            masked keys are exactly 0.

    Raises:
        ValueError: when `hidden_dim` is not divisible by `num_heads`, or `grounded_heads` is not in
            [0, `num_heads`].

    Example:

    >>> import numpy as np
    >>> words, regions = np.ones((1, 5, 8)), np.ones((1, 9, 8))
    >>> attended, attention_scores = CrossAttention(hidden_dim=8, num_heads=2)(words, regions)
    >>> tuple(attended.shape), tuple(attention_scores.shape)
    ((1, 5, 8), (1, 2, 5, 9))

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2; used across modalities as
        in Lu et al., "ViLBERT", 2019, section 2.2.
    """

    def __init__(
        self, hidden_dim, num_heads=8, dropout=0.0, grounded_heads=0, head_dim=None, **kwargs
    ):
        super().__init__(hidden_dim, num_heads, head_dim, **kwargs)
        check_grounded_heads(grounded_heads, num_heads)
        self.dropout, self.grounded_heads = dropout, grounded_heads
        self.dropout_layer = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def call(self, query, value, mask=None, training=None):
        query, key, value = self.project(query, value)
        if count := self.grounded_heads:
            query, key = (
                ops.concatenate([ops.stop_gradient(x[:, :count]), x[:, count:]], axis=1)
                for x in (query, key)
            )
        attended, scores = cross_attention(
            query,
            key,
            value,
            mask,
            lambda scores: self.dropout_layer(scores, training=training),
        )
        return self.join_heads(attended), scores

    def get_config(self):
        config = super().get_config()
        config.update({"dropout": self.dropout, "grounded_heads": self.grounded_heads})
        return config
