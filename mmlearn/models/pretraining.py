"""What trains the encoders of a task without labels: a shared backbone, heads that are thrown away."""

import math

import keras
import keras_hub
import tensorflow as tf
from keras import ops

from mmlearn.layers.masked_mean import masked_mean
from mmlearn.layers.text_decoder import TextDecoder
from mmlearn.layers.token_masking import TokenMasking
from mmlearn.losses.contrastive import image_text_contrast, view_contrast
from mmlearn.models.batch_contrast import BatchContrast
from mmlearn.models.task import MultimodalTask

DECODER_DIM = 128  # of what guesses words
VIEW_DIM = 128  # of the embeddings in which two views are compared
VIEW_TEMPERATURE = 0.1


class PretrainingTask(MultimodalTask):
    """Base class of the tasks of objectives without labels.

    It shares the encoders of a task, so that training it trains them, and has heads of its own, which
    always learn. The one output, `objective (batch_size,)`, is the loss of each example. The model
    inputs come from `mmlearn.training.objectives`.

    Args:
        task: a task with a preprocessor.
        inputs: dict of `keras.Input`.
        losses: KerasTensor `(batch_size,)`.
        heads: dict of name to layer.
    """

    main_output = "objective"
    modalities = ()  # that an example must have
    trained = None  # those whose encoders learn, by default all of these

    def __init__(self, task, inputs, losses, heads):
        # === Layers ===
        self.backbone, self.preprocessor = task.backbone, None
        self.heads = heads

        # === Functional model ===
        super().__init__(inputs=inputs, outputs={self.main_output: losses}, compile=False)

    @property
    def parts(self):
        """What a training phase can freeze; the head comes first, which may hold what is shared."""
        trained = self.trained or self.modalities
        encoders = {f"{m}_encoder": [self.backbone.encoders[m]] for m in trained}
        return {"head": list(self.heads.values()), **encoders}

    def set_trainable(self, names, blocks=0):
        """Makes these parts and the head trainable; see `MultimodalTask.set_trainable`."""
        super().set_trainable((*names, "head"), blocks)
        for modality, encoder in self.backbone.encoders.items():
            if modality not in (self.trained or self.modalities):
                encoder.trainable = False

    def preprocess_samples(self, x, y=None, sample_weight=None):
        """Leaves labels and their weights out; an example without the modalities weighs nothing."""
        presence = [tf.cast(x[f"{m}_present"], "float32") for m in self.modalities]
        weight = tf.reduce_prod(tf.stack(presence), axis=0)
        x = {name: x[name] for name in self.input}
        return x, {self.main_output: tf.zeros_like(weight)}, {self.main_output: weight}

    def compile(self, optimizer, micro_batches=1):
        """Compiles with the mean of the output as the loss.

        Args:
            optimizer: as in Keras.
            micro_batches: int. Parts into which a batch is divided to save memory.
        """
        self.micro_batches = micro_batches
        jit_compile = keras.config.backend() == "jax"
        super().compile(
            optimizer=optimizer, loss={self.main_output: _as_computed}, jit_compile=jit_compile
        )


class MaskedLanguageTask(PretrainingTask):
    """Guesses hidden tokens of texts from the text encoder's features of the others.

    Model inputs: those of the text encoder, and `text_draws (batch_size, length, 3)`, one per token. The
    loss of an example is the mean cross-entropy of its hidden tokens.

    Args:
        task: a task with a preprocessor and an encoder of text that reads `token_ids`.
        seed: int. Of the head's first weights.
    """

    modalities = ("text",)

    def __init__(self, task, seed):
        # === Layers ===
        encoder = task.backbone.encoders["text"]
        tokenizer = task.preprocessor.converters["text"].tokenizer
        special = (tokenizer.start_token_id, tokenizer.end_token_id, tokenizer.pad_token_id)
        masking = TokenMasking(
            tokenizer.mask_token_id,
            tokenizer.vocabulary_size(),
            special,
            dtype="float32",
            name="token_masking",
        )
        embeddings = [
            layer
            for layer in encoder._flatten_layers()
            if isinstance(layer, keras.layers.ReversibleEmbedding)
        ]
        head = keras_hub.layers.MaskedLMHead(
            vocabulary_size=tokenizer.vocabulary_size(),
            # As in BERT, tokens are told apart by what they are embedded as.
            token_embedding=embeddings[0] if embeddings else None,
            intermediate_activation="gelu",
            layer_norm_epsilon=1e-12,
            kernel_initializer=_seeded(seed),
            dtype="float32",
            name="masked_language_head",
        )

        # === Functional model ===
        inputs = encoder.model_inputs("text")
        token_ids = inputs["token_ids"]
        draws = keras.Input((token_ids.shape[1], 3), name="text_draws")
        masked, places, is_chosen = masking(token_ids, draws)
        features, _ = encoder({**inputs, "token_ids": masked})
        logits = head(features, places)
        targets = ops.take_along_axis(token_ids, places, axis=1)
        losses = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        losses = masked_mean(losses[..., None], is_chosen)[:, 0]
        super().__init__(task, {**inputs, "text_draws": draws}, losses, {"masked_language": head})


class ImageTextContrastTask(PretrainingTask):
    """Finds the text of each image of a batch, and the image of each text, by their embeddings.

    Model inputs: those of both encoders, their presence, and int64 `pair (batch_size, 2)`: a number of
    the example that is unique in the batch, and its group. Other texts of the same image are no
    negatives.

    Args:
        task: a task with encoders of images and text.
        seed: int. Of the heads' first weights.
    """

    modalities = ("images", "text")

    def __init__(self, task, seed):
        # === Layers ===
        backbone = task.backbone
        heads = {
            m: keras.layers.Dense(
                backbone.hidden_dim,
                use_bias=False,
                kernel_initializer=_seeded(seed),
                dtype="float32",
                name=f"{m}_embedding",
            )
            for m in self.modalities
        }
        contrast = BatchContrast(image_text_contrast, learns_scale=True, name="image_text_contrast")

        # === Functional model ===
        inputs = {"pair": keras.Input((2,), dtype="int64", name="pair")}
        embeddings, present = [], []
        for modality in self.modalities:
            encoder, name = backbone.encoders[modality], f"{modality}_present"
            own = encoder.model_inputs(modality)
            inputs.update({**own, name: keras.Input((), dtype="int32", name=name)})
            embeddings.append(_normalize(heads[modality](masked_mean(*encoder(own)))))
            present.append(ops.cast(inputs[name], "bool"))
        losses = contrast(*embeddings, inputs["pair"], ops.logical_and(*present))
        super().__init__(task, inputs, losses, {**heads, "contrast": contrast})


class CaptioningTask(PretrainingTask):
    """Guesses each token of a text from those before it and from the image: words say what to see.

    Model inputs: those of the image encoder, `images_present`, `token_ids` and `padding_mask`, both
    `(batch_size, length)`. The loss of an example is the mean cross-entropy of its tokens. The text encoder
    has no part in it.

    Args:
        task: a task with a preprocessor, an encoder of images, and one of text that reads `token_ids`.
        seed: int. Of the head's first weights.

    Reference:
        Desai and Johnson 2021, "VirTex: learning visual representations from textual annotations".
    """

    modalities = ("images", "text")
    trained = ("images",)

    def __init__(self, task, seed):
        # === Layers ===
        backbone = task.backbone
        encoder = backbone.encoders["images"]
        images, inputs = _images_and_tokens(backbone)
        length = inputs["token_ids"].shape[1]
        decoder = TextDecoder(
            task.preprocessor.converters["text"].tokenizer.vocabulary_size(),
            length,
            hidden_dim=DECODER_DIM,
            num_layers=1,
            num_heads=4,
            dtype=backbone.dtype_policy,
            name="captioning_decoder",
        )

        # === Functional model ===
        features, mask = encoder(images)
        logits, _ = decoder(inputs["token_ids"][:, :-1], features, mask)
        # Not of the global generator, see `_seeded`.
        for number, weight in enumerate(decoder.trainable_variables):
            if len(weight.shape) > 1:
                weight.assign(_seeded(seed + number)(weight.shape))
        losses = keras.losses.sparse_categorical_crossentropy(
            inputs["token_ids"][:, 1:], logits, from_logits=True
        )
        is_real = ops.cast(inputs["padding_mask"][:, 1:], "bool")
        losses = masked_mean(losses[..., None], is_real)[:, 0]
        super().__init__(task, inputs, losses, {"captioning": decoder})


class CaptionWordsTask(PretrainingTask):
    """Guesses from an image which tokens its text has, whatever their order.

    Model inputs: those of the image encoder, `images_present`, `token_ids` and `padding_mask`, both
    `(batch_size, length)`. The loss of an example is the mean of its tokens' negative log-likelihoods
    under one softmax over the vocabulary. The text encoder has no part in it.

    Args:
        task: a task with a preprocessor, an encoder of images, and one of text that reads `token_ids`.
        seed: int. Of the head's first weights.

    Reference:
        Joulin et al. 2016, "Learning visual features from large weakly supervised data", equation 2.
    """

    modalities = ("images", "text")
    trained = ("images",)

    def __init__(self, task, seed):
        # === Layers ===
        encoder = task.backbone.encoders["images"]
        head = keras.layers.Dense(
            task.preprocessor.converters["text"].tokenizer.vocabulary_size(),
            kernel_initializer=_seeded(seed),
            dtype="float32",
            name="caption_words",
        )

        # === Functional model ===
        images, inputs = _images_and_tokens(task.backbone)
        likelihoods = ops.log_softmax(head(masked_mean(*encoder(images))))
        own = ops.take_along_axis(likelihoods, inputs["token_ids"], axis=1)
        is_real = ops.cast(inputs["padding_mask"], "bool")
        losses = -masked_mean(own[..., None], is_real)[:, 0]
        super().__init__(task, inputs, losses, {"caption_words": head})


class CaptionCountsTask(PretrainingTask):
    """Guesses from an image how often each token occurs in its text: what regions say adds up.

    Each region has a rate of each token of the vocabulary, not negative, and how often the text has the
    token is drawn from a Poisson distribution whose rate is their sum. So a region learns to answer for
    what it shows and for nothing else, and two objects count twice. The model inputs are those of
    `CaptionWordsTask`. The loss of an example is the negative log-likelihood of its counts, up to a
    constant, divided by the number of its tokens.

    It takes `num_regions` times the work and memory of `CaptionWordsTask`: for small vocabularies.

    Args:
        task: a task with a preprocessor, an encoder of images, and one of text that reads `token_ids`.
        seed: int. Of the head's first weights.

    Reference:
        Lempitsky and Zisserman 2010, "Learning to count objects in images" (densities that add up to
        counts); Fang et al. 2015, "From captions to visual concepts and back", section 3 (words of regions
        learned from whole captions).
    """

    modalities = ("images", "text")
    trained = ("images",)

    def __init__(self, task, seed):
        # === Layers ===
        encoder = task.backbone.encoders["images"]
        num_tokens = task.preprocessor.converters["text"].tokenizer.vocabulary_size()
        images, inputs = _images_and_tokens(task.backbone)
        length = inputs["token_ids"].shape[1]
        num_regions = task.backbone.output["features"]["images"].shape[1]
        head = keras.layers.Dense(
            num_tokens,
            "softplus",
            kernel_initializer=_seeded(seed),
            # At first, all rates together make a text.
            bias_initializer=keras.initializers.Constant(
                math.log(length / (num_tokens * num_regions))
            ),
            dtype="float32",
            name="caption_counts",
        )

        # === Functional model ===
        features, mask = encoder(images)
        rates = head(features) * ops.cast(mask, "float32")[..., None]
        rates = ops.sum(rates, axis=1) + keras.config.epsilon()
        own = ops.take_along_axis(ops.log(rates), inputs["token_ids"], axis=1)
        is_real = ops.cast(inputs["padding_mask"], "float32")
        likelihoods = ops.sum(own * is_real, axis=1) - ops.sum(rates, axis=1)
        losses = -likelihoods / ops.maximum(ops.sum(is_real, axis=1), 1)
        super().__init__(task, inputs, losses, {"caption_counts": head})


class ViewContrastTask(PretrainingTask):
    """Finds the other view of each image among the views of a batch, by their embeddings.

    Model inputs: `images_views (batch_size, 2, height, width, 3)`, `images_present` and `pair`, see
    `ImageTextContrastTask`.

    Args:
        task: a task with an encoder of images.
        seed: int. Of the heads' first weights.
    """

    modalities = ("images",)

    def __init__(self, task, seed):
        # === Layers ===
        encoder = task.backbone.encoders["images"]
        dim = task.backbone.output["features"]["images"].shape[-1]
        options = {"kernel_initializer": _seeded(seed), "dtype": "float32"}
        heads = {
            "hidden": keras.layers.Dense(dim, "relu", name="view_hidden", **options),
            "embedding": keras.layers.Dense(VIEW_DIM, name="view_embedding", **options),
        }
        contrast = BatchContrast(view_contrast, 1 / VIEW_TEMPERATURE, name="view_contrast")

        # === Functional model ===
        (image,) = encoder.model_inputs("images").values()
        shape = image.shape[1:]
        inputs = {
            "images_views": keras.Input((2, *shape), name="images_views"),
            "images_present": keras.Input((), dtype="int32", name="images_present"),
            "pair": keras.Input((2,), dtype="int64", name="pair"),
        }
        # Both views in one pass: batch normalisation sees them together.
        views = ops.reshape(inputs["images_views"], (-1, *shape))
        pooled = masked_mean(*encoder({"images": views}))
        embedding = _normalize(heads["embedding"](heads["hidden"](pooled)))
        both = ops.reshape(embedding, (-1, 2, VIEW_DIM))
        present = ops.cast(inputs["images_present"], "bool")
        losses = contrast(both[:, 0], both[:, 1], inputs["pair"], present)
        super().__init__(task, inputs, losses, heads)


def _images_and_tokens(backbone):
    """The inputs of the image encoder, and with them those that say which tokens a text has."""
    images = backbone.encoders["images"].model_inputs("images")
    text = backbone.encoders["text"].model_inputs("text")
    tokens = {name: text[name] for name in ("token_ids", "padding_mask")}
    present = {"images_present": keras.Input((), dtype="int32", name="images_present")}
    return images, {**images, **tokens, **present}


def _as_computed(y_true, y_pred):
    return y_pred


def _normalize(embedding):
    return ops.normalize(embedding, axis=-1)


def _seeded(seed):
    # Not the global generator: heads must be the same where training goes on in a later phase.
    return keras.initializers.GlorotUniform(seed=seed)
