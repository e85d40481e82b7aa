"""Writes captions of images, word by word."""

import functools

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import ops

from data_prep.names import find
from mmlearn.encoders.token_texts import write_texts
from mmlearn.layers.text_decoder import TextDecoder
from mmlearn.losses.words import WordLoss
from mmlearn.metrics.words import Perplexity, WordAccuracy
from mmlearn.models import signatures, steps
from mmlearn.models.task import MultimodalTask

SAMPLERS = ("greedy", "beam", "top_k", "top_p", "random")
KEPT = 8  # functions that write, each for a sampler and a length
_NEVER = -1e9  # a logit


@keras.saving.register_keras_serializable(package="mmlearn")
class ImageCaptioner(MultimodalTask):
    """A Transformer decoder that looks at an image and at the words so far.

    The functional inputs are those of the backbone and `token_ids (batch_size, sequence_length)`; the
    one output is `words (batch_size, sequence_length - 1, vocabulary_size)`, the logits of each next
    token. In training all words of a caption are guessed at once, each from those before it; `generate`
    writes one after the other. An image without a caption, and a caption without an image, teach nothing.

    Args:
        backbone: `MultimodalBackbone` of images, without a fusion.
        preprocessor: `MultimodalPreprocessor` of images and text, whose tokenizer is the language of the
            captions; or `None` for model inputs only, with which no text can be written.
        vocabulary_size: int, by default that of the tokenizer.
        sequence_length: int, by default that of the text converter: the most tokens of a caption, with
            those that begin and end it.
        hidden_dim: int. Of the decoder; divisible by `num_heads`.
        num_layers: int.
        num_heads: int.
        dropout: float in [0, 1). Rate in the decoder.
        **kwargs: of `keras.Model`.

    Raises:
        ValueError: when the backbone has a fusion or no images, or texts are cut into chunks.

    Example:

    >>> import numpy as np
    >>> from mmlearn import MultimodalBackbone, MultimodalPreprocessor, encoders
    >>> captions = ["a red dog", "a cat", "a red cat", "a dog"]
    >>> tokenizer = encoders.text_tokenizers.train_tokenizer(captions)
    >>> captioner = ImageCaptioner(
    ...     MultimodalBackbone(
    ...         {"images": encoders.get("images", "resnet_tiny", image_size=32)}, fusion=None
    ...     ),
    ...     MultimodalPreprocessor(
    ...         {
    ...             "images": encoders.ImageConverter(image_size=32),
    ...             "text": encoders.TextConverter(tokenizer, sequence_length=8),
    ...         }
    ...     ),
    ...     hidden_dim=16,
    ... )
    >>> images = np.zeros((4, 40, 50, 3), "uint8")
    >>> history = captioner.fit({"images": images, "text": captions}, verbose=0)
    >>> len(captioner.generate({"images": images}, sampler="beam"))
    4
    >>> captioner.generate({"images": images[:1]}, prompt="a red")[0].startswith("a red")
    True

    Reference:
        Xu et al., "Show, attend and tell: neural image caption generation with visual attention", 2015
        (attention to image regions); the decoder: Vaswani et al., "Attention Is All You Need", 2017.
    """

    main_output = "words"
    _generators = None

    def __init__(
        self,
        backbone,
        preprocessor=None,
        vocabulary_size=None,
        sequence_length=None,
        hidden_dim=256,
        num_layers=2,
        num_heads=4,
        dropout=0.1,
        _share=None,
        **kwargs,
    ):
        _check_backbone(backbone)
        if preprocessor is not None:
            converter = preprocessor.converters["text"]
            _check_chunks(converter)
            sequence_length = sequence_length or converter.sequence_length
            vocabulary_size = vocabulary_size or converter.tokenizer.vocabulary_size()
        # === Config === (before the model, whose constructor compiles)
        self.backbone, self.preprocessor = backbone, preprocessor
        self.vocabulary_size = vocabulary_size
        self.sequence_length = sequence_length
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.dropout = dropout

        # === Layers ===
        self.heads = {
            "decoder": _share.heads["decoder"]
            if _share is not None
            else TextDecoder(
                vocabulary_size,
                sequence_length,
                hidden_dim,
                num_layers,
                num_heads,
                dropout=dropout,
                dtype=backbone.dtype_policy,
                name="decoder",
            )
        }

        # === Functional model ===
        token_ids = keras.Input((sequence_length,), dtype="int32", name="token_ids")
        encoded = backbone(backbone.input)
        logits, scores = self.heads["decoder"](
            token_ids[:, :-1], encoded["features"]["images"], encoded["masks"]["images"]
        )
        self._explained = {"attention_scores": {"text_to_images": scores}}
        super().__init__(
            inputs={**backbone.input, "token_ids": token_ids},
            outputs={self.main_output: logits},
            **kwargs,
        )

    def needed(self, output):
        """The modalities without which an example says nothing: images; texts count by their words."""
        return ("images",)

    # --- Training ----------------------------------------------------------------------------

    def fit(self, x=None, y=None, **kwargs):
        """Trains on images and their captions, see `MultimodalTask.fit`; there are no labels.

        Args:
            x: dict of `images` and `text`, one caption per image, or of model inputs, or a dataset.
            y: not needed, and not used.
            **kwargs: of `MultimodalTask.fit`.
        """
        if isinstance(x, dict) and not {"text", "token_ids"} & set(x):
            raise ValueError(
                f"A captioner learns from captions. Received: {', '.join(x)}. Fix: pass `text` as well."
            )
        return super().fit(x, y, **kwargs)

    def preprocess_samples(self, x, y=None, sample_weight=None):
        """Turns one batch, raw or not, into model inputs, the tokens to guess, and weights."""
        if isinstance(y, dict):  # done before
            return super().preprocess_samples(x, y, sample_weight)
        if "token_ids" not in x and self.preprocessor is not None:
            x = self.preprocessor(x)
        is_real = tf.cast(x["padding_mask"][:, 1:], tf.bool)
        # An empty text has no token but the two that begin and end every one.
        is_real = is_real & (tf.reduce_sum(x["padding_mask"], axis=1, keepdims=True) > 2)
        targets = {self.main_output: tf.where(is_real, x["token_ids"][:, 1:], -1)}
        weights = self._output_weights(x, sample_weight)
        return super().preprocess_samples(x, targets, weights)

    def compile(
        self,
        optimizer="auto",
        loss="auto",
        *,
        loss_weights=None,
        metrics="auto",
        jit_compile="auto",
        micro_batches=1,
        learn_loss_weights=False,
        **kwargs,
    ):
        """Compiles with defaults: AdamW at 1e-4, the likelihood of captions, perplexity, accuracy.

        Args:
            optimizer: as in Keras, or `"auto"`.
            loss: as in Keras, or `"auto"`, see `losses_named`.
            loss_weights: not used: there is one loss.
            metrics: as in Keras, or `"auto"`.
            jit_compile: bool, or `"auto"`: with JAX.
            micro_batches: int. Into how many parts a training batch is divided to save memory.
            learn_loss_weights: bool. Must be `False`: there is one loss.
            **kwargs: of `keras.Model.compile`.
        """
        steps.check_micro_batches(micro_batches)
        self.learn_loss_weights(learn_loss_weights)
        self.micro_batches = micro_batches
        if jit_compile == "auto":
            jit_compile = keras.config.backend() == "jax"
        if optimizer == "auto":
            optimizer = keras.optimizers.AdamW(1e-4, weight_decay=1e-2)
        if isinstance(loss, str):
            loss = self.losses_named(loss)
        if metrics == "auto":
            metrics = None
            kwargs = {
                "weighted_metrics": {self.main_output: [Perplexity(), WordAccuracy()]},
                **kwargs,
            }
        super().compile(
            optimizer=optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile, **kwargs
        )

    def losses_named(self, name="auto", label_smoothing=0.0):
        """Makes the loss: the negative log-likelihood of a caption.

        Args:
            name: str. `"auto"`, the only one.
            label_smoothing: float in [0, 1).

        Returns:
            A dict of output name to `keras.losses.Loss`.
        """
        find(name, ("auto",), "loss of captions")
        return {self.main_output: WordLoss(label_smoothing)}

    # --- Writing -----------------------------------------------------------------------------

    def generate(self, x, sampler="greedy", prompt=None, max_length=None, batch_size=32):
        """Writes a caption of each image.

        Args:
            x: dict of `images`, raw or model inputs, or a dataset; other modalities are not read.
            sampler: `"greedy"`, the likeliest next token each time; `"beam"`, the likeliest of five
                captions that are followed; `"top_k"`, `"top_p"` or `"random"`, drawn; or a sampler of
                KerasHub with options of its own.
            prompt: str, or a list with one per image: how the caption begins. `None` or empty: freely.
            max_length: int. Most tokens, those that begin and end a caption included; by default, and
                at most, `sequence_length`.
            batch_size: int. Of arrays.

        Returns:
            A list of str.

        Raises:
            ValueError: when there is no preprocessor, the sampler is unknown, `max_length` is out of
                its range, or there are not as many prompts as images.
        """
        found, count = [], 0
        for inputs in self._image_batches(x, batch_size):
            rows = len(inputs["images_present"])
            own = prompt if prompt is None or isinstance(prompt, str) else prompt[count:][:rows]
            token_ids = self._write_ids(inputs, sampler, own, max_length)
            count += rows
            found += [text.decode() for text in self._texts(token_ids).numpy()]
        if not (prompt is None or isinstance(prompt, str)) and len(prompt) != count:
            raise ValueError(
                f"Each image needs one prompt. Received: {len(prompt)} for {count} images. Fix: one str "
                "for all, or as many as there are images."
            )
        return found

    def predict(self, x, batch_size=32, **kwargs):
        """Returns the captions that `generate` writes, as a numpy array of str.

        Args:
            x: see `generate`.
            batch_size: int.
            **kwargs: of `generate`.
        """
        return np.array(self.generate(x, batch_size=batch_size, **kwargs), object)

    def explain(self, x, sampler="greedy", prompt=None):
        """Writes a caption of each image of one batch, and says where each word was found.

        Args:
            x: dict of `images`, raw or model inputs.
            sampler: see `generate`.
            prompt: see `generate`.

        Returns:
            A dict: `captions`, list of str; `token_ids (batch_size, sequence_length)`, and
            `attention_scores` `{"text_to_images": (batch_size, num_layers, num_heads, sequence_length,
            num_regions)}`, of each token the regions that were looked at when it was written, none for
            the first.
        """
        (inputs,) = self._image_batches(x, batch_size=2**20)
        token_ids = self._write_ids(inputs, sampler, prompt)
        outputs = self.explain_inputs({**inputs, "token_ids": token_ids})
        scores = outputs["attention_scores"]["text_to_images"]
        scores = ops.pad(scores, [[0, 0], [0, 0], [0, 0], [1, 0], [0, 0]])
        return {
            "captions": [text.decode() for text in self._texts(token_ids).numpy()],
            "token_ids": ops.convert_to_numpy(token_ids),
            "attention_scores": {
                "text_to_images": ops.convert_to_numpy(ops.cast(scores, "float32"))
            },
        }

    def _image_batches(self, x, batch_size):
        """Yields the model inputs of the backbone, batch by batch."""
        if isinstance(x, dict):
            x = {name: values for name, values in x.items() if name.startswith("images")}
        for batch in self._raw_dataset(x, batch_size=batch_size):
            inputs, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
            if "images_present" not in inputs:
                inputs = self.preprocessor(inputs)
            yield {name: inputs[name] for name in self.backbone.input}

    def _write_ids(self, inputs, sampler, prompt=None, max_length=None):
        """Token ids `(batch_size, sequence_length)` of captions, padded."""
        if self.preprocessor is None:
            raise ValueError(
                "Captions need the preprocessor, whose tokenizer writes them. Fix: pass `preprocessor` "
                f"to {type(self).__name__}."
            )
        max_length = self.sequence_length if max_length is None else max_length
        if not 2 <= max_length <= self.sequence_length:
            raise ValueError(
                f"`max_length` must be in [2, {self.sequence_length}]. Received: {max_length}. Fix: a "
                "longer `sequence_length` of the text converter, and training."
            )
        rows = len(inputs["images_present"])
        prompts = [prompt or ""] * rows if prompt is None or isinstance(prompt, str) else prompt
        if len(prompts) != rows:
            raise ValueError(
                f"Each image needs one prompt. Received: {len(prompts)} for {rows} images. Fix: one str "
                "for all, or as many as there are images."
            )
        prompts = self.preprocessor.converters["text"].read_raw(prompts, "prompt")
        if isinstance(sampler, str):
            find(sampler, SAMPLERS, "sampler")
        token_ids = self._generator(sampler, max_length)(inputs, tf.constant(prompts))
        padding = [[0, 0], [0, self.sequence_length - max_length]]
        tokenizer = self.preprocessor.converters["text"].tokenizer
        return ops.pad(token_ids, padding, constant_values=tokenizer.pad_token_id)

    def _generator(self, sampler, max_length):
        """The function of model inputs and prompts, traced once for each sampler."""
        if self._generators is None:
            # A function: Keras would track a dict in an attribute as a part of the model.
            self._generators = functools.lru_cache(KEPT)(self._make_generator)
        return self._generators(sampler, max_length)

    def _make_generator(self, sampler, max_length):
        if isinstance(sampler, str):
            sampler = keras_hub.samplers.get(sampler)

        def generate(inputs, prompts):
            known, is_known = self._begin(prompts, max_length)
            return self.write(inputs, known, is_known, sampler)

        if keras.config.backend() != "tensorflow":
            return generate
        return tf.function(generate, reduce_retracing=True)

    def _begin(self, prompts, max_length):
        """The tokens with which captions begin, and which positions these are."""
        inputs = self.preprocessor.converters["text"].convert(prompts, "text")
        token_ids, mask = inputs["token_ids"], inputs["padding_mask"]
        # All but the one that would end it.
        is_known = tf.range(self.sequence_length)[None] < tf.reduce_sum(mask, 1, keepdims=True) - 1
        tokenizer = self.preprocessor.converters["text"].tokenizer
        token_ids = tf.where(is_known, token_ids, tokenizer.pad_token_id)
        return token_ids[:, :max_length], is_known[:, :max_length]

    def write(self, inputs, token_ids, is_known, sampler):
        """Writes the tokens of captions; also runs in a graph.

        Args:
            inputs: dict of model inputs of the backbone.
            token_ids: int tensor `(batch_size, max_length)`, how captions begin.
            is_known: bool tensor of the same shape, `True` at the given tokens, the first of them.
            sampler: a sampler of KerasHub, or what is called like one.

        Returns:
            int tensor `(batch_size, max_length)`, padded after the end of a caption.
        """
        decoder = self.heads["decoder"]
        tokenizer = self.preprocessor.converters["text"].tokenizer
        end, pad = tokenizer.end_token_id, tokenizer.pad_token_id
        encoded = self.backbone(inputs, training=False)
        memory = decoder.read_memory(encoded["features"]["images"])
        memory_mask, known = encoded["masks"]["images"], is_known
        # All beams of an image look at it; what they wrote goes through the sampler.
        if beams := getattr(sampler, "num_beams", None):
            memory, memory_mask, known = (
                ops.repeat(each, beams, axis=0) for each in (memory, memory_mask, known)
            )
        unwritten = np.zeros(self.vocabulary_size, "float32")
        unwritten[_special_ids(tokenizer)] = _NEVER

        def next_logits(so_far, cache, index):
            last = ops.take(so_far, index - 1, axis=1)
            logits, _, cache = decoder.step(last[:, None], memory, memory_mask, cache, index - 1)
            # What is given, and the padding after the end, are certain: so they cost a beam nothing.
            given = ops.take(known, index, axis=1)
            is_over = ops.logical_or(last == end, last == pad)
            certain = ops.where(given, ops.take(so_far, index, axis=1), pad)
            logits = ops.where(
                ops.logical_or(given, is_over)[:, None],
                (1.0 - ops.one_hot(certain, self.vocabulary_size)) * _NEVER,
                logits[:, 0] + unwritten,
            )
            return logits, None, cache

        rows, max_length = ops.shape(token_ids)[0], token_ids.shape[1]
        return sampler(
            next_logits,
            token_ids,
            cache=decoder.new_cache(rows, max_length),
            index=1,
            mask=is_known,
            stop_token_ids=(end,),
            model=self,
        )

    def _texts(self, token_ids):
        tokenizer = self.preprocessor.converters["text"].tokenizer
        return write_texts(tf.convert_to_tensor(token_ids), tokenizer)

    # --- Saving ------------------------------------------------------------------------------

    def signatures(self):
        """The signatures of the exported captioner: dict of name to `(function, input_signature)`.

        | signature | inputs | outputs |
        |---|---|---|
        | `serving_default` | `images`, file bytes | `captions`, `status`, `image_status` |
        | `continue_text` | `images`, and `text`, how captions begin | the same |
        | `serve_tensors` | the model inputs of images | `captions` |

        The captions are those of `sampler="greedy"`. They are strings; a row without an image that can be
        read has a caption that says nothing about it, and `status` 1.
        """
        specs = {m: c.raw_spec(m) for m, c in self.preprocessor.converters.items()}

        def caption(inputs, prompts):
            known, is_known = self._begin(prompts, self.sequence_length)
            return self._texts(self.write(inputs, known, is_known, greedy))

        def serve(images, text=None):
            inputs, statuses = self.preprocessor.convert_with_status({"images": images})
            inputs = {name: inputs[name] for name in self.backbone.input}
            text = tf.fill(tf.shape(images)[:1], "") if text is None else text
            return {
                "captions": caption(inputs, text),
                "status": 1 - inputs["images_present"],
                **signatures.file_statuses(statuses),
            }

        def serve_tensors(inputs):
            prompts = tf.fill(tf.shape(inputs["images_present"]), "")
            return {"captions": caption(inputs, prompts)}

        tensors = {
            name: tf.TensorSpec((None, *value.shape[1:]), value.dtype, name=name)
            for name, value in self.backbone.input.items()
        }
        return {
            "serving_default": (serve, [specs["images"]]),
            "continue_text": (serve, [specs["images"], specs["text"]]),
            "serve_tensors": (serve_tensors, [tensors]),
        }

    def with_backbone(self, backbone):
        """Returns a captioner on another backbone that shares the decoder with this one.

        Args:
            backbone: `MultimodalBackbone` with the same feature sizes. It takes model inputs only.
        """
        return type(self)(backbone, _share=self, **self._own_config())

    def _own_config(self):
        names = ("vocabulary_size", "sequence_length", "hidden_dim", "num_layers", "num_heads")
        return {name: getattr(self, name) for name in (*names, "dropout")}

    def get_config(self):
        return {**super().get_config(), **self._own_config()}


def greedy(next_logits, token_ids, cache, index, mask, stop_token_ids, model=None):
    """Takes the likeliest token each time, as KerasHub's `GreedySampler` does.

    In an exported model: that one writes each token by an op that not every server has.
    """
    places = ops.arange(token_ids.shape[1], dtype="int32")

    def is_open(token_ids, cache, index):
        return ops.logical_not(ops.all(ops.any(token_ids == stop_token_ids[0], axis=1)))

    def write_one(token_ids, cache, index):
        logits, _, cache = next_logits(token_ids, cache, index)
        token = ops.cast(ops.argmax(logits, axis=-1), token_ids.dtype)
        token_ids = ops.where(places[None] == index, token[:, None], token_ids)
        return token_ids, cache, index + 1

    token_ids, _, _ = ops.while_loop(
        is_open,
        write_one,
        (token_ids, cache, ops.convert_to_tensor(index, "int32")),
        maximum_iterations=token_ids.shape[1] - index,
    )
    return token_ids


def _special_ids(tokenizer):
    """The tokens that are never written; that which ends a caption is."""
    special = {tokenizer.start_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id}
    for token in ("[UNK]", "<unk>"):
        if token in tokenizer.get_vocabulary():
            special.add(tokenizer.token_to_id(token))
    return sorted(special - {tokenizer.end_token_id})


def _check_backbone(backbone):
    if backbone.fusion is not None or "images" not in backbone.modalities:
        raise ValueError(
            "A captioner needs a backbone of images without a fusion. Received: "
            f"{', '.join(backbone.modalities)} with fusion={backbone.fusion!r}. Fix: "
            "MultimodalBackbone({'images': encoder}, fusion=None)."
        )


def _check_chunks(converter):
    if converter.max_chunks > 1:
        raise ValueError(
            f"Captions are written in one piece. Received: max_chunks={converter.max_chunks}. Fix: 1, "
            "and a larger `sequence_length`."
        )
