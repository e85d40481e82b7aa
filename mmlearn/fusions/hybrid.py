"""Hybrid fusion: features are fused by cross-attention, and predictions are averaged."""

import keras
from keras import layers, ops

from mmlearn.fusions.attention_fusion import AttentionFusion
from mmlearn.fusions.fusion import pool, what_is_averaged
from mmlearn.fusions.weighted_fusion import check_weights


@keras.saving.register_keras_serializable(package="mmlearn")
class HybridFusion(AttentionFusion):
    """Fuses features by cross-attention, and weighs what the modalities predict each for itself.

    After the attention, the pooled modalities are joined and projected, which gives the fused
    features, and softmax(MLP([V; T])) of them weighs the predictions of the auxiliary heads, as in
    `late`. The task predicts s p + (1 - s) (w_v p_v + w_t p_t): p from the fused features, p_v and
    p_t from the modalities alone, and the share s a sigmoid of one dense layer over the fused
    features, of each example its own.

    Args:
        num_heads: int. Attention heads; must divide the hidden dimension.
        num_layers: int. 0 means no attention across modalities, everything else equal.
        dropout: float in [0, 1). Rate on attention scores and on what is gathered.
        grounded_heads: int. Heads of the words' attention to the image, that of the first layer, that
            are trained to find what the words name, and nothing else (see `mmlearn.losses.grounding`).
        average: `"probabilities"`, as above, or `"logits"`: then the same sums are of logits, see
            `mmlearn.fusions.fusion.average_predictions`.
        modality_weights: dict of modality to positive number, for w_v and w_t that are the same for every
            example, or `None` for those above. See `LateFusion`.
        head_dim: int or `None`, see `AttentionFusion`.
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Returns:
        A dict of `fused_features (batch_size, hidden_dim)`, `modality_weights (batch_size,
        num_modalities)` and, with at least two modalities and one layer,
        `attention_scores {direction: (batch_size, num_layers, num_heads, query, key)}`.

    Example:

    >>> import numpy as np
    >>> features = {"images": np.ones((2, 9, 8)), "text": np.ones((2, 5, 8))}
    >>> masks = {"images": np.ones((2, 9), bool), "text": np.ones((2, 5), bool)}
    >>> sorted(HybridFusion(num_heads=2)(features, masks))
    ['attention_scores', 'fused_features', 'modality_weights']

    Reference:
        Atrey et al., "Multimodal fusion for multimedia analysis: a survey", 2010, section 3.3
        (hybrid: of features and of decisions).
    """

    combines = "both"

    def __init__(
        self,
        num_heads=8,
        num_layers=1,
        dropout=0.1,
        grounded_heads=0,
        average="probabilities",
        modality_weights=None,
        head_dim=None,
        name=None,
        **kwargs,
    ):
        super().__init__(
            num_heads,
            num_layers,
            dropout,
            grounded_heads,
            head_dim=head_dim,
            name=name,
            **kwargs,
        )
        self.average, self.modality_weights = average, check_weights(modality_weights)
        what_is_averaged(self)

    def build(self, features_shape, masks_shape=None):
        self.build_attention(features_shape)
        hidden_dim = next(iter(features_shape.values()))[-1]
        self.build_weights(features_shape)
        self.output_dense = layers.Dense(
            hidden_dim, activation="relu", dtype=self.dtype_policy, name="output"
        )
        self.output_dense.build((None, hidden_dim * len(features_shape)))

    def call(self, features, masks, training=None):
        features, outputs = self.attend(features, masks, training)
        pooled = pool(features, masks)
        return {
            "fused_features": self.output_dense(ops.concatenate(pooled, axis=-1)),
            "modality_weights": self.weigh(pooled),
            **outputs,
        }

    def get_config(self):
        own = {"average": self.average, "modality_weights": self.modality_weights}
        return {**super().get_config(), **own}
