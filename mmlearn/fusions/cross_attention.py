"""Bidirectional cross-attention with adaptive weights of the modalities: the documents' fusion."""

import keras
from keras import layers, ops

from mmlearn.fusions.attention_fusion import AttentionFusion
from mmlearn.fusions.fusion import pool
from mmlearn.fusions.weighted_fusion import weighted_sum
from mmlearn.layers.sum_max_pooling import SumMaxPooling

COMBINES = ("weighted", "concat")
POOLINGS = ("mean", "sum_max")


@keras.saving.register_keras_serializable(package="mmlearn")
class CrossAttentionFusion(AttentionFusion):
    """Lets every modality's tokens attend to every other's, then joins the pooled results.

    Each layer adds what a modality gathers from the others to its own tokens and normalises. The
    pooled modalities V and T are joined as alpha_v V + alpha_t T with
    alpha = softmax(MLP([V; T])), or concatenated and projected.

    The attention scores' direction `"text_to_images"` means that text queries attend to image
    keys.

    Args:
        num_heads: int. Attention heads; must divide the hidden dimension.
        num_layers: int. 0 means no attention across modalities, everything else equal.
        dropout: float in [0, 1). Rate on attention scores and on what is gathered.
        combine: `"weighted"` or `"concat"`.
        grounded_heads: int. Heads of the words' attention to the image, that of the first layer, that
            are trained to find what the words name, and nothing else (see `mmlearn.losses.grounding`).
        intermediate_dim: int, the size between two dense layers that each token passes after each
            attention, or `None` for none, see `AttentionFusion`.
        pooling: `"mean"`, or `"sum_max"` where it matters how many regions or words there are of a kind,
            see `mmlearn.layers.sum_max_pooling`.
        head_dim: int or `None`, see `AttentionFusion`.
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Returns:
        A dict of `fused_features (batch_size, hidden_dim)`, `modality_weights (batch_size,
        num_modalities)` (only if weighted) and, with at least two modalities and one layer,
        `attention_scores {direction: (batch_size, num_layers, num_heads, query, key)}`.

    Reference:
        Lu et al., "ViLBERT", 2019, section 2.2 (co-attention); the adaptive weights are equation
        2.2 of the methodology document, see "Origins" in the README.
    """

    combines = "features"

    def __init__(
        self,
        num_heads=8,
        num_layers=1,
        dropout=0.1,
        combine="weighted",
        grounded_heads=0,
        intermediate_dim=None,
        pooling="mean",
        head_dim=None,
        name=None,
        **kwargs,
    ):
        super().__init__(
            num_heads,
            num_layers,
            dropout,
            grounded_heads,
            intermediate_dim,
            head_dim,
            name=name,
            **kwargs,
        )
        if combine not in COMBINES:
            raise ValueError(f"`combine` must be one of {COMBINES}. Received: combine={combine!r}.")
        if pooling not in POOLINGS:
            raise ValueError(f"`pooling` must be one of {POOLINGS}. Received: pooling={pooling!r}.")
        self.combine, self.pooling = combine, pooling

    def build(self, features_shape, masks_shape=None):
        self.build_attention(features_shape)
        if self.combine == "weighted":
            self.build_weights(features_shape)
        else:
            hidden_dim = next(iter(features_shape.values()))[-1]
            self.output_dense = layers.Dense(
                hidden_dim, activation="relu", dtype=self.dtype_policy, name="output"
            )
            self.output_dense.build((None, hidden_dim * len(features_shape)))
        self.poolings = {}
        if self.pooling == "sum_max":
            for modality in sorted(features_shape):
                layer = SumMaxPooling(dtype=self.dtype_policy, name=f"{modality}_pooling")
                layer.build(features_shape[modality])
                self.poolings[modality] = layer

    def call(self, features, masks, training=None):
        features, outputs = self.attend(features, masks, training)
        if self.poolings:
            pooled = [layer(features[m], masks[m]) for m, layer in self.poolings.items()]
        else:
            pooled = pool(features, masks)
        if self.combine == "concat":
            fused = self.output_dense(ops.concatenate(pooled, axis=-1))
            return {"fused_features": fused, **outputs}
        weights = self.weigh(pooled)
        fused = weighted_sum(pooled, weights)
        return {"fused_features": fused, "modality_weights": weights, **outputs}

    def get_config(self):
        config = {**super().get_config(), "combine": self.combine}
        if self.pooling != "mean":  # of older configs there is none
            config["pooling"] = self.pooling
        return config
