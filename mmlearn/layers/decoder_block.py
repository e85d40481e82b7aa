"""One layer of a Transformer decoder that looks at the words so far and at an image."""

import keras
from keras import layers, ops

from mmlearn.layers.cached_attention import CachedAttention, causal_mask


@keras.saving.register_keras_serializable(package="mmlearn")
class DecoderBlock(layers.Layer):
    """Causal attention to the words so far, attention to an image, feed-forward; each normed first.

    KerasHub's `TransformerDecoder` computes the same, but does not say where it looked in the image, and
    its attention cannot be quantized and loaded again.

    Args:
        hidden_dim: int. Divisible by `num_heads`.
        num_heads: int. Of both attentions.
        intermediate_dim: int. Hidden size of the feed-forward part.
        dropout: float in [0, 1). Rate of attention scores and of what each part adds.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        x: float tensor `(batch_size, length, hidden_dim)`; with a `cache` of one word, that at `start`.
        memory: `(batch_size, 2, num_heads, memory_length, head_dim)`, see `read_memory`.
        memory_mask: bool tensor `(batch_size, memory_length)`.
        cache: `(batch_size, 2, num_heads, max_length, head_dim)`, what the block kept of the words
            before; or `None` where `x` has all words.
        start: int, or scalar int tensor.
        training: bool.

    Returns:
        `(batch_size, length, hidden_dim)`; the attention to the image `(batch_size, num_heads, length,
        memory_length)`; and the cache with these words.

    Raises:
        ValueError: when `hidden_dim` is not divisible by `num_heads`.

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.1; the norms before each part:
        Xiong et al., "On layer normalization in the transformer architecture", 2020, figure 1b.
    """

    def __init__(self, hidden_dim, num_heads, intermediate_dim, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        # === Layers ===
        policy = self.dtype_policy
        attention = {"hidden_dim": hidden_dim, "num_heads": num_heads, "dropout": dropout}
        self.self_norm = layers.LayerNormalization(dtype=policy, name="self_norm")
        self.self_attention = CachedAttention(**attention, dtype=policy, name="self_attention")
        self.image_norm = layers.LayerNormalization(dtype=policy, name="image_norm")
        self.image_attention = CachedAttention(**attention, dtype=policy, name="image_attention")
        self.forward_norm = layers.LayerNormalization(dtype=policy, name="forward_norm")
        self.hidden_dense = layers.Dense(intermediate_dim, "gelu", dtype=policy, name="hidden")
        self.output_dense = layers.Dense(hidden_dim, dtype=policy, name="output")
        self.dropout_layer = layers.Dropout(dropout, dtype=policy)

        # === Config ===
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout

    def build(self, x_shape, memory_shape):
        """Makes the weights.

        Args:
            x_shape: `(batch_size, length, hidden_dim)`.
            memory_shape: `(batch_size, memory_length, memory_dim)`, before `read_memory`.
        """
        for norm in (self.self_norm, self.image_norm, self.forward_norm):
            norm.build(x_shape)
        self.self_attention.build(x_shape, x_shape)
        self.image_attention.build(x_shape, memory_shape)
        self.hidden_dense.build(x_shape)
        self.output_dense.build((*x_shape[:-1], self.intermediate_dim))

    def read_memory(self, memory):
        """Keys and values of the tokens of an image, the same for all words.

        Args:
            memory: float tensor `(batch_size, memory_length, memory_dim)`.

        Returns:
            `(batch_size, 2, num_heads, memory_length, head_dim)`.
        """
        return self.image_attention.keys_and_values(memory)

    def call(self, x, memory, memory_mask=None, cache=None, start=0, training=None):
        normed = self.self_norm(x)
        kept = self.self_attention.keys_and_values(normed)
        if cache is not None:
            # No `slice_update`, whose op not every server of SavedModels has.
            is_here = ops.arange(cache.shape[3], dtype="int32")[:, None] == start
            kept = ops.where(is_here, kept, cache)
        mask = causal_mask(x.shape[1], kept.shape[3], start)
        attended, _ = self.self_attention(normed, kept, mask, training=training)
        x = x + self.dropout_layer(attended, training=training)
        attended, scores = self.image_attention(
            self.image_norm(x), memory, memory_mask, training=training
        )
        x = x + self.dropout_layer(attended, training=training)
        hidden = self.hidden_dense(self.forward_norm(x))
        x = x + self.dropout_layer(self.output_dense(hidden), training=training)
        return x, scores, kept

    def get_config(self):
        names = ("hidden_dim", "num_heads", "intermediate_dim", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
