"""One transformer over the tokens of all modalities together."""

import itertools

import keras
from keras import layers, ops

from mmlearn.layers.cross_attention import CrossAttention
from mmlearn.layers.masked_mean import masked_mean


@keras.saving.register_keras_serializable(package="mmlearn")
class MergedAttentionFusion(layers.Layer):
    """Joins the tokens of all modalities to one sequence, and runs a transformer encoder over it.

    Each modality's tokens get its own learned embedding added. In each layer, a token attends to all
    real tokens of all modalities, its own among them, then passes two dense layers; both parts read
    normalised tokens and are added to them (pre-norm). The fused features are the mean of the real
    tokens, normalised.

    The attention scores are the blocks of the joint matrix, `"images_to_images"` among them. So a
    query's rows sum to 1 over the keys of all modalities together; the row of one direction sums to
    the share that goes to that modality.

    Args:
        num_heads: int. Attention heads; must divide the hidden dimension.
        num_layers: int, 1 or more.
        intermediate_dim: int, the size between the two dense layers, or `None` for four times the
            hidden dimension.
        dropout: float in [0, 1). Rate on attention scores and on what each part adds.
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Returns:
        A dict of `fused_features (batch_size, hidden_dim)` and, with at least two modalities,
        `attention_scores {direction: (batch_size, num_layers, num_heads, query, key)}`.

    Raises:
        ValueError: when `num_layers` is not positive.

    Example:

    >>> import numpy as np
    >>> features = {"images": np.ones((2, 9, 8)), "text": np.ones((2, 5, 8))}
    >>> masks = {"images": np.ones((2, 9), bool), "text": np.ones((2, 5), bool)}
    >>> outputs = MergedAttentionFusion(num_heads=2)(features, masks)
    >>> tuple(outputs["attention_scores"]["text_to_images"].shape)
    (2, 1, 2, 5, 9)

    Reference:
        Chen et al., "UNITER", 2020, section 3.1 (one transformer over image regions and words);
        Xiong et al., "On layer normalization in the transformer architecture", 2020, figure 1b
        (pre-norm). The name is that of Dou et al., "An empirical study of training end-to-end
        vision-and-language transformers", 2022.
    """

    combines = "features"

    def __init__(
        self,
        num_heads=8,
        num_layers=1,
        intermediate_dim=None,
        dropout=0.1,
        name=None,
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if num_layers < 1:
            raise ValueError(f"`num_layers` must be positive. Received: num_layers={num_layers}.")
        self.num_heads, self.num_layers = num_heads, num_layers
        self.intermediate_dim, self.dropout = intermediate_dim, dropout

    def build(self, features_shape, masks_shape=None):
        policy = self.dtype_policy
        hidden_dim = next(iter(features_shape.values()))[-1]
        intermediate_dim = self.intermediate_dim or 4 * hidden_dim
        shape = (None, None, hidden_dim)
        self.modality_embeddings = self.add_weight(
            shape=(len(features_shape), hidden_dim),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="modality_embeddings",
        )
        self.attention_norms, self.attentions = [], []
        self.dense_norms, self.intermediates, self.projections = [], [], []
        for number in range(self.num_layers):
            norm = layers.LayerNormalization(dtype=policy, name=f"attention_norm_{number}")
            attention = CrossAttention(
                hidden_dim, self.num_heads, self.dropout, dtype=policy, name=f"attention_{number}"
            )
            attention.build(shape, shape)
            self.attention_norms.append(norm)
            self.attentions.append(attention)
            norm = layers.LayerNormalization(dtype=policy, name=f"dense_norm_{number}")
            intermediate = layers.Dense(
                intermediate_dim, "gelu", dtype=policy, name=f"intermediate_{number}"
            )
            intermediate.build(shape)
            output = layers.Dense(hidden_dim, dtype=policy, name=f"output_{number}")
            output.build((None, None, intermediate_dim))
            self.dense_norms.append(norm)
            self.intermediates.append(intermediate)
            self.projections.append(output)
        self.norm = layers.LayerNormalization(dtype=policy, name="norm")
        for norm in (*self.attention_norms, *self.dense_norms, self.norm):
            norm.build(shape)
        self.dropout_layer = layers.Dropout(self.dropout, dtype=policy)

    def call(self, features, masks, training=None):
        modalities = sorted(features)
        embeddings = ops.cast(self.modality_embeddings, self.compute_dtype)
        tokens = [features[m] + embeddings[i] for i, m in enumerate(modalities)]
        tokens = ops.concatenate(tokens, axis=1)
        mask = ops.concatenate([masks[m] for m in modalities], axis=1)
        scores = []
        for number in range(self.num_layers):
            x = self.attention_norms[number](tokens)
            x, layer_scores = self.attentions[number](x, x, mask, training=training)
            tokens = tokens + self.dropout_layer(x, training=training)
            x = self.intermediates[number](self.dense_norms[number](tokens))
            x = self.projections[number](x)
            tokens = tokens + self.dropout_layer(x, training=training)
            scores.append(layer_scores)
        outputs = {"fused_features": masked_mean(self.norm(tokens), mask)}
        if len(modalities) > 1:
            lengths = {m: features[m].shape[1] for m in modalities}
            outputs["attention_scores"] = _blocks(ops.stack(scores, axis=1), lengths)
        return outputs

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "num_heads": self.num_heads,
                "num_layers": self.num_layers,
                "intermediate_dim": self.intermediate_dim,
                "dropout": self.dropout,
            }
        )
        return config


def _blocks(scores, lengths):
    """Cuts joint scores into directions."""
    ends = dict(zip(lengths, itertools.accumulate(lengths.values()), strict=True))
    parts = {m: slice(end - lengths[m], end) for m, end in ends.items()}
    return {
        f"{query}_to_{key}": scores[..., parts[query], parts[key]]
        for query, key in itertools.product(lengths, repeat=2)
    }
