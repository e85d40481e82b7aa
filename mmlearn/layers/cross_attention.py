"""Multi-head attention of one modality's tokens to another's."""

import keras
from keras import ops


def cross_attention(query, key, value, mask=None, dropout=None):
    """Scaled dot-product attention that survives rows with nothing to attend to.

    Args:
        query: float tensor `(batch_size, num_heads, query_length, head_dim)`.
        key: float tensor `(batch_size, num_heads, key_length, head_dim)`.
        value: float tensor `(batch_size, num_heads, key_length, value_dim)`.
        mask: bool tensor `(batch_size, key_length)`, `True` where a key is real, or `None`.
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
        scores = ops.softmax(logits, axis=-1)
    else:
        mask = ops.cast(mask[:, None, None, :], logits.dtype)
        # Subtracting a big number, not -inf, keeps fully masked rows finite; the product with the
        # mask makes them, and all masked keys, exactly zero.
        scores = ops.softmax(logits - (1.0 - mask) * 1e4, axis=-1) * mask
        total = ops.sum(scores, axis=-1, keepdims=True)
        scores = scores / ops.where(total > 0, total, ops.ones_like(total))
    weights = scores if dropout is None else dropout(scores)
    return ops.matmul(weights, value), scores


@keras.saving.register_keras_serializable(package="mmlearn")
class CrossAttention(keras.layers.Layer):
    """Lets each token of one modality gather what it needs from the tokens of another.

    Queries, keys and values are projected by layers of this layer's own, so that quantization and
    reloading work, unlike in `keras.layers.MultiHeadAttention`.

    Args:
        hidden_dim: int. Size of queries, keys, values and outputs; divisible by `num_heads`.
        num_heads: int.
        dropout: float in [0, 1). Dropout rate of the attention scores.
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
        ValueError: when `hidden_dim` is not divisible by `num_heads`.

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

    def __init__(self, hidden_dim, num_heads=8, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        if hidden_dim % num_heads:
            raise ValueError(
                "`hidden_dim` must be divisible by `num_heads`. "
                f"Received: hidden_dim={hidden_dim}, num_heads={num_heads}."
            )
        # === Layers ===
        self.query_dense = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy, name="query")
        self.key_dense = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy, name="key")
        self.value_dense = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy, name="value")
        self.output_dense = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy, name="output")
        self.dropout_layer = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

        # === Config ===
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.dropout = dropout

    def build(self, query_shape, value_shape, mask_shape=None):
        self.query_dense.build(query_shape)
        self.key_dense.build(value_shape)
        self.value_dense.build(value_shape)
        self.output_dense.build((*query_shape[:-1], self.hidden_dim))

    def call(self, query, value, mask=None, training=None):
        attended, scores = cross_attention(
            self._split_heads(self.query_dense(query)),
            self._split_heads(self.key_dense(value)),
            self._split_heads(self.value_dense(value)),
            mask,
            lambda scores: self.dropout_layer(scores, training=training),
        )
        attended = ops.transpose(attended, (0, 2, 1, 3))
        attended = ops.reshape(attended, (-1, query.shape[1], self.hidden_dim))
        return self.output_dense(attended), scores

    def _split_heads(self, x):
        x = ops.reshape(x, (-1, x.shape[1], self.num_heads, self.hidden_dim // self.num_heads))
        return ops.transpose(x, (0, 2, 1, 3))

    def get_config(self):
        config = super().get_config()
        config.update(
            {"hidden_dim": self.hidden_dim, "num_heads": self.num_heads, "dropout": self.dropout}
        )
        return config
