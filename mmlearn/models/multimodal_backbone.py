"""Encoders + fusion: one functional multi-input model with two public halves."""

import keras
import keras_hub
from keras import layers, ops

from mmlearn import encoders as encoder_registry
from mmlearn import fusions
from mmlearn.fusions.fusion import weights_of_present, what_is_combined
from mmlearn.layers.missing_token import MissingToken
from mmlearn.layers.modality_dropout import ModalityDropout
from mmlearn.models.presets import CheckedPreset

# Of small steps, 16 bits make no faster ones: an LSTM took three times as long in bfloat16 on a CPU.
_RECURRENT = (layers.RNN, layers.Bidirectional, layers.LSTMCell, layers.GRUCell)


@keras.saving.register_keras_serializable(package="mmlearn")
class MultimodalBackbone(CheckedPreset, keras_hub.models.Backbone):
    """Joins the encoders of several modalities through a fusion.

    The functional inputs are those that each encoder names (`images`; `token_ids`, `segment_ids`,
    `padding_mask`) and an int32 `"{modality}_present" (batch_size,)` per modality. The outputs are
    those of the fusion, `fused_features` among them, and the dicts `features` and `masks` of the
    encoders' raw results. Without a fusion, for tasks that join the modalities themselves, these two are
    all, and the mask of an absent modality is `False` throughout.

    Args:
        encoders: dict of modality to encoder, one or more (see `mmlearn.encoders.encoder`).
        fusion: a fusion (see `mmlearn.fusions.fusion`), or `None`: then there are no projections, no
            missing tokens and no `fuse`, and the other arguments up to `dtype` mean nothing.
        hidden_dim: int. Size to which every modality's features are projected.
        dropout: float in [0, 1). Rate on the projected features.
        modality_dropout: float in [0, 1). Probability with which a whole modality of an example is
            replaced by its learned missing token in training; one modality always stays.
        dtype: dtype policy of all layers but recurrent ones, which compute in float32; or `None` to leave
            them as they are.
        **kwargs: of `keras.Model`.

    Example:

    >>> from mmlearn import encoders, fusions
    >>> backbone = MultimodalBackbone(
    ...     encoders={
    ...         "images": encoders.get("images", "resnet_tiny", image_size=32),
    ...         "text": encoders.get("text", "bert_tiny", sequence_length=8, vocabulary_size=100),
    ...     },
    ...     fusion=fusions.get("cross_attention", num_heads=4),
    ...     hidden_dim=32,
    ... )
    >>> backbone.output["fused_features"].shape
    (None, 32)
    """

    def __init__(
        self,
        encoders,
        fusion,
        hidden_dim=512,
        dropout=0.1,
        modality_dropout=0.1,
        dtype=None,
        _share=None,
        **kwargs,
    ):
        if not encoders:
            raise ValueError("`encoders` must hold at least one modality. Received: {}.")
        # === Layers ===
        self.encoders = {modality: encoders[modality] for modality in sorted(encoders)}
        self.fusion = fusion
        if dtype is not None and _share is None:
            for part in (*self.encoders.values(), *([] if fusion is None else [fusion])):
                for layer in part._flatten_layers():
                    layer.dtype_policy = "float32" if isinstance(layer, _RECURRENT) else dtype
        if fusion is None:
            self.projections, self.missing_tokens = {}, {}
        elif _share is not None:
            self.projections, self.missing_tokens = _share.projections, _share.missing_tokens
            self.modality_dropout_layer = _share.modality_dropout_layer
            self.dropout_layer = _share.dropout_layer
        else:
            policy = fusion.dtype_policy
            self.projections = {
                m: layers.Dense(hidden_dim, dtype=policy, name=f"{m}_projection")
                for m in self.encoders
            }
            self.missing_tokens = {
                m: MissingToken(dtype=policy, name=f"{m}_missing_token") for m in self.encoders
            }
            self.modality_dropout_layer = ModalityDropout(modality_dropout, name="modality_dropout")
            self.dropout_layer = layers.Dropout(dropout, dtype=policy, name="projection_dropout")

        # === Functional model ===
        inputs, presence = {}, {}
        for modality, encoder in self.encoders.items():
            name = f"{modality}_present"
            presence[modality] = keras.Input((), dtype="int32", name=name)
            inputs.update({**encoder.model_inputs(modality), name: presence[modality]})
        features, masks = self.encode(inputs)
        if fusion is None:
            outputs = {}
            for modality, present in presence.items():
                is_there = ops.cast(present, "bool")[:, None]
                masks[modality] = ops.logical_and(masks[modality], is_there)
        else:
            outputs = self.fuse(features, masks, presence)
        super().__init__(
            inputs=inputs,
            outputs={**outputs, "features": features, "masks": masks},
            dtype=dtype,
            **kwargs,
        )

        # === Config ===
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.modality_dropout = modality_dropout

    @classmethod
    def from_encoders(
        cls,
        images="resnet50",
        text="bert_base_en_uncased",
        fusion="cross_attention",
        **kwargs,
    ):
        """Builds the common case from names.

        Args:
            images: name or instance of the image encoder, or `None`.
            text: name or instance of the text encoder, or `None`.
            fusion: name or instance, or `None`.
            **kwargs: of the constructor.
        """
        chosen = {"images": images, "text": text}
        encoders = {m: encoder_registry.get(m, e) for m, e in chosen.items() if e is not None}
        return cls(encoders, fusion and fusions.get(fusion), **kwargs)

    @property
    def combines(self):
        """What is fused: `"features"`, and with several modalities maybe `"predictions"` or `"both"`."""
        # One modality alone has nothing to average.
        return what_is_combined(self.fusion) if len(self.encoders) > 1 else "features"

    @property
    def modalities(self):
        """The modalities in alphabetical order, the order of `modality_weights`."""
        return tuple(self.encoders)

    def encode(self, inputs, training=None):
        """Runs the encoders: the first half.

        Args:
            inputs: dict of model inputs of any subset of the modalities.
            training: bool or `None`.

        Returns:
            features `{modality: (batch_size, length, dim)}` and bool masks
            `{modality: (batch_size, length)}`.
        """
        features, masks = {}, {}
        for modality, encoder in self.encoders.items():
            names = encoder.model_inputs(modality)
            if all(name in inputs for name in names):
                mode = {"training": training} if encoder._call_has_training_arg else {}
                own = {name: inputs[name] for name in names}
                features[modality], masks[modality] = encoder(own, **mode)
        return features, masks

    def fuse(self, features, masks, presence, training=None):
        """Projects, replaces what is missing, and fuses: the second half.

        Args:
            features: dict of modality to `(batch_size, length, dim)`, all modalities.
            masks: dict of modality to bool `(batch_size, length)`.
            presence: dict of modality to int `(batch_size,)`, 1 where the modality is there.
            training: bool or `None`.

        Returns:
            The dict of the fusion. Where it combines predictions, absent modalities have weight 0, those
            that modality dropout hides in training too.

        Raises:
            ValueError: when it combines predictions and returns no weights, or there is no fusion.
        """
        if self.fusion is None:
            raise ValueError("This backbone has no fusion. Fix: pass `fusion` to its constructor.")
        present = ops.stack([ops.cast(presence[m], "bool") for m in self.encoders], axis=1)
        present = self.modality_dropout_layer(present, training=training)
        projected, known = {}, {}
        for column, modality in enumerate(self.encoders):
            tokens = self.projections[modality](features[modality])
            tokens = self.dropout_layer(tokens, training=training)
            projected[modality], known[modality] = self.missing_tokens[modality](
                tokens, masks[modality], present[:, column]
            )
        outputs = self.fusion(projected, known, training=training)
        if self.combines == "features":
            return outputs
        if "modality_weights" not in outputs:
            raise ValueError(
                f"A fusion that combines {self.combines!r} must return `modality_weights`. Received: "
                f"{sorted(outputs)} from {type(self.fusion).__name__}. Fix: return them, or "
                "combines = 'features'."
            )
        weights = weights_of_present(outputs["modality_weights"], present)
        return {**outputs, "modality_weights": weights}

    def with_encoders(self, encoders):
        """Returns a backbone with other encoders that shares `fuse` with this one.

        Args:
            encoders: dict of modality to encoder; modalities left out keep theirs. Feature sizes
                must be the same.
        """
        return type(self)(
            {m: encoders.get(m, e) for m, e in self.encoders.items()},
            self.fusion,
            hidden_dim=self.hidden_dim,
            dropout=self.dropout,
            modality_dropout=self.modality_dropout,
            dtype=self.dtype_policy,
            _share=self,
        )

    def get_config(self):
        config = super().get_config()
        # Under the name "dtype", KerasHub's preset loader would replace a mixed policy.
        config["dtype_policy"] = config.pop("dtype")
        config.update(
            {
                "encoders": {
                    m: keras.saving.serialize_keras_object(e) for m, e in self.encoders.items()
                },
                "fusion": self.fusion and keras.saving.serialize_keras_object(self.fusion),
                "hidden_dim": self.hidden_dim,
                "dropout": self.dropout,
                "modality_dropout": self.modality_dropout,
            }
        )
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["encoders"] = {
            m: keras.saving.deserialize_keras_object(e) if isinstance(e, dict) else e
            for m, e in config["encoders"].items()
        }
        if config["fusion"] is not None:
            config["fusion"] = fusions.get(config["fusion"])
        policy = config.pop("dtype_policy", None)
        if config.get("dtype") is None and policy is not None:
            config["dtype"] = keras.dtype_policies.get(policy)
        return super().from_config(config)
