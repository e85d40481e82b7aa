"""Layers in which every modality attends to every other, for the fusions made of them."""

import itertools

from keras import layers, ops

from mmlearn.fusions.weighted_fusion import WeightedFusion
from mmlearn.layers.cross_attention import CrossAttention, check_grounded_heads

_GROUNDED = "text_to_images_0"


class AttentionFusion(WeightedFusion):
    """Lets every modality's tokens attend to every other's. Base class.

    Each layer adds what a modality gathers from the others to its own tokens and normalises. What
    becomes of the result is the subclass's.

    Args:
        num_heads: int. Attention heads; must divide the hidden dimension.
        num_layers: int, 0 or more.
        dropout: float in [0, 1).
        grounded_heads: int. So many heads of the first layer's attention of words to the image are
            trained to find what the words name, by a loss that the task then has (see
            `mmlearn.losses.grounding`), and by nothing else; the other heads gather what helps to
            predict. Without images and text, there is nothing to train.
        intermediate_dim: int, the size between two dense layers that each token passes after each
            attention, or `None` for none. They tell what a token is together with what it has
            gathered, before the mean over the tokens: so regions of which something is true can be
            counted.
        head_dim: int, the size of a head, or `None` for the hidden dimension divided by `num_heads`. It
            is for fusions that have lost heads (see `mmlearn.compression.structured`).
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: when `num_layers` is negative, or `grounded_heads` is not in [0, `num_heads`].
    """

    def __init__(
        self,
        num_heads=8,
        num_layers=1,
        dropout=0.1,
        grounded_heads=0,
        intermediate_dim=None,
        head_dim=None,
        name=None,
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if num_layers < 0:
            raise ValueError(f"`num_layers` must be 0 or more. Received: num_layers={num_layers}.")
        self.num_heads, self.num_layers, self.dropout = num_heads, num_layers, dropout
        check_grounded_heads(grounded_heads, num_heads)
        self.grounded_heads, self.intermediate_dim = grounded_heads, intermediate_dim
        self.head_dim = head_dim

    def make_attention(self, hidden_dim, name):
        """Makes a layer `attention(query, value, mask)` from one modality's tokens to another's."""
        grounded_heads = self.grounded_heads if name == _GROUNDED else 0
        return CrossAttention(
            hidden_dim,
            self.num_heads,
            self.dropout,
            grounded_heads,
            self.head_dim,
            dtype=self.dtype_policy,
            name=name,
        )

    def gather(self, attention, query, value, mask, training):
        """Calls such a layer; returns what it gathered, and its scores or `None`."""
        return attention(query, value, mask, training=training)

    def build_attention(self, features_shape):
        """Makes the layers."""
        modalities = sorted(features_shape)
        hidden_dim = features_shape[modalities[0]][-1]
        self.directions = list(itertools.permutations(modalities, 2)) if self.num_layers else []
        self.attentions, self.norms = {}, {}
        self.intermediates, self.dense_outputs = {}, {}
        for number in range(self.num_layers):
            for query, key in self.directions:
                name = f"{query}_to_{key}_{number}"
                self.attentions[name] = self.make_attention(hidden_dim, name)
                self.attentions[name].build(features_shape[query], features_shape[key])
            for modality in modalities if self.directions else ():
                self._build_norm(f"{modality}_norm_{number}", hidden_dim)
                if self.intermediate_dim is not None:
                    self._build_dense(f"{modality}_{number}", hidden_dim)
        self.dropout_layer = layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def _build_norm(self, name, hidden_dim):
        self.norms[name] = layers.LayerNormalization(dtype=self.dtype_policy, name=name)
        self.norms[name].build((None, None, hidden_dim))

    def _build_dense(self, name, hidden_dim):
        policy, intermediate_dim = self.dtype_policy, self.intermediate_dim
        self.intermediates[name] = layers.Dense(
            intermediate_dim, "gelu", dtype=policy, name=f"intermediate_{name}"
        )
        self.intermediates[name].build((None, None, hidden_dim))
        self.dense_outputs[name] = layers.Dense(hidden_dim, dtype=policy, name=f"output_{name}")
        self.dense_outputs[name].build((None, None, intermediate_dim))
        self._build_norm(f"{name}_dense_norm", hidden_dim)

    @property
    def grounded_attention(self):
        """The `CrossAttention` whose words are trained to find what they name, or `None`."""
        return self.attentions.get(_GROUNDED) if self.grounded_heads else None

    def attend(self, features, masks, training=None):
        """Runs the layers.

        Returns:
            The tokens by modality, and a dict that holds `attention_scores`, if there are any.
        """
        features = dict(features)
        scores = {f"{query}_to_{key}": [] for query, key in self.directions}
        for number in range(self.num_layers if self.directions else 0):
            gathered = {modality: [] for modality in features}
            for query, key in self.directions:
                attended, layer_scores = self.gather(
                    self.attentions[f"{query}_to_{key}_{number}"],
                    features[query],
                    features[key],
                    masks[key],
                    training,
                )
                gathered[query].append(self.dropout_layer(attended, training=training))
                scores[f"{query}_to_{key}"].append(layer_scores)
            features = {
                modality: self.norms[f"{modality}_norm_{number}"](sum(gathered[modality], tokens))
                for modality, tokens in features.items()
            }
            if self.intermediate_dim is not None:
                features = {
                    modality: self._pass_dense(f"{modality}_{number}", tokens, training)
                    for modality, tokens in features.items()
                }
        found = {k: ops.stack(v, axis=1) for k, v in scores.items() if v[0] is not None}
        return features, {"attention_scores": found} if found else {}

    def _pass_dense(self, name, tokens, training):
        added = self.dense_outputs[name](self.intermediates[name](tokens))
        added = self.dropout_layer(added, training=training)
        return self.norms[f"{name}_dense_norm"](tokens + added)

    def get_config(self):
        config = super().get_config()
        if self.intermediate_dim is not None:  # of older configs there is none
            config["intermediate_dim"] = self.intermediate_dim
        if self.head_dim is not None:
            config["head_dim"] = self.head_dim
        config.update(
            {
                "num_heads": self.num_heads,
                "num_layers": self.num_layers,
                "dropout": self.dropout,
                "grounded_heads": self.grounded_heads,
            }
        )
        return config
