"""Dropping whole modalities of an example in training."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class ModalityDropout(keras.layers.Layer):
    """Marks modalities as absent at random in training, so that a model learns to do without.

    Each modality of each example is dropped with probability `rate`, except the last one that an
    example has: one always stays.

    Args:
        rate: float in [0, 1).
        seed: int or `None`.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        present: bool tensor `(batch_size, num_modalities)`.
        training: bool.

    Returns:
        bool tensor `(batch_size, num_modalities)`, `True` only where `present` is.

    Reference:
        Neverova et al., "ModDrop: adaptive multi-modal gesture recognition", 2015, section 4.2.
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must be in [0, 1). Received: rate={rate}.")
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, present, training=False):
        if not training or self.rate == 0:
            return present
        draws = keras.random.uniform(ops.shape(present), seed=self.seed_generator)
        # The present modality with the highest draw stays in any case.
        draws = ops.where(present, draws, -1.0)
        highest = ops.max(draws, axis=1, keepdims=True)
        keep = ops.logical_or(draws >= self.rate, draws == highest)
        return ops.logical_and(present, keep)

    def compute_output_spec(self, present, training=False):
        return keras.KerasTensor(present.shape, "bool")

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
