"""Concatenation: pool each modality, join, project."""

import keras
from keras import layers, ops

from mmlearn.fusions.fusion import pool


@keras.saving.register_keras_serializable(package="mmlearn")
class ConcatFusion(layers.Layer):
    """Joins the pooled modalities and projects them with one hidden layer.

    The baseline of the documents' comparison of fusions: no token of one modality ever sees a
    token of another.

    Args:
        dropout: float in [0, 1). Rate on the fused features.
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Returns:
        A dict with `fused_features (batch_size, hidden_dim)`.

    Example:

    >>> import numpy as np
    >>> features = {"images": np.ones((2, 9, 8)), "text": np.ones((2, 5, 8))}
    >>> masks = {"images": np.ones((2, 9), bool), "text": np.ones((2, 5), bool)}
    >>> tuple(ConcatFusion()(features, masks)["fused_features"].shape)
    (2, 8)
    """

    combines = "features"

    def __init__(self, dropout=0.1, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.dropout = dropout

    def build(self, features_shape, masks_shape=None):
        hidden_dim = next(iter(features_shape.values()))[-1]
        self.output_dense = layers.Dense(
            hidden_dim, activation="relu", dtype=self.dtype_policy, name="output"
        )
        self.output_dense.build((None, hidden_dim * len(features_shape)))
        self.dropout_layer = layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, features, masks, training=None):
        fused = self.output_dense(ops.concatenate(pool(features, masks), axis=-1))
        return {"fused_features": self.dropout_layer(fused, training=training)}

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout}
