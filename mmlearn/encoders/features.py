"""Features that were made elsewhere: cached ones, or your own embeddings."""

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class FeaturesConverter(keras.layers.Layer):
    """Passes arrays of features on as model inputs, every position real.

    Args:
        length: int. Positions per example.
        dim: int. Size of each position's feature.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, length, dim, **kwargs):
        super().__init__(**kwargs)
        self.length, self.dim = length, dim
        self.built = True  # no weights

    def convert_example(self, value, modality):
        """Returns `{modality: value}`: features of fixed size can be batched as they are."""
        return {modality: value}

    def convert(self, values, modality, batch_size=None):
        """Returns the model inputs of a batch, or of `batch_size` absent rows."""
        present = tf.fill([batch_size], 0) if values is None else tf.ones(tf.shape(values)[:1])
        present = tf.cast(present, tf.int32)
        if values is None:
            values = tf.zeros((batch_size, self.length, self.dim))
        values = tf.cast(values, tf.float32)
        if not values.shape[1:].is_compatible_with((self.length, self.dim)):
            raise ValueError(
                f"`{modality}` must have the shape (batch_size, {self.length}, {self.dim}). "
                f"Received: {tuple(values.shape)}."
            )
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
