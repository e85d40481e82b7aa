"""The gated multimodal unit: what passes of each modality is decided by all of them."""

import keras
from keras import layers, ops

from mmlearn.fusions.fusion import pool


@keras.saving.register_keras_serializable(package="mmlearn")
class GatedFusion(layers.Layer):
    """Lets gates decide, number by number, how much of each modality passes.

    Of two pooled modalities V and T:
    z * tanh(W_v V) + (1 - z) * tanh(W_t T), with z = sigmoid(W_z [V; T]). Of more, each has a gate
    of its own: the sum of z_m * tanh(W_m H_m), with z_m = sigmoid(W_zm [H_1; H_2; ...]). Of one,
    tanh(W H). As in the paper, nothing has a bias.

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
    >>> tuple(GatedFusion()(features, masks)["fused_features"].shape)
    (2, 8)

    Reference:
        Arevalo et al., "Gated multimodal units for information fusion", 2017, figure 2: b for
        two modalities, a for more.
    """

    combines = "features"

    def __init__(self, dropout=0.1, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.dropout = dropout

    def build(self, features_shape, masks_shape=None):
        modalities = sorted(features_shape)
        hidden_dim = features_shape[modalities[0]][-1]
        # Of two, the second one's gate is what the first one's leaves.
        gated = {1: [], 2: modalities[:1]}.get(len(modalities), modalities)
        self.hidden = [self._dense(hidden_dim, "tanh", f"{m}_hidden") for m in modalities]
        self.gates = [self._dense(hidden_dim, "sigmoid", f"{m}_gate") for m in gated]
        for layer in self.hidden:
            layer.build((None, hidden_dim))
        for layer in self.gates:
            layer.build((None, hidden_dim * len(modalities)))
        self.dropout_layer = layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def _dense(self, units, activation, name):
        return layers.Dense(units, activation, use_bias=False, dtype=self.dtype_policy, name=name)

    def call(self, features, masks, training=None):
        pooled = pool(features, masks)
        hidden = [layer(x) for layer, x in zip(self.hidden, pooled, strict=True)]
        joint = ops.concatenate(pooled, axis=-1)
        gates = [gate(joint) for gate in self.gates]
        if len(gates) == 1:
            gates.append(1.0 - gates[0])
        if gates:
            hidden = [gate * x for gate, x in zip(gates, hidden, strict=True)]
        fused = sum(hidden[1:], hidden[0])
        return {"fused_features": self.dropout_layer(fused, training=training)}

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout}
