"""A Transformer decoder: from the words so far and an image to the next word."""

import keras
from keras import layers, ops

from mmlearn.layers.decoder_block import DecoderBlock


@keras.saving.register_keras_serializable(package="mmlearn")
class TextDecoder(layers.Layer):
    """Scores the next token at each position, all at once or one after the other.

    Args:
        vocabulary_size: int.
        sequence_length: int. Most tokens of a text, those that begin and end it included.
        hidden_dim: int. Divisible by `num_heads`.
        num_layers: int.
        num_heads: int.
        intermediate_dim: int. Hidden size of the feed-forward parts, by default four times `hidden_dim`.
        dropout: float in [0, 1).
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        token_ids: int tensor `(batch_size, length)`, at most `sequence_length`.
        memory: float tensor `(batch_size, memory_length, memory_dim)`, the tokens of an image.
        memory_mask: bool tensor `(batch_size, memory_length)`.
        training: bool.

    Returns:
        logits: float32 `(batch_size, length, vocabulary_size)`, of the token after each position.
        attention_scores: `(batch_size, num_layers, num_heads, length, memory_length)`.

    Raises:
        ValueError: when `hidden_dim` is not divisible by `num_heads`.

    Example:

    >>> import numpy as np
    >>> decoder = TextDecoder(vocabulary_size=9, sequence_length=6, hidden_dim=8, num_heads=2)
    >>> logits, scores = decoder(np.array([[1, 4, 5]]), np.ones((1, 4, 3)), np.ones((1, 4), bool))
    >>> tuple(logits.shape), tuple(scores.shape)
    ((1, 3, 9), (1, 2, 2, 3, 4))

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, section 3; of image regions, as in Xu et al.,
        "Show, attend and tell", 2015, section 3.1; embeddings that also score: Press and Wolf, "Using
        the output embedding to improve language models", 2017.
    """

    def __init__(
        self,
        vocabulary_size,
        sequence_length,
        hidden_dim=256,
        num_layers=2,
        num_heads=4,
        intermediate_dim=None,
        dropout=0.1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        intermediate_dim = 4 * hidden_dim if intermediate_dim is None else intermediate_dim
        # === Layers ===
        policy = self.dtype_policy
        self.token_embedding = layers.ReversibleEmbedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=hidden_dim**-0.5),
            reverse_dtype="float32",
            dtype=policy,
            name="token_embedding",
        )
        self.memory_norm = layers.LayerNormalization(dtype=policy, name="memory_norm")
        self.blocks = [
            DecoderBlock(
                hidden_dim,
                num_heads,
                intermediate_dim,
                dropout,
                dtype=policy,
                name=f"decoder_block_{number}",
            )
            for number in range(num_layers)
        ]
        self.output_norm = layers.LayerNormalization(dtype=policy, name="output_norm")
        self.dropout_layer = layers.Dropout(dropout, dtype=policy)

        # === Config ===
        self.vocabulary_size = vocabulary_size
        self.sequence_length = sequence_length
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout

    def build(self, token_ids_shape, memory_shape, memory_mask_shape=None):
        x_shape = (None, None, self.hidden_dim)
        self.token_embedding.build(token_ids_shape)
        self.positions = self.add_weight(
            shape=(self.sequence_length, self.hidden_dim),
            initializer=keras.initializers.RandomNormal(stddev=self.hidden_dim**-0.5),
            name="positions",
        )
        self.memory_norm.build(memory_shape)
        for block in self.blocks:
            block.build(x_shape, memory_shape)
        self.output_norm.build(x_shape)

    def call(self, token_ids, memory, memory_mask=None, training=None):
        logits, scores, _ = self._decode(
            token_ids, self.read_memory(memory), memory_mask, training=training
        )
        return logits, scores

    def read_memory(self, memory):
        """What all blocks keep of an image, the same for all words.

        Args:
            memory: float tensor `(batch_size, memory_length, memory_dim)`.

        Returns:
            `(batch_size, num_layers, 2, num_heads, memory_length, head_dim)`.
        """
        memory = self.memory_norm(memory)
        return ops.stack([block.read_memory(memory) for block in self.blocks], axis=1)

    def new_cache(self, batch_size, max_length):
        """What is kept of words before there are any: zeros.

        Args:
            batch_size: int, or scalar int tensor.
            max_length: int.

        Returns:
            `(batch_size, num_layers, 2, num_heads, max_length, head_dim)`.
        """
        shape = (self.num_layers, 2, self.num_heads, max_length, self.hidden_dim // self.num_heads)
        return ops.zeros((batch_size, *shape), self.compute_dtype)

    def step(self, token_ids, memory, memory_mask, cache, start):
        """Decodes the token at a position, given what was kept of those before.

        Args:
            token_ids: int tensor `(batch_size, 1)`.
            memory: see `read_memory`.
            memory_mask: bool tensor `(batch_size, memory_length)`.
            cache: see `new_cache`.
            start: int, or scalar int tensor. The position.

        Returns:
            logits and attention scores, as a call does, and the cache with this token.
        """
        return self._decode(token_ids, memory, memory_mask, cache, start, training=False)

    def _decode(self, token_ids, memory, memory_mask, cache=None, start=0, training=None):
        length = token_ids.shape[1]
        positions = ops.slice(self.positions, (start, 0), (length, self.hidden_dim))
        x = self.token_embedding(token_ids)
        x = self.dropout_layer(x + ops.cast(positions, x.dtype), training=training)
        all_scores, caches = [], []
        for number, block in enumerate(self.blocks):
            own = None if cache is None else cache[:, number]
            x, scores, kept = block(
                x, memory[:, number], memory_mask, cache=own, start=start, training=training
            )
            all_scores.append(scores)
            caches.append(kept)
        logits = self.token_embedding(self.output_norm(x), reverse=True)
        return logits, ops.stack(all_scores, axis=1), ops.stack(caches, axis=1)

    def get_config(self):
        names = (
            *("vocabulary_size", "sequence_length", "hidden_dim", "num_layers", "num_heads"),
            *("intermediate_dim", "dropout"),
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
