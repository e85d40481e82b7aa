"""Batch normalisation in one kernel."""

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation of feature maps that TensorFlow computes in one kernel each way.

    Keras composes it of a dozen elementwise ops over float32 copies, which took more than a quarter
    of a training step of ResNet50 on a CPU. The kernel reads and writes the compute dtype and keeps
    its statistics in float32; the results are the same but for rounding. Weights, names and options
    are those of Keras. Other Keras backends, synchronised statistics, renormalisation, and axes
    other than the last of four are left to Keras.
    """

    def call(self, inputs, training=None, mask=None):
        is_map = len(inputs.shape) == 4 and self.axis in (-1, 3)
        is_plain = mask is None and not self.synchronized and not self.renorm
        if not (is_map and is_plain and keras.config.backend() == "tensorflow"):
            return super().call(inputs, training=training, mask=mask)
        inputs = tf.cast(inputs, self.compute_dtype)
        updates = bool(training) and self.trainable
        ones, zeros = tf.ones_like(self.moving_mean), tf.zeros_like(self.moving_mean)
        normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.cast(self.gamma, "float32") if self.scale else ones,
            offset=ops.cast(self.beta, "float32") if self.center else zeros,
            mean=tf.constant([], "float32") if updates else ops.cast(self.moving_mean, "float32"),
            variance=(
                tf.constant([], "float32") if updates else ops.cast(self.moving_variance, "float32")
            ),
            epsilon=self.epsilon,
            is_training=updates,
        )
        if updates:
            # The kernel returns the unbiased variance; Keras averages the biased one.
            count = ops.cast(tf.size(inputs) // inputs.shape[-1], "float32")
            variance = variance * ((count - 1) / count)
            keep, take = self.momentum, 1 - self.momentum
            self.moving_mean.assign(self.moving_mean * keep + mean * take)
            self.moving_variance.assign(self.moving_variance * keep + variance * take)
        return normalized


def fuse_batch_norm(model):
    """Copies a functional model with every batch normalisation made a fused one.

    Args:
        model: `keras.Model`.

    Returns:
        A `keras.Model` of the same layers, names and weights.
    """

    def copy(layer):
        is_plain = type(layer) is keras.layers.BatchNormalization
        cls = FusedBatchNormalization if is_plain else type(layer)
        return cls.from_config(layer.get_config())

    fused = keras.models.clone_model(model, clone_function=copy)
    fused.set_weights(model.get_weights())
    return fused
