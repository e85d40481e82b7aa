"""What kinds of attention share: projections of queries, keys and values, and heads."""

import keras
from keras import ops


class AttentionProjections(keras.layers.Layer):
    """Projects queries, keys, values and what was gathered. Base class.

    The projections are layers of this layer's own, so that quantization and reloading work, unlike
    in `keras.layers.MultiHeadAttention`.

    Args:
        hidden_dim: int. Size of the outputs and, of all heads together, of queries, keys and values;
            divisible by `num_heads`.
        num_heads: int.
        head_dim: int, the size of a head's queries, keys and values, or `None` for
            `hidden_dim / num_heads`. It is for layers that have lost heads.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: when `hidden_dim` is not divisible by `num_heads`.
    """

    def __init__(self, hidden_dim, num_heads=8, head_dim=None, **kwargs):
        super().__init__(**kwargs)
        if head_dim is None and hidden_dim % num_heads:
            raise ValueError(
                "`hidden_dim` must be divisible by `num_heads`. "
                f"Received: hidden_dim={hidden_dim}, num_heads={num_heads}."
            )
        # === Layers ===
        self.head_dim = hidden_dim // num_heads if head_dim is None else head_dim
        size = num_heads * self.head_dim
        self.query_dense = keras.layers.Dense(size, dtype=self.dtype_policy, name="query")
        self.key_dense = keras.layers.Dense(size, dtype=self.dtype_policy, name="key")
        self.value_dense = keras.layers.Dense(size, dtype=self.dtype_policy, name="value")
        self.output_dense = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy, name="output")

        # === Config ===
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads

    def build(self, query_shape, value_shape, mask_shape=None):
        self.query_dense.build(query_shape)
        self.key_dense.build(value_shape)
        self.value_dense.build(value_shape)
        self.output_dense.build((*query_shape[:-1], self.num_heads * self.head_dim))

    def project(self, query, value):
        """Queries, keys and values `(batch_size, num_heads, length, head_dim)`."""
        value_heads = self._split_heads(self.value_dense(value))
        return self.query(query), self.key(value), value_heads

    def query(self, x):
        """Queries `(batch_size, num_heads, length, head_dim)` alone."""
        return self._split_heads(self.query_dense(x))

    def key(self, x):
        """Keys `(batch_size, num_heads, length, head_dim)` alone."""
        return self._split_heads(self.key_dense(x))

    def join_heads(self, attended):
        """What the heads gathered, joined and projected: `(batch_size, length, hidden_dim)`."""
        length = attended.shape[2]
        attended = ops.transpose(attended, (0, 2, 1, 3))
        size = self.num_heads * self.head_dim
        return self.output_dense(ops.reshape(attended, (-1, length, size)))

    def _split_heads(self, x):
        x = ops.reshape(x, (-1, x.shape[1], self.num_heads, self.head_dim))
        return ops.transpose(x, (0, 2, 1, 3))

    def get_config(self):
        config = super().get_config()
        config.update({"hidden_dim": self.hidden_dim, "num_heads": self.num_heads})
        if self.num_heads * self.head_dim != self.hidden_dim:  # of most there is none
            config["head_dim"] = self.head_dim
        return config
