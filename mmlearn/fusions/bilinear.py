"""Low-rank bilinear pooling: every product of two modalities' features, in a few numbers."""

import functools

import keras
from keras import layers, ops

from mmlearn.fusions.fusion import pool


@keras.saving.register_keras_serializable(package="mmlearn")
class BilinearFusion(layers.Layer):
    """Multiplies projections of the pooled modalities, and projects the product.

    fused = P (tanh(U V) * tanh(W T)) + b: a bilinear form for each fused number, of matrices of low
    rank. Of more than two modalities it is the product of all, of one its own projection.

    Args:
        rank: int, the numbers that are multiplied, or `None` for the hidden dimension.
        dropout: float in [0, 1). Rate on the product.
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Returns:
        A dict with `fused_features (batch_size, hidden_dim)`.

    Raises:
        ValueError: when `rank` is not positive.

    Example:

    >>> import numpy as np
    >>> features = {"images": np.ones((2, 9, 8)), "text": np.ones((2, 5, 8))}
    >>> masks = {"images": np.ones((2, 9), bool), "text": np.ones((2, 5), bool)}
    >>> tuple(BilinearFusion(rank=4)(features, masks)["fused_features"].shape)
    (2, 8)

    Reference:
        Kim et al., "Hadamard product for low-rank bilinear pooling", 2017, equation 3, with the
        tanh of its section on activations.
    """

    combines = "features"

    def __init__(self, rank=None, dropout=0.1, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        if rank is not None and rank < 1:
            raise ValueError(f"`rank` must be positive. Received: rank={rank}.")
        self.rank, self.dropout = rank, dropout

    def build(self, features_shape, masks_shape=None):
        policy = self.dtype_policy
        hidden_dim = next(iter(features_shape.values()))[-1]
        rank = self.rank or hidden_dim
        self.factors = [
            layers.Dense(rank, activation="tanh", dtype=policy, name=f"{modality}_factor")
            for modality in sorted(features_shape)
        ]
        for layer in self.factors:
            layer.build((None, hidden_dim))
        self.output_dense = layers.Dense(hidden_dim, dtype=policy, name="output")
        self.output_dense.build((None, rank))
        self.dropout_layer = layers.Dropout(self.dropout, dtype=policy)

    def call(self, features, masks, training=None):
        pooled = pool(features, masks)
        factors = [layer(x) for layer, x in zip(self.factors, pooled, strict=True)]
        product = functools.reduce(ops.multiply, factors)
        product = self.dropout_layer(product, training=training)
        return {"fused_features": self.output_dense(product)}

    def get_config(self):
        return {**super().get_config(), "rank": self.rank, "dropout": self.dropout}
