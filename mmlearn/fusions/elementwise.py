"""Sum, product or maximum of the pooled modalities."""

import keras
from keras import layers, ops

from mmlearn.fusions.fusion import pool

OPERATIONS = {"sum": ops.sum, "product": ops.prod, "max": ops.max}


@keras.saving.register_keras_serializable(package="mmlearn")
class ElementwiseFusion(layers.Layer):
    """Joins the pooled modalities number by number, then projects with one hidden layer.

    fused = ReLU(W (V op T) + b), for any number of modalities. The modalities come projected to one
    size, each by weights of its own, from the backbone.

    Args:
        operation: `"sum"`, `"product"` or `"max"`.
        dropout: float in [0, 1). Rate on the fused features.
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Returns:
        A dict with `fused_features (batch_size, hidden_dim)`.

    Raises:
        ValueError: when the operation is unknown.

    Example:

    >>> import numpy as np
    >>> features = {"images": np.ones((2, 9, 8)), "text": np.ones((2, 5, 8))}
    >>> masks = {"images": np.ones((2, 9), bool), "text": np.ones((2, 5), bool)}
    >>> tuple(ElementwiseFusion("product")(features, masks)["fused_features"].shape)
    (2, 8)

    Reference:
        Antol et al., "VQA: Visual Question Answering", 2015, section 4.2 (the product).
    """

    combines = "features"

    def __init__(self, operation="sum", dropout=0.1, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        if operation not in OPERATIONS:
            raise ValueError(
                f"`operation` must be one of {tuple(OPERATIONS)}. Received: operation={operation!r}."
            )
        self.operation, self.dropout = operation, dropout

    def build(self, features_shape, masks_shape=None):
        hidden_dim = next(iter(features_shape.values()))[-1]
        self.output_dense = layers.Dense(
            hidden_dim, activation="relu", dtype=self.dtype_policy, name="output"
        )
        self.output_dense.build((None, hidden_dim))
        self.dropout_layer = layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, features, masks, training=None):
        pooled = ops.stack(pool(features, masks), axis=1)
        fused = self.output_dense(OPERATIONS[self.operation](pooled, axis=1))
        return {"fused_features": self.dropout_layer(fused, training=training)}

    def get_config(self):
        return {**super().get_config(), "operation": self.operation, "dropout": self.dropout}
