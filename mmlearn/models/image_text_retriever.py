"""Finds images by texts and texts by images: two embeddings, and a head that compares closely."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from data_prep.names import find
from mmlearn.layers.masked_max import masked_max
from mmlearn.layers.masked_mean import masked_mean
from mmlearn.losses.contrastive import (
    image_text_contrast,
    image_text_sigmoid,
    image_text_triplet,
)
from mmlearn.models import gradient_cache, retriever_signatures, steps
from mmlearn.models.batch_contrast import FIRST_TEMPERATURE, BatchContrast
from mmlearn.models.compiled import compile_function
from mmlearn.models.mismatched_pairs import MismatchedPairs
from mmlearn.models.task import MultimodalTask

MODALITIES = ("images", "text")
POOLINGS = {"mean": masked_mean, "max": masked_max}
CONTRASTS = {  # name: loss, and how it begins
    "info_nce": (image_text_contrast, {"scale": 1 / FIRST_TEMPERATURE, "learns_scale": True}),
    # The first values are those of Zhai et al. (2023), section 4.2.
    "sigmoid": (image_text_sigmoid, {"scale": 10.0, "learns_scale": True, "bias": -10.0}),
    "triplet": (image_text_triplet, {"scale": 1.0}),
}
LOSS_WEIGHTS = {"contrast": 1.0, "matching": 1.0}
_OF_OTHER_TASKS = (
    "main",
    "auxiliary",
    "consistency",
    "grounding",
)  # a phase weighs these by default


@keras.saving.register_keras_serializable(package="mmlearn")
class ImageTextRetriever(MultimodalTask):
    """Embeds images and texts apart, so that millions can be searched, and re-ranks a few together.

    An embedding is what an encoder's features say after a projection, pooled and L2-normalised: the
    cosine of two is how well they match. It never sees the other modality. The match score does: it is
    read from the fused features of an image and a text, costs a pass of the fusion per pair, and orders
    the best few again.

    Outputs: `match (batch_size,)`, the probability that image and text of a row are a pair;
    `image_embedding` and `text_embedding (batch_size, embedding_dim)`; and what training makes small,
    each `(batch_size,)`: `contrast`, how hard it is to find the one by the other in the batch of all
    replicas, and `matching`, the cross-entropy of the match on the pair and on two mismatched ones, which
    are drawn among what looks alike. Examples of one `group`, such as captions of one photo, are never
    taken for mismatched.

    Args:
        backbone: `MultimodalBackbone` of images and text.
        preprocessor: `MultimodalPreprocessor`, or `None` for model inputs only.
        embedding_dim: int.
        projection_dim: int. Hidden layer through which each region and each word goes before it is
            projected, or `None` for none. Without, a mean forgets what is where.
        pooling: `"mean"` or `"max"` over regions and over words.
        loss: `"info_nce"` (softmax over the batch, learned temperature), `"sigmoid"` (each pair by
            itself, learned temperature and bias) or `"triplet"` (the hardest negative, margin 0.2).
        hidden_dim: int. Hidden layer of the match.
        dropout: float in [0, 1). Rate on features before they are projected, and in the match.
        _share: a task whose heads are used.
        **kwargs: of `keras.Model`.

    Raises:
        ValueError: when the backbone has other modalities, or a name is unknown.

    Example:

    >>> import numpy as np
    >>> from mmlearn import MultimodalBackbone, MultimodalPreprocessor, encoders, fusions
    >>> texts = ["a red dog", "a cat", "a red cat", "a dog"]
    >>> tokenizer = encoders.text_tokenizers.train_tokenizer(texts)
    >>> retriever = ImageTextRetriever(
    ...     MultimodalBackbone(
    ...         {
    ...             "images": encoders.get("images", "resnet_tiny", image_size=32),
    ...             "text": encoders.get(
    ...                 "text",
    ...                 "bert_tiny",
    ...                 sequence_length=8,
    ...                 vocabulary_size=tokenizer.vocabulary_size(),
    ...             ),
    ...         },
    ...         fusions.get("cross_attention", num_heads=4),
    ...         hidden_dim=32,
    ...     ),
    ...     MultimodalPreprocessor(
    ...         {
    ...             "images": encoders.ImageConverter(image_size=32),
    ...             "text": encoders.TextConverter(tokenizer, sequence_length=8),
    ...         }
    ...     ),
    ... )
    >>> images = np.zeros((4, 40, 50, 3), "uint8")
    >>> history = retriever.fit({"images": images, "text": texts, "group": [0, 1, 1, 2]}, verbose=0)
    >>> retriever.embed({"text": ["a dog"]}).shape, retriever.predict(
    ...     {"images": images, "text": texts}, verbose=0
    ... ).shape
    ((1, 128), (4,))
    """

    main_output = "match"

    def __init__(
        self,
        backbone,
        preprocessor=None,
        embedding_dim=128,
        projection_dim=None,
        pooling="mean",
        loss="info_nce",
        hidden_dim=256,
        dropout=0.1,
        _share=None,
        **kwargs,
    ):
        # === Config === (before the model, whose constructor compiles)
        if backbone.modalities != MODALITIES:
            raise ValueError(
                "A retriever needs images and text, and no other modality. Received: a backbone of "
                f"{', '.join(backbone.modalities)}. Fix: --model.modalities images text."
            )
        if preprocessor is not None and not preprocessor.with_group:
            preprocessor = type(preprocessor)(preprocessor.converters, with_group=True)
        self.backbone, self.preprocessor = backbone, preprocessor
        self.embedding_dim = embedding_dim
        self.projection_dim = projection_dim
        find(pooling, POOLINGS, "pooling")
        find(loss, CONTRASTS, "contrastive loss")
        self.pooling, self.loss_name = pooling, loss
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self._explained = {}
        self._functions = {}

        # === Layers ===
        self.heads = self._make_heads() if _share is None else _share.heads

        # === Functional model ===
        inputs = {**backbone.input, "group": keras.Input((), dtype="int64", name="group")}
        outputs = self._predict_all(inputs, backbone(backbone.input))
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

    def _make_heads(self):
        heads = {}
        for m in MODALITIES:
            heads[f"{m}_dropout"] = layers.Dropout(self.dropout, name=f"{m}_head_dropout")
            if self.projection_dim is not None:
                heads[f"{m}_projection"] = layers.Dense(
                    self.projection_dim, "relu", dtype="float32", name=f"{m}_head_projection"
                )
            heads[f"{m}_embedding"] = layers.Dense(
                self.embedding_dim, use_bias=False, dtype="float32", name=f"{m}_embedding"
            )
        function, options = CONTRASTS[self.loss_name]
        return {
            **heads,
            "match_dropout": layers.Dropout(self.dropout, name="match_dropout"),
            "contrast": BatchContrast(function, name="contrast", **options),
            "mismatched": MismatchedPairs(name="mismatched_pairs"),
            "hidden": layers.Dense(self.hidden_dim, "relu", dtype="float32", name="match_hidden"),
            "match": layers.Dense(1, dtype="float32", name="match_output"),
        }

    @property
    def parts(self):
        """What a training phase can freeze: the fusion and `"match"` re-rank, `"head"` embeds."""
        parts = super().parts
        parts["match"] = [self.heads[name] for name in ("hidden", "match")]
        parts["head"] = [layer for layer in parts["head"] if layer not in parts["match"]]
        return parts

    # --- Embeddings and the match ------------------------------------------------------------

    def embed_features(self, features, masks, training=None):
        """Pools what the encoders return.

        Args:
            features: dict of modality to `(batch_size, length, dim)`, any of the two.
            masks: dict of modality to bool `(batch_size, length)`.
            training: bool or `None`.

        Returns:
            A dict of modality to float32 `(batch_size, embedding_dim)`, L2-normalised; zeros where
            nothing is there.
        """
        embeddings = {}
        for modality, values in features.items():
            tokens = self.heads[f"{modality}_dropout"](values, training=training)
            if self.projection_dim is not None:
                tokens = self.heads[f"{modality}_projection"](tokens)
            embed, pool = self.heads[f"{modality}_embedding"], POOLINGS[self.pooling]
            if self.pooling == "mean":  # of what is linear, the same, and once instead of per token
                pooled = embed(pool(tokens, masks[modality]))
            else:
                pooled = pool(embed(tokens), masks[modality])
            embeddings[modality] = ops.normalize(pooled, axis=-1)
        return embeddings

    def match_features(self, features, masks, presence, training=None):
        """Fuses pairs of what the encoders return, and says how well they match.

        Args:
            features: dict of modality to `(batch_size, length, dim)`.
            masks: dict of modality to bool `(batch_size, length)`.
            presence: dict of modality to int `(batch_size,)`.
            training: bool or `None`.

        Returns:
            float32 `(batch_size,)`, the logit of the probability that they are a pair.
        """
        return self._match(self.backbone.fuse(features, masks, presence, training), training)

    def _match(self, fused, training=None):
        hidden = self.heads["hidden"](fused["fused_features"])
        return self.heads["match"](self.heads["match_dropout"](hidden, training=training))[:, 0]

    def _predict_all(self, inputs, encoded):
        features, masks = encoded["features"], encoded["masks"]
        presence = {m: inputs[f"{m}_present"] for m in MODALITIES}
        both = ops.logical_and(*(ops.cast(presence[m], "bool") for m in MODALITIES))
        embeddings = self.embed_features(features, masks)
        pair = (embeddings["images"], embeddings["text"], inputs["group"], both)
        texts, images, is_there = self.heads["mismatched"](*pair)
        # The text of another image for each image, then the image of another text for each text.
        rows = {"images": images, "text": texts}
        mismatched = [{}, {}, {}]
        for values, own in zip(mismatched, (features, masks, presence), strict=True):
            values["text"] = ops.concatenate(
                [ops.take(own["text"], rows["text"], axis=0), own["text"]]
            )
            values["images"] = ops.concatenate(
                [own["images"], ops.take(own["images"], rows["images"], axis=0)]
            )
        logit = self._match(encoded)
        wrong = ops.split(ops.softplus(self.match_features(*mismatched)), 2)
        matching = ops.softplus(-logit) + is_there * (wrong[0] + wrong[1]) / 2
        return {
            "match": ops.sigmoid(logit),
            "image_embedding": embeddings["images"],
            "text_embedding": embeddings["text"],
            "contrast": self.heads["contrast"](*pair),
            "matching": matching / 2,
        }

    def embed(self, x, batch_size=32):
        """Embeds images or texts, or both, each by itself.

        Args:
            x: dict of raw values of any of the two modalities, see `MultimodalPreprocessor.read_raw`.
            batch_size: int.

        Returns:
            float32 array `(num_examples, embedding_dim)`, zeros where an example is empty; of both
            modalities, a dict of these.
        """
        found = {modality: [] for modality in x if modality != "group"}
        for batch in self._raw_dataset(x, batch_size=batch_size):
            for modality, parts in found.items():
                inputs = self.preprocessor.converters[modality].convert(batch[modality], modality)
                parts.append(np.asarray(self.encode_inputs(inputs, modality)["embedding"]))
        found = {modality: np.concatenate(parts) for modality, parts in found.items()}
        return found if len(found) > 1 else next(iter(found.values()))

    def encode_inputs(self, inputs, modality):
        """Encodes and embeds a batch of model inputs of one modality.

        Args:
            inputs: dict of model inputs; others are left out.
            modality: `"images"` or `"text"`.

        Returns:
            A dict of `embedding (batch_size, embedding_dim)`, and the encoder's `features (batch_size,
            length, dim)` and bool `mask (batch_size, length)`.
        """
        names = self.backbone.encoders[modality].model_inputs(modality)
        return self._compile(modality)({name: inputs[name] for name in names})

    def match_encoded(self, images, texts):
        """Matches images and texts, row by row, by what `encode_inputs` returned of them.

        Args:
            images: tuple of `features` and `mask` of images.
            texts: likewise, of as many texts.

        Returns:
            float32 `(batch_size,)`, logits.
        """
        return self._compile("match")(images, texts)

    def _compile(self, what):
        if what not in self._functions:
            function = (
                self._match_pairs if what == "match" else functools.partial(self._encode, what)
            )
            self._functions[what] = compile_function(function, self)
        return self._functions[what]

    def _encode(self, modality, inputs):
        features, masks = self.backbone.encode(inputs, training=False)
        embeddings = self.embed_features(features, masks, training=False)
        return {
            "embedding": embeddings[modality],
            "features": features[modality],
            "mask": masks[modality],
        }

    def _match_pairs(self, images, texts):
        features, masks = ({"images": i, "text": t} for i, t in zip(images, texts, strict=True))
        presence = dict.fromkeys(MODALITIES, ops.ones_like(features["text"][:, 0, 0], "int32"))
        return self.match_features(features, masks, presence, training=False)

    # --- Training ----------------------------------------------------------------------------

    def preprocess_samples(self, x, y=None, sample_weight=None):
        """Labels are left out: what belongs together is all that there is to learn."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(super().preprocess_samples(x))
        targets = dict.fromkeys(self.output, tf.zeros_like(x["group"], tf.float32))
        return x, targets, self._output_weights(x, sample_weight)

    def needed(self, output):
        """Both modalities: half a pair teaches nothing."""
        return MODALITIES

    def with_backbone(self, backbone):
        """Returns a task on another backbone that shares the heads with this one.

        Args:
            backbone: `MultimodalBackbone` with the same feature sizes. It takes model inputs only.
        """
        return type(self)(backbone, preprocessor=None, _share=self, **self._own_config())

    def losses_named(self, name="auto", label_smoothing=0.0):
        """The losses that a phase compiles with; the constructor says which these are."""
        return {"contrast": _as_computed, "matching": _as_computed}

    def compile(
        self,
        optimizer="auto",
        loss="auto",
        *,
        loss_weights="auto",
        metrics=None,
        jit_compile="auto",
        micro_batches=1,
        learn_loss_weights=False,
        **kwargs,
    ):
        """Compiles with defaults: AdamW at 1e-4, and both losses.

        Args:
            optimizer: as in Keras, or `"auto"`.
            loss: dict of output name to loss, or `"auto"`, see `losses_named`.
            loss_weights: dict of `"contrast"` and `"matching"` to float, where `"main"` stands for both;
                or `"auto"`, 1 each. One without a weight is not computed.
            metrics: as in Keras.
            jit_compile: bool, or `"auto"`: with JAX.
            micro_batches: int. Parts into which a batch is divided to save memory; examples are still
                compared with the whole batch, see `mmlearn.models.gradient_cache`. TensorFlow only.
            learn_loss_weights: bool. There are none to learn.
            **kwargs: of `keras.Model.compile`.
        """
        self.learn_loss_weights(learn_loss_weights)
        steps.check_micro_batches(micro_batches)
        self.micro_batches = micro_batches
        if jit_compile == "auto":
            jit_compile = keras.config.backend() == "jax"
        if optimizer == "auto":
            optimizer = keras.optimizers.AdamW(1e-4, weight_decay=1e-2)
        self.own_loss_weights = _expand(LOSS_WEIGHTS if loss_weights == "auto" else loss_weights)
        loss = self.losses_named() if loss == "auto" else loss
        super().compile(
            optimizer=optimizer,
            loss={name: loss[name] for name in self.own_loss_weights},
            loss_weights=self.own_loss_weights,
            metrics=metrics,
            jit_compile=jit_compile,
            **kwargs,
        )

    def train_step(self, *args):
        """One step of `fit`; in parts, the embeddings of the whole batch come first."""
        if self.micro_batches > 1 and "contrast" in self.own_loss_weights:
            return gradient_cache.train_step(self, *args)
        return super().train_step(*args)

    # --- Saving ------------------------------------------------------------------------------

    def signatures(self):
        """What `export` writes, see `mmlearn.models.retriever_signatures`."""
        return retriever_signatures.signatures(self)

    def _own_config(self):
        names = ("embedding_dim", "projection_dim", "pooling", "hidden_dim", "dropout")
        return {**{name: getattr(self, name) for name in names}, "loss": self.loss_name}

    def get_config(self):
        return {**super().get_config(), **self._own_config()}


def _expand(loss_weights):
    for name in loss_weights:
        find(name, (*LOSS_WEIGHTS, *_OF_OTHER_TASKS), "output with a loss weight")
    main = loss_weights.get("main", 0.0)
    weights = {name: loss_weights.get(name, main) for name in LOSS_WEIGHTS}
    return {name: weight for name, weight in weights.items() if weight}


@keras.saving.register_keras_serializable("mmlearn")
def _as_computed(y_true, y_pred):
    return y_pred
