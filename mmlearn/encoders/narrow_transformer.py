"""A transformer layer that has lost attention heads."""

import keras
import keras_hub


@keras.saving.register_keras_serializable(package="mmlearn")
class NarrowTransformerEncoder(keras_hub.layers.TransformerEncoder):
    """KerasHub's transformer layer with heads of any size, whatever their number.

    KerasHub makes heads as large as the hidden dimension divided by their number. A layer that has lost
    some of its heads keeps those it has as they are, so that all of them together are narrower. Weights
    have the names they have there.

    Args:
        head_dim: int. Size of the queries, keys and values of a head.
        **kwargs: of `keras_hub.layers.TransformerEncoder`.

    Example:

    >>> layer = NarrowTransformerEncoder(head_dim=8, num_heads=1, intermediate_dim=4)
    >>> tuple(layer(keras.ops.ones((2, 5, 16))).shape)
    (2, 5, 16)
    """

    def __init__(self, head_dim, **kwargs):
        super().__init__(**kwargs)
        self.head_dim = head_dim

    def build(self, inputs_shape):
        super().build(inputs_shape)
        made = self._self_attention_layer
        narrow = keras.layers.MultiHeadAttention.from_config(
            {**made.get_config(), "key_dim": self.head_dim, "value_dim": self.head_dim}
        )
        narrow.build(inputs_shape, inputs_shape)
        self._layers.remove(made)  # or both would be tracked, and saved
        self._self_attention_layer = narrow

    def get_config(self):
        return {**super().get_config(), "head_dim": self.head_dim}
