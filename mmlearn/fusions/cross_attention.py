"""Bidirectional cross-attention with adaptive weights of the modalities: the documents' fusion."""

import itertools

import keras
from keras import layers, ops

from mmlearn.fusions.fusion import pool
from mmlearn.layers.cross_attention import CrossAttention

COMBINES = ("weighted", "concat")


@keras.saving.register_keras_serializable(package="mmlearn")
class CrossAttentionFusion(layers.Layer):
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
        self, num_heads=8, num_layers=1, dropout=0.1, combine="weighted", name=None, **kwargs
    ):
        super().__init__(name=name, **kwargs)
        if combine not in COMBINES:
            raise ValueError(f"`combine` must be one of {COMBINES}. Received: combine={combine!r}.")
        if num_layers < 0:
            raise ValueError(f"`num_layers` must be 0 or more. Received: num_layers={num_layers}.")
        self.num_heads, self.num_layers = num_heads, num_layers
        self.dropout, self.combine = dropout, combine

    def build(self, features_shape, masks_shape=None):
        policy = self.dtype_policy
        modalities = sorted(features_shape)
        hidden_dim = features_shape[modalities[0]][-1]
        shape = (None, None, hidden_dim)
        # === Layers ===
        self.directions = list(itertools.permutations(modalities, 2)) if self.num_layers else []
        self.attentions, self.norms = {}, {}
        for number in range(self.num_layers):
            for query, key in self.directions:
                name = f"{query}_to_{key}_{number}"
                self.attentions[name] = CrossAttention(
                    hidden_dim, self.num_heads, self.dropout, dtype=policy, name=name
                )
                self.attentions[name].build(features_shape[query], features_shape[key])
            for modality in modalities if self.directions else ():
                name = f"{modality}_norm_{number}"
                self.norms[name] = layers.LayerNormalization(dtype=policy, name=name)
                self.norms[name].build(shape)
        self.dropout_layer = layers.Dropout(self.dropout, dtype=policy)
        joint_shape = (None, hidden_dim * len(modalities))
        if self.combine == "weighted" and len(modalities) > 1:
            self.weight_hidden = layers.Dense(
                hidden_dim, activation="relu", dtype=policy, name="weight_hidden"
            )
            self.weight_hidden.build(joint_shape)
            self.weight_logits = layers.Dense(len(modalities), dtype=policy, name="weight_logits")
            self.weight_logits.build((None, hidden_dim))
        if self.combine == "concat":
            self.output_dense = layers.Dense(
                hidden_dim, activation="relu", dtype=policy, name="output"
            )
            self.output_dense.build(joint_shape)

    def call(self, features, masks, training=None):
        features = dict(features)
        scores = {f"{query}_to_{key}": [] for query, key in self.directions}
        for number in range(self.num_layers if self.directions else 0):
            gathered = {modality: [] for modality in features}
            for query, key in self.directions:
                attended, layer_scores = self.attentions[f"{query}_to_{key}_{number}"](
                    features[query], features[key], masks[key], training=training
                )
                gathered[query].append(self.dropout_layer(attended, training=training))
                scores[f"{query}_to_{key}"].append(layer_scores)
            features = {
                modality: self.norms[f"{modality}_norm_{number}"](sum(gathered[modality], tokens))
                for modality, tokens in features.items()
            }
        pooled = pool(features, masks)
        joint = ops.concatenate(pooled, axis=-1)
        outputs = {}
        if scores:
            outputs["attention_scores"] = {k: ops.stack(v, axis=1) for k, v in scores.items()}
        if self.combine == "concat":
            return {"fused_features": self.output_dense(joint), **outputs}
        if len(pooled) == 1:  # nothing to weigh
            weights = ops.ones_like(joint[:, :1])
        else:
            weights = ops.softmax(self.weight_logits(self.weight_hidden(joint)), axis=-1)
        fused = ops.sum(ops.stack(pooled, axis=1) * weights[..., None], axis=1)
        return {"fused_features": fused, "modality_weights": weights, **outputs}

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "num_heads": self.num_heads,
                "num_layers": self.num_layers,
                "dropout": self.dropout,
                "combine": self.combine,
            }
        )
        return config
