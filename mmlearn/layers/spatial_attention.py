"""A learned gate per position of a feature map."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="mmlearn")
class SpatialAttention(layers.Layer):
    """Weighs each position of a feature map by a gate in (0, 1).

    The gate is a convolution over two maps, the mean and the maximum over the channels. It says
    where to look, the same for all channels.

    Args:
        kernel_size: int. Side of the convolution.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor `(batch_size, height, width, dim)`.

    Returns:
        A tensor of the same shape.

    Example:

    >>> import numpy as np
    >>> tuple(SpatialAttention()(np.ones((2, 7, 7, 16))).shape)
    (2, 7, 7, 16)

    Reference:
        Woo et al., "CBAM: Convolutional Block Attention Module", 2018, equation 3.
    """

    def __init__(self, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size

    def build(self, inputs_shape):
        self.gate = layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            use_bias=False,
            activation="sigmoid",
            dtype=self.dtype_policy,
            name="gate",
        )
        self.gate.build((*inputs_shape[:-1], 2))

    def call(self, inputs):
        mean = ops.mean(inputs, axis=-1, keepdims=True)
        largest = ops.max(inputs, axis=-1, keepdims=True)
        return inputs * self.gate(ops.concatenate([mean, largest], axis=-1))

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}
