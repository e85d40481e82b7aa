"""Attention whose cost grows with the number of tokens, not with its square."""

import math

import keras
from keras import ops

from mmlearn.layers.attention_projections import AttentionProjections


def linear_attention(query, key, value, mask=None):
    """Attention by the products of feature maps: no matrix of scores is ever made.

    With phi(x) = elu(x) + 1, the result is phi(q) (phi(k)^T v) / (phi(q) sum_k phi(k)): what
    weights phi(q) phi(k)^T, divided by their sum over the keys, would gather.

    Args:
        query: float tensor `(batch_size, num_heads, query_length, head_dim)`.
        key: float tensor `(batch_size, num_heads, key_length, head_dim)`.
        value: float tensor `(batch_size, num_heads, key_length, value_dim)`.
        mask: bool tensor `(batch_size, key_length)`, `True` where a key is real, or `None`.

    Returns:
        `(batch_size, num_heads, query_length, value_dim)`; all 0 where every key is masked.

    Reference:
        Katharopoulos et al., "Transformers are RNNs", 2020, equations 4, 5 and 7.
    """
    # Factors that cancel out, powers of two, which round nothing: without them the sum over
    # thousands of keys would leave the range of float16.
    query = _feature_map(query) * _power_of_two(query.shape[3])
    key = _feature_map(key) * _power_of_two(key.shape[2] ** 0.5)
    if mask is not None:
        key = key * ops.cast(mask, key.dtype)[:, None, :, None]
    # The sum of the keys as one more value: a product of matrices sums in float32, whatever the
    # precision, which a sum of thousands of numbers in 16 bits would not.
    value = ops.concatenate([value, ops.ones_like(value[..., :1])], axis=-1)
    summary = ops.matmul(ops.transpose(key, (0, 1, 3, 2)), value)
    attended = ops.matmul(query, summary)
    attended, total = attended[..., :-1], attended[..., -1:]
    return attended / ops.where(total > 0, total, ops.ones_like(total))


def _feature_map(x):
    return ops.elu(x) + 1.0


def _power_of_two(size):
    """The one next to 1 / size."""
    return 2.0 ** -round(math.log2(size))


@keras.saving.register_keras_serializable(package="mmlearn")
class LinearAttention(AttentionProjections):
    """Lets each token of one modality gather from the tokens of another at linear cost.

    Args:
        hidden_dim: int. Size of queries, keys, values and outputs; divisible by `num_heads`.
        num_heads: int.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        query: float tensor `(batch_size, query_length, query_dim)`.
        value: float tensor `(batch_size, key_length, value_dim)`, keys as well as values.
        mask: bool tensor `(batch_size, key_length)` over the keys, or `None`.

    Returns:
        `(batch_size, query_length, hidden_dim)`. There are no scores.

    Raises:
        ValueError: when `hidden_dim` is not divisible by `num_heads`.

    Example:

    >>> import numpy as np
    >>> words, regions = np.ones((1, 5, 8)), np.ones((1, 9, 8))
    >>> tuple(LinearAttention(hidden_dim=8, num_heads=2)(words, regions).shape)
    (1, 5, 8)

    Reference:
        Katharopoulos et al., "Transformers are RNNs", 2020, section 3.2.
    """

    def call(self, query, value, mask=None):
        return self.join_heads(linear_attention(*self.project(query, value), mask))
