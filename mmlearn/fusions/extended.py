"""A fusion that was trained without a modality, and takes it from now on."""

import math

import keras
from keras import layers, ops

from mmlearn.fusions.fusion import what_is_averaged, what_is_combined
from mmlearn.layers.cross_attention import CrossAttention
from mmlearn.layers.gates import ShareGate, TanhGate, add_share
from mmlearn.layers.masked_mean import masked_mean


@keras.saving.register_keras_serializable(package="mmlearn")
class ExtendedFusion(layers.Layer):
    """Runs a fusion on the modalities that it knows, and adds what another one contributes.

    The fused features F gather from the tokens X of the added modality through a gate:
    F + tanh(alpha) Attention(F, X), where alpha is 0 at first. So the result is exactly that of the
    fusion until training opens the gate. It works with every fusion, your own included.

    `modality_weights`, if the fusion has them, sum to 1 again: the added modality gets the share
    |tanh(alpha)| / (1 + |tanh(alpha)|), what it has in that sum. Where predictions are combined, its
    share is a learned function of its pooled tokens instead, exactly 0 at first; and where they alone
    are, `fused_features` stay those of the fusion. Attention scores are those of the fusion.

    Made by `MultimodalTask.with_modality`; it can be extended again.

    Args:
        fusion: a fusion of the other modalities.
        modality: str. The added one.
        num_heads: int. Heads of the attention, as far as they divide the size of the fused features.
        dropout: float in [0, 1). Rate of the attention scores.
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Attributes:
        combines: as that of the fusion; `"features"` where it has one modality, of whose prediction
            there is no other.
        added_layers: list of the layers that are not the fusion's.

    Example:

    >>> import numpy as np
    >>> from mmlearn.fusions.concat import ConcatFusion
    >>> features = {m: np.random.normal(size=(2, 5, 8)) for m in ("images", "series", "text")}
    >>> masks = {m: np.ones((2, 5), bool) for m in features}
    >>> known = ConcatFusion()
    >>> extended = ExtendedFusion(known, "series")
    >>> fused = extended(features, masks)["fused_features"]
    >>> before = known({m: features[m] for m in ("images", "text")}, masks)["fused_features"]
    >>> bool((np.asarray(fused) == np.asarray(before)).all())
    True

    Reference:
        Alayrac et al., "Flamingo", 2022, section 2.2, where gates do this to a frozen language model.
    """

    def __init__(self, fusion, modality, num_heads=8, dropout=0.0, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.fusion, self.modality = fusion, modality
        self.num_heads, self.dropout = num_heads, dropout

    def build(self, features_shape, masks_shape):
        policy = self.dtype_policy
        known = self._known(features_shape)
        # What a fusion returns is not known before it is called.
        outputs = self.fusion(
            {m: keras.KerasTensor(shape, self.compute_dtype) for m, shape in known.items()},
            {m: keras.KerasTensor(masks_shape[m], "bool") for m in known},
        )
        self.combines = what_is_combined(self.fusion) if len(known) > 1 else "features"
        # === Layers ===
        self.attention = self.gate = self.share = None
        if self.combines != "predictions":
            fused_shape = outputs["fused_features"].shape
            self.attention = CrossAttention(
                fused_shape[-1],
                math.gcd(self.num_heads, fused_shape[-1]),
                self.dropout,
                dtype=policy,
                name="attention",
            )
            self.attention.build((None, 1, fused_shape[-1]), features_shape[self.modality])
            self.gate = TanhGate(dtype=policy, name="gate")
            self.gate.build(fused_shape)
        if self.combines != "features":
            self.share = ShareGate(dtype=policy, name="share")
            pooled_shape = (None, features_shape[self.modality][-1])
            self.share.build(outputs["modality_weights"].shape, pooled_shape)

    @property
    def average(self):
        """What is averaged where predictions are combined: as the fusion does."""
        return what_is_averaged(self.fusion)

    @property
    def added_layers(self):
        return [layer for layer in (self.attention, self.gate, self.share) if layer is not None]

    def call(self, features, masks, training=None):
        known, modality = self._known(features), self.modality
        outputs = dict(self.fusion(known, self._known(masks), training=training))
        if self.attention is not None:
            fused = outputs["fused_features"]
            attended, _ = self.attention(
                fused[:, None], features[modality], masks[modality], training=training
            )
            outputs["fused_features"] = fused + self.gate(attended[:, 0])
        if "modality_weights" in outputs:
            pooled = masked_mean(features[modality], masks[modality])
            weights = self._share(outputs["modality_weights"], pooled)
            # The share is the last one; modalities are in alphabetical order.
            place = sorted(features).index(modality)
            order = [*range(place), len(known), *range(place, len(known))]
            outputs["modality_weights"] = ops.take(weights, order, axis=1)
        return outputs

    def _known(self, values):
        return {m: value for m, value in values.items() if m != self.modality}

    def _share(self, weights, pooled):
        if self.share is not None:
            return self.share(weights, pooled)
        opened = ops.cast(ops.abs(ops.tanh(self.gate.alpha)), weights.dtype)
        return add_share(weights, opened / (1 + opened))

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "fusion": keras.saving.serialize_keras_object(self.fusion),
                "modality": self.modality,
                "num_heads": self.num_heads,
                "dropout": self.dropout,
            }
        )
        return config

    @classmethod
    def from_config(cls, config):
        fusion = keras.saving.deserialize_keras_object(config["fusion"])
        return cls(**{**config, "fusion": fusion})
