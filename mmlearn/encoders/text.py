"""Text: the converter from strings to token ids, and the encoders that give token features."""

import os

import keras
import keras_hub
import tensorflow as tf
from keras import ops

from data_prep import text
from mmlearn.encoders.encoder import Encoder, first_line
from mmlearn.encoders.projections import flatten_projections

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# name: (num_layers, num_heads, hidden_dim, intermediate_dim, vocabulary size). All but bert_tiny
# are KerasHub presets with published weights; the sizes are Devlin et al. (2019) and Turc et al.
# (2019), repeated here so that a model without weights can be built without a network.
BERT_SIZES = {
    "bert_tiny": (2, 2, 128, 256, 30522),
    "bert_tiny_en_uncased": (2, 2, 128, 512, 30522),
    "bert_small_en_uncased": (4, 8, 512, 2048, 30522),
    "bert_medium_en_uncased": (8, 8, 512, 2048, 30522),
    "bert_base_en_uncased": (12, 12, 768, 3072, 30522),
    "bert_base_en": (12, 12, 768, 3072, 28996),
    "bert_base_multi": (12, 12, 768, 3072, 119547),
    "bert_large_en_uncased": (24, 16, 1024, 4096, 30522),
}
UNTRAINED = ("bert_tiny",)  # no weights were ever published under these names


@keras.saving.register_keras_serializable(package="mmlearn")
class TextConverter(keras.layers.Layer):
    """Turns strings into the token ids of BERT: `[CLS] tokens [SEP]`, cut and padded.

    Args:
        tokenizer: `keras_hub.models.BertTokenizer`. Its vocabulary is saved with presets, `.keras`
            files and SavedModels.
        sequence_length: int. Tokens per text, the two special ones included.
        clean: bool. Whether texts from the web lose their addresses, tags and signs first, see
            `data_prep.text.clean`; in training and serving alike.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, tokenizer, sequence_length=32, clean=False, **kwargs):
        super().__init__(**kwargs)
        if sequence_length < 3:
            raise ValueError(
                "`sequence_length` must be at least 3: two special tokens and one more. "
                f"Received: sequence_length={sequence_length}."
            )
        self.tokenizer, self.sequence_length, self.clean = tokenizer, sequence_length, clean
        self.built = True  # no weights

    def convert_example(self, value, modality):
        """Returns `{modality: value}`: strings can be batched as they are."""
        return {modality: value}

    def convert(self, values, modality, batch_size=None):
        """Tokenizes a batch.

        Args:
            values: string tensor `(batch_size,)`, where blank counts as absent; or `None`.
            modality: str. Prefix of the name of the presence input.
            batch_size: scalar int tensor. Needed when `values` is `None`.

        Returns:
            A dict of model inputs.
        """
        if values is None:
            values = tf.fill([batch_size], "")
        values = text.clean(values) if self.clean else values
        # A packer, not round-robin truncation, whose op TF Serving up to 2.19 cannot load.
        packer = keras_hub.layers.StartEndPacker(
            self.sequence_length,
            start_value=self.tokenizer.cls_token_id,
            end_value=self.tokenizer.sep_token_id,
            pad_value=self.tokenizer.pad_token_id,
        )
        token_ids = tf.cast(packer(self.tokenizer(values)), tf.int32)
        token_ids = tf.ensure_shape(token_ids, (None, self.sequence_length))
        return {
            "token_ids": token_ids,
            "segment_ids": tf.zeros_like(token_ids),
            "padding_mask": tf.cast(token_ids != self.tokenizer.pad_token_id, tf.int32),
            f"{modality}_present": tf.cast(
                tf.strings.length(tf.strings.strip(values)) > 0, tf.int32
            ),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "sequence_length": self.sequence_length,
            "clean": self.clean,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["tokenizer"] = keras.saving.deserialize_keras_object(config["tokenizer"])
        return cls(**config)


@keras.saving.register_keras_serializable(package="mmlearn")
class TextEncoder(Encoder):
    """A BERT-like network that gives one feature per token.

    Args:
        model: `keras.Model` from the dict `token_ids`, `segment_ids`, `padding_mask` to
            `sequence_output (batch_size, sequence_length, dim)`. A KerasHub BERT backbone is taken
            without its pooler, which would get no gradient.
        sequence_length: int. Tokens per text.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of int32 `(batch_size, sequence_length)`.
        training: bool.

    Returns:
        features `(batch_size, sequence_length, dim)` and a bool mask
        `(batch_size, sequence_length)`, `True` at real tokens.
    """

    def __init__(self, model, sequence_length=32, **kwargs):
        if isinstance(model.output, dict):
            model = keras.Model(
                model.input, model.output["sequence_output"], name=f"{model.name}_sequence"
            )
        flatten_projections(model)
        super().__init__(model, **kwargs)
        self.sequence_length = sequence_length

    def model_inputs(self, modality):
        """Returns `{name: keras.Input}` of the functional inputs of this encoder."""
        return {
            name: keras.Input((self.sequence_length,), dtype="int32", name=name)
            for name in sorted(self.model.input)
        }

    def call(self, inputs, training=None):
        training = self.learns(training)
        return self.model(inputs, training=training), ops.cast(inputs["padding_mask"], "bool")

    def get_config(self):
        return {**super().get_config(), "sequence_length": self.sequence_length}


def bert(name):
    """Returns the function that builds the BERT of that name.

    Args:
        name: str. One of `BERT_SIZES`.
    """

    def build(sequence_length=32, vocabulary_size=None, weights="default"):
        if weights == "none" or (weights == "default" and name in UNTRAINED):
            model = _build_bert(name, vocabulary_size)
        else:
            model = _load_bert(name, weights, vocabulary_size)
        longest = model.get_config()["max_sequence_length"]
        if sequence_length > longest:
            raise ValueError(
                f"`sequence_length` must be at most {longest}, the length {name!r} knows positions "
                f"for. Received: sequence_length={sequence_length}."
            )
        return TextEncoder(model, sequence_length, name="text_encoder")

    build.__doc__ = f"""Builds the text encoder {name}.

    Args:
        sequence_length: int. Tokens per text.
        vocabulary_size: int. By default that of the published vocabulary.
        weights: `"default"` (published, where there are any), `"none"` (random), a preset
            directory, or a `.weights.h5` file.
    """
    return build


def _build_bert(name, vocabulary_size):
    num_layers, num_heads, hidden_dim, intermediate_dim, published_size = BERT_SIZES[name]
    return keras_hub.models.BertBackbone(
        vocabulary_size=vocabulary_size or published_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        intermediate_dim=intermediate_dim,
        max_sequence_length=512,
        name=name,
    )


def _load_bert(name, weights, vocabulary_size):
    if os.path.isfile(weights):
        model = _build_bert(name, vocabulary_size)
        model.load_weights(weights)
        return model
    preset = _preset(name, weights)
    model = _from_preset(keras_hub.models.BertBackbone, preset)
    known = model.get_config()["vocabulary_size"]
    if vocabulary_size not in (None, known):
        raise ValueError(
            f"The vocabulary has {vocabulary_size} tokens, but the weights of {preset!r} know "
            f"{known}. Fix: use the vocabulary that the weights were trained with."
        )
    return model


def has_tokenizer(name, weights="default"):
    """Whether a tokenizer belongs to the weights of a BERT: not with random ones or a bare file."""
    if weights == "default":
        return name not in UNTRAINED
    return weights != "none" and not os.path.isfile(weights)


def load_tokenizer(name, weights="default"):
    """Loads the tokenizer that belongs to the weights of a BERT.

    Args:
        name: str. One of `BERT_SIZES` with published weights.
        weights: `"default"` or a preset directory.

    Raises:
        ValueError: when it cannot be had.
    """
    return _from_preset(keras_hub.models.BertTokenizer, _preset(name, weights))


def is_uncased(name):
    """Whether the BERT of that name reads lower case without accents."""
    return name in UNTRAINED or name.endswith("uncased")


def read_vocabulary(path, uncased=True):
    """Makes a BERT tokenizer from a vocabulary file.

    Args:
        path: str. A text file, one token a line, with `[PAD] [UNK] [CLS] [SEP] [MASK]`.
        uncased: bool. Whether text is lower-cased and stripped of accents first.

    Raises:
        ValueError: when the file is missing, not text, or lacks a special token.
    """
    try:
        with open(path, encoding="utf-8") as file:
            vocabulary = [line.rstrip("\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Cannot read the vocabulary {str(path)!r} ({error}). Fix: pass a text file with one "
            "token a line."
        ) from None
    return make_tokenizer(vocabulary, f"The vocabulary {str(path)!r}", uncased)


def train_tokenizer(texts, vocabulary_size=8192):
    """Trains a WordPiece vocabulary on texts and makes the tokenizer of it.

    Args:
        texts: list of str.
        vocabulary_size: int. Most tokens that the vocabulary may have.
    """
    dataset = tf.data.Dataset.from_tensor_slices(list(texts)).batch(1024)
    vocabulary = keras_hub.tokenizers.compute_word_piece_vocabulary(
        dataset,
        vocabulary_size,
        lowercase=True,
        strip_accents=True,
        reserved_tokens=SPECIAL_TOKENS,
    )
    return make_tokenizer(vocabulary, "The trained vocabulary")


def make_tokenizer(vocabulary, what="The vocabulary", uncased=True):
    """Makes a `BertTokenizer` that normalises as the original BERT does, uncased or cased."""
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise ValueError(f"{what} lacks {missing[0]}. Fix: use a BERT WordPiece vocabulary.")
    return keras_hub.models.BertTokenizer(vocabulary, lowercase=uncased, strip_accents=uncased)


def _preset(name, weights):
    if weights == "default":
        return name
    if not os.path.isfile(os.path.join(weights, "config.json")):
        raise ValueError(
            f"{weights!r} is neither a .weights.h5 file nor a preset directory with a config.json. "
            "Fix: pass one of them, or none."
        )
    return weights


def _from_preset(cls, preset):
    try:
        return cls.from_preset(preset)
    except Exception as error:  # each hub client raises its own kind
        reason = first_line(error)
        raise ValueError(
            f"Cannot get {preset!r} ({reason}). Fix: go online once, or pass "
            "--model.text.weights PRESET_DIR (a local copy), or --model.text.weights none with "
            "--model.text.vocabulary FILE (one token a line)."
        ) from error
