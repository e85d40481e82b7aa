"""Gates that are shut at first, and open as far as what is behind them is of use."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class TanhGate(keras.layers.Layer):
    """Multiplies by tanh(alpha) of one learned alpha, which is 0 at first.

    The product is then exactly 0, but its gradient with respect to alpha is not.

    Call arguments:
        x: float tensor of any shape.

    Returns:
        float tensor of that shape.

    Reference:
        Alayrac et al., "Flamingo", 2022, section 2.2.
    """

    def build(self, x_shape):
        self.alpha = self.add_weight(shape=(), initializer="zeros", name="alpha")

    def call(self, x):
        return ops.cast(ops.tanh(self.alpha), x.dtype) * x


@keras.saving.register_keras_serializable(package="mmlearn")
class ShareGate(keras.layers.Layer):
    """Gives one more a share of weights that sum to 1: 0 at first, then what its features say.

    The share is a linear function of the features, all 0 at first, cut at 0 and 1. Its gradient goes
    straight through the cut, so that it can grow from 0, and grows again if what it is for was of no
    use at first.

    Call arguments:
        weights: float tensor `(batch_size, count)`.
        features: float tensor `(batch_size, dim)`, of what gets the share.

    Returns:
        float tensor `(batch_size, count + 1)`, the share last.

    Reference:
        Bengio et al., "Estimating or propagating gradients through stochastic neurons", 2013,
        section 4, has the gradient that goes straight through.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(
            1, kernel_initializer="zeros", dtype=self.dtype_policy, name="share"
        )

    def build(self, weights_shape, features_shape):
        self.dense.build(features_shape)

    def call(self, weights, features):
        share = self.dense(features)
        share = share + ops.stop_gradient(ops.clip(share, 0.0, 1.0) - share)
        return add_share(weights, ops.cast(share, weights.dtype))


def add_share(weights, share):
    """Appends a share, scalar or `(batch_size, 1)`, to weights, which keep the rest of their sum."""
    return ops.concatenate([weights * (1 - share), ops.ones_like(weights[:, :1]) * share], axis=1)
