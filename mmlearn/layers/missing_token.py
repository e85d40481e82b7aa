"""What stands in for a modality that is not there."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class MissingToken(keras.layers.Layer):
    """Replaces the tokens of absent rows by one learned token.

    Call arguments:
        features: float tensor `(batch_size, length, dim)`.
        mask: bool tensor `(batch_size, length)`.
        present: bool tensor `(batch_size,)`.

    Returns:
        features `(batch_size, length, dim)` and mask `(batch_size, length)`. In absent rows every
        position holds the learned token and the mask keeps only the first.
    """

    def build(self, features_shape, mask_shape=None, present_shape=None):
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.token = self.add_weight(
            shape=(features_shape[-1],), initializer=initializer, name="token"
        )

    def call(self, features, mask, present):
        token = ops.cast(self.token, features.dtype)
        features = ops.where(present[:, None, None], features, token)
        first = ops.arange(features.shape[1]) == 0
        return features, ops.where(present[:, None], mask, first[None, :])

    def compute_output_spec(self, features, mask, present):
        return (
            keras.KerasTensor(features.shape, features.dtype),
            keras.KerasTensor(mask.shape, "bool"),
        )
