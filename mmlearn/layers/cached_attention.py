"""Multi-head attention whose keys and values are made apart, so that they can be kept."""

import keras
from keras import ops

from mmlearn.layers.attention_projections import AttentionProjections
from mmlearn.layers.cross_attention import cross_attention


def causal_mask(query_length, key_length, start=0):
    """Which positions each one may look at: itself and those before it.

    Args:
        query_length: int.
        key_length: int.
        start: int, or scalar int tensor. The position of the first query.

    Returns:
        bool tensor `(1, query_length, key_length)`.

    Example:

    >>> keras.ops.convert_to_numpy(causal_mask(2, 4, start=1)).astype(int).tolist()
    [[[1, 1, 0, 0], [1, 1, 1, 0]]]
    """
    queries = ops.arange(query_length, dtype="int32") + start
    keys = ops.arange(key_length, dtype="int32")
    return (keys[None, :] <= queries[:, None])[None]


@keras.saving.register_keras_serializable(package="mmlearn")
class CachedAttention(AttentionProjections):
    """Attention to keys and values that are there already.

    In decoding, those of an image stay the same for all words of its caption, and of the words written so
    far only the last one's are new.

    Args:
        hidden_dim: int. Size of queries, keys, values and outputs; divisible by `num_heads`.
        num_heads: int.
        dropout: float in [0, 1). Dropout rate of the attention scores.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        query: float tensor `(batch_size, query_length, query_dim)`.
        kept: float tensor `(batch_size, 2, num_heads, key_length, head_dim)`, keys and values, as
            `keys_and_values` returns. Build the layer first, see `build`.
        mask: bool tensor `(batch_size, key_length)` or `(batch_size, query_length, key_length)`, or
            `None`; see `cross_attention`.
        training: bool.

    Returns:
        attended: `(batch_size, query_length, hidden_dim)`.
        attention_scores: `(batch_size, num_heads, query_length, key_length)`; rows sum to 1, and
            masked keys are exactly 0.

    Raises:
        ValueError: when `hidden_dim` is not divisible by `num_heads`.

    Example:

    >>> import numpy as np
    >>> layer, words = CachedAttention(hidden_dim=8, num_heads=2), np.ones((1, 5, 8), "float32")
    >>> layer.build(words.shape, words.shape)
    >>> attended, scores = layer(words, layer.keys_and_values(words), causal_mask(5, 5))
    >>> tuple(attended.shape), tuple(scores.shape)
    ((1, 5, 8), (1, 2, 5, 5))

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
    """

    def __init__(self, hidden_dim, num_heads=8, dropout=0.0, **kwargs):
        super().__init__(hidden_dim, num_heads, **kwargs)
        self.dropout = dropout
        self.dropout_layer = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def keys_and_values(self, value):
        """Projects what is attended to: `(batch_size, 2, num_heads, length, head_dim)`.

        Args:
            value: float tensor `(batch_size, length, value_dim)`.
        """
        return ops.stack([self.key(value), self._split_heads(self.value_dense(value))], axis=1)

    def call(self, query, kept, mask=None, training=None):
        attended, scores = cross_attention(
            self.query(query),
            kept[:, 0],
            kept[:, 1],
            mask,
            lambda scores: self.dropout_layer(scores, training=training),
        )
        return self.join_heads(attended), scores

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout}
