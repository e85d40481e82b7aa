"""Pools tokens so that they can be counted."""

import keras
from keras import layers, ops

from mmlearn.layers.masked_max import masked_max


@keras.saving.register_keras_serializable(package="mmlearn")
class SumMaxPooling(layers.Layer):
    """Asks something of each token, and returns for how many it is true, and whether for any.

    Each token passes a dense layer with ReLU; the sum over the real tokens, divided by the square root of
    their number to keep its scale, and the largest value pass another dense layer. Under a mean, one
    object among many regions is next to nothing, and two are hardly more.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        features: float tensor `(batch_size, length, dim)`.
        mask: bool tensor `(batch_size, length)`, `True` where a token is real.

    Returns:
        float tensor `(batch_size, dim)`.

    Example:

    >>> import numpy as np
    >>> pooled = SumMaxPooling()(np.ones((2, 9, 8)), np.ones((2, 9), bool))
    >>> tuple(pooled.shape)
    (2, 8)

    Reference:
        Xu et al., "How powerful are graph neural networks?", 2019, section 5.2 (a sum keeps the counts, a
        mean the shares, a maximum what there is).
    """

    def build(self, features_shape, mask_shape=None):
        dim, policy = features_shape[-1], self.dtype_policy
        self.question = layers.Dense(dim, activation="relu", dtype=policy, name="question")
        self.question.build(features_shape)
        self.output_dense = layers.Dense(dim, dtype=policy, name="output")
        self.output_dense.build((None, 2 * dim))

    def call(self, features, mask):
        answers = self.question(features)
        real = ops.cast(mask, answers.dtype)[..., None]
        count = ops.maximum(ops.sum(real, axis=1), 1)
        total = ops.sum(answers * real, axis=1) / ops.sqrt(count)
        return self.output_dense(ops.concatenate([total, masked_max(answers, mask)], axis=-1))
