"""Features that were made elsewhere: cached ones, or your own embeddings."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mmlearn.encoders.encoder import Converter


@keras.saving.register_keras_serializable(package="mmlearn")
class FeaturesConverter(Converter):
    """Passes arrays of features on as model inputs, every position real.

    Args:
        length: int. Positions per example.
        dim: int. Size of each position's feature.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, length, dim, **kwargs):
        super().__init__(**kwargs)
        self.length, self.dim = length, dim

    def read_raw(self, values, modality):
        """Reads an array `(batch_size, length, dim)`, or a list of arrays; `None` means absent."""
        absent = np.full((self.length, self.dim), np.nan, np.float32)
        return np.stack([absent if v is None else np.asarray(v, np.float32) for v in values])

    def convert(self, values, modality, batch_size=None):
        """Returns the model inputs of a batch, or of `batch_size` absent rows.

        A row of NaN alone is absent.
        """
        if values is None:
            values = tf.fill([batch_size, self.length, self.dim], np.float32(np.nan))
        values = tf.cast(values, tf.float32)
        if not values.shape[1:].is_compatible_with((self.length, self.dim)):
            raise ValueError(
                f"`{modality}` must have the shape (batch_size, {self.length}, {self.dim}). "
                f"Received: {tuple(values.shape)}."
            )
        is_absent = tf.reduce_all(tf.math.is_nan(values), axis=[1, 2])
        values = tf.where(is_absent[:, None, None], 0.0, values)
        present = tf.cast(~is_absent, tf.int32)
        return {
            f"{modality}_features": values,
            f"{modality}_mask": tf.repeat(present[:, None], self.length, axis=1),
            f"{modality}_present": present,
        }

    def get_config(self):
        return {**super().get_config(), "length": self.length, "dim": self.dim}


@keras.saving.register_keras_serializable(package="mmlearn")
class Features(keras.layers.Layer):
    """An encoder that takes features as they are.

    Args:
        length: int. Positions per example.
        dim: int. Size of each position's feature.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of `"{modality}_features" (batch_size, length, dim)` and int32
            `"{modality}_mask" (batch_size, length)`.

    Returns:
        The features and a bool mask `(batch_size, length)`.
    """

    def __init__(self, length, dim, **kwargs):
        super().__init__(**kwargs)
        self.length, self.dim = length, dim

    def model_inputs(self, modality):
        """Returns `{name: keras.Input}` of the functional inputs of this encoder."""
        features, mask = f"{modality}_features", f"{modality}_mask"
        return {
            features: keras.Input((self.length, self.dim), name=features),
            mask: keras.Input((self.length,), dtype="int32", name=mask),
        }

    def call(self, inputs):
        features, mask = (inputs[name] for name in sorted(inputs))  # ..._features, ..._mask
        return features, ops.cast(mask, "bool")

    def get_config(self):
        return {**super().get_config(), "length": self.length, "dim": self.dim}
