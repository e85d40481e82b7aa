"""The text encoders by name: networks and their weights.

Those of `NETWORKS` are KerasHub's and, but for bert_tiny, presets with published weights. `lstm`,
`words` and `weighted_words` are trained from scratch.
"""

import os
from dataclasses import dataclass, replace

import keras
import keras_hub
from keras import layers, ops

from mmlearn.encoders import word_vectors
from mmlearn.encoders.encoder import first_line
from mmlearn.encoders.text import TextEncoder
from mmlearn.encoders.untrusted import check_untrusted
from mmlearn.layers.token_weights import TokenWeights

BertBackbone = keras_hub.models.BertBackbone
DistilBertBackbone = keras_hub.models.DistilBertBackbone
RobertaBackbone = keras_hub.models.RobertaBackbone
XLMRobertaBackbone = keras_hub.models.XLMRobertaBackbone


@dataclass(frozen=True)
class Network:
    """A network of KerasHub and its sizes."""

    backbone: type
    num_layers: int
    num_heads: int
    hidden_dim: int
    intermediate_dim: int
    vocabulary_size: int

    def build(self, name, vocabulary_size=None):
        """Builds it with random weights."""
        return self.backbone(
            vocabulary_size=vocabulary_size or self.vocabulary_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            hidden_dim=self.hidden_dim,
            intermediate_dim=self.intermediate_dim,
            max_sequence_length=512,
            name=name,
        )


# The sizes are those of the presets, repeated here so that a model without weights can be built
# without a network: Devlin et al. (2019), Turc et al. (2019), Liu et al. (2019), Sanh et al. (2019),
# Conneau et al. (2020).
NETWORKS = {
    "bert_tiny": Network(BertBackbone, 2, 2, 128, 256, 30522),
    "bert_tiny_en_uncased": Network(BertBackbone, 2, 2, 128, 512, 30522),
    "bert_small_en_uncased": Network(BertBackbone, 4, 8, 512, 2048, 30522),
    "bert_medium_en_uncased": Network(BertBackbone, 8, 8, 512, 2048, 30522),
    "bert_base_en_uncased": Network(BertBackbone, 12, 12, 768, 3072, 30522),
    "bert_base_en": Network(BertBackbone, 12, 12, 768, 3072, 28996),
    "bert_base_zh": Network(BertBackbone, 12, 12, 768, 3072, 21128),
    "bert_base_multi": Network(BertBackbone, 12, 12, 768, 3072, 119547),
    "bert_large_en_uncased": Network(BertBackbone, 24, 16, 1024, 4096, 30522),
    "bert_large_en": Network(BertBackbone, 24, 16, 1024, 4096, 28996),
    "distil_bert_base_en_uncased": Network(DistilBertBackbone, 6, 12, 768, 3072, 30522),
    "distil_bert_base_en": Network(DistilBertBackbone, 6, 12, 768, 3072, 28996),
    "distil_bert_base_multi": Network(DistilBertBackbone, 6, 12, 768, 3072, 119547),
    "roberta_base_en": Network(RobertaBackbone, 12, 12, 768, 3072, 50265),
    "roberta_large_en": Network(RobertaBackbone, 24, 16, 1024, 4096, 50265),
    "xlm_roberta_base_multi": Network(XLMRobertaBackbone, 12, 12, 768, 3072, 250002),
    "xlm_roberta_large_multi": Network(XLMRobertaBackbone, 24, 16, 1024, 4096, 250002),
}
# No weights were ever published under these names.
UNTRAINED = ("bert_tiny", "lstm", "words", "weighted_words")


def network(name):
    """Returns the function that builds the text encoder of that name.

    Args:
        name: str. One of `NETWORKS`.
    """

    def build(
        sequence_length=32,
        vocabulary_size=None,
        weights="default",
        max_chunks=1,
        chunk_pooling="mean",
        num_layers=None,
        num_heads=None,
        hidden_dim=None,
    ):
        sizes = {"num_layers": num_layers, "num_heads": num_heads, "hidden_dim": hidden_dim}
        sizes = {size: value for size, value in sizes.items() if value is not None}
        model = _build(name, vocabulary_size, weights, sizes)
        longest = model.get_config()["max_sequence_length"]
        if sequence_length > longest:
            raise ValueError(
                f"`sequence_length` must be at most {longest}, the length {name!r} knows positions "
                f"for. Received: sequence_length={sequence_length}. Fix: --model.text.max-chunks N "
                "for longer texts."
            )
        return TextEncoder(model, sequence_length, max_chunks, chunk_pooling, name="text_encoder")

    build.__doc__ = f"""Builds the text encoder {name}.

    Args:
        sequence_length: int. Tokens per text, or per chunk of it.
        vocabulary_size: int. By default that of the published vocabulary.
        weights: `"default"` (published, where there are any), `"none"` (random), a preset directory,
            another preset of KerasHub for the same kind of network, or a `.weights.h5` file.
        max_chunks: int. Chunks of a long text, see `TextEncoder`.
        chunk_pooling: `"mean"` or `"none"`, see `TextEncoder`.
        num_layers: int. This and the next two, of a network with random weights or those of a file,
            by default the published sizes.
        num_heads: int.
        hidden_dim: int. The intermediate size keeps its ratio to it.
    """
    return build


def _build(name, vocabulary_size, weights, sizes):
    chosen = NETWORKS[name]
    is_random = weights == "none" or (weights == "default" and name in UNTRAINED)
    if sizes and not is_random and not os.path.isfile(weights):
        raise ValueError(
            f"`{next(iter(sizes))}` is for random weights or a file: published ones have their sizes. "
            f"Received: {name!r} with weights={weights!r}. Fix: weights none, or leave it out."
        )
    if "hidden_dim" in sizes:
        ratio = chosen.intermediate_dim // chosen.hidden_dim
        sizes["intermediate_dim"] = ratio * sizes["hidden_dim"]
    chosen = replace(chosen, **sizes)
    if chosen.hidden_dim % chosen.num_heads:
        raise ValueError(
            "`hidden_dim` must be divisible by `num_heads`. Received: "
            f"hidden_dim={chosen.hidden_dim}, num_heads={chosen.num_heads}. Fix: a multiple of it."
        )
    if is_random:
        return chosen.build(name, vocabulary_size)
    if os.path.isfile(weights):
        return _load_file(chosen.build(name, vocabulary_size), weights)
    preset = preset_of(name, weights)
    model = from_preset(chosen.backbone, preset)
    known = model.get_config()["vocabulary_size"]
    if vocabulary_size not in (None, known):
        raise ValueError(
            f"The vocabulary has {vocabulary_size} tokens, but the weights of {preset!r} know "
            f"{known}. Fix: use the vocabulary that the weights were trained with."
        )
    return model


def _load_file(model, path):
    check_untrusted(path)
    try:
        model.load_weights(path)
    except Exception as error:  # Keras and h5py each raise their own kinds
        raise ValueError(
            f"The weights {str(path)!r} do not fit {model.name!r} ({first_line(error)}). Fix: pass a "
            ".weights.h5 file of this network, with its vocabulary and sizes."
        ) from error
    return model


def preset_of(name, weights):
    """The preset that weights are of: a name of KerasHub's, or a directory.

    Args:
        name: str. One of `NETWORKS`.
        weights: `"default"`, or what stands in its place.

    Raises:
        ValueError: when it is neither.
    """
    if weights == "default":
        return name
    if weights not in NETWORKS[name].backbone.presets and not os.path.isfile(
        os.path.join(weights, "config.json")
    ):
        raise ValueError(
            f"{weights!r} is neither a .weights.h5 file nor a preset directory with a config.json, nor "
            f"a KerasHub preset for the network of {name!r}. Fix: pass one of them, or none."
        )
    return weights


def from_preset(cls, preset):
    """Loads a network or tokenizer of a preset.

    Args:
        cls: class of KerasHub.
        preset: str. A name or a directory.

    Raises:
        ValueError: when it cannot be had.
    """
    check_untrusted(preset)
    try:
        return cls.from_preset(preset)
    except Exception as error:  # each hub client raises its own kind
        raise ValueError(
            f"Cannot get {preset!r} ({first_line(error)}). Fix: go online once, or pass "
            "--model.text.weights PRESET_DIR (a local copy), or --model.text.weights none (with "
            "--model.text.vocabulary PATH, or one that is trained from the captions)."
        ) from error


def lstm(
    sequence_length=32,
    vocabulary_size=8192,
    weights="default",
    max_chunks=1,
    chunk_pooling="mean",
    hidden_dim=256,
    num_layers=1,
    embedding_dim=128,
    dropout=0.1,
    embeddings=None,
    vocabulary=None,
):
    """A bidirectional LSTM over learned token embeddings, or over GloVe vectors.

    Args:
        sequence_length: int. Tokens per text, or per chunk of it.
        vocabulary_size: int.
        weights: `"default"` or `"none"` (random: there are no published ones), or a `.weights.h5` file.
        max_chunks: int. Chunks of a long text, see `TextEncoder`.
        chunk_pooling: `"mean"` or `"none"`, see `TextEncoder`.
        hidden_dim: int. Size of the features, half of it from each direction.
        num_layers: int.
        embedding_dim: int. With `embeddings`, their size counts.
        dropout: float in [0, 1). Rate before each layer.
        embeddings: path of a file of word vectors, such as GloVe's. Tokens that are words of the file
            start from them, and go on learning.
        vocabulary: list of str, the tokens by id. Needed with `embeddings`.

    Returns:
        A `TextEncoder`.

    Raises:
        ValueError: when `hidden_dim` is odd, or the vectors cannot be read.

    Reference:
        Graves and Schmidhuber 2005, "Framewise phoneme classification with bidirectional LSTM";
        Pennington et al. 2014, "GloVe: Global vectors for word representation".
    """
    if hidden_dim % 2:
        raise ValueError(f"`hidden_dim` must be even. Received: hidden_dim={hidden_dim}.")
    vectors = None
    if embeddings is not None:
        if vocabulary is None:
            raise ValueError("`embeddings` needs the `vocabulary`: a list of tokens by id.")
        vectors = word_vectors.read(embeddings, vocabulary)
        embedding_dim, vocabulary_size = vectors.dim, len(vocabulary)
    inputs = _inputs()
    embedding = layers.Embedding(vocabulary_size, embedding_dim, name="token_embedding")
    x = embedding(inputs["token_ids"])
    mask = ops.cast(inputs["padding_mask"], "bool")
    for number in range(1, num_layers + 1):
        x = layers.Dropout(dropout, name=f"dropout_{number}")(x)
        cell = layers.LSTM(hidden_dim // 2, return_sequences=True, name="lstm")
        # "block": what a training phase thaws from above.
        x = layers.Bidirectional(cell, name=f"block{number}_lstm")(x, mask=mask)
    # An operation, whose result no longer carries Keras' own mask into layers that do not know it.
    x = ops.where(ops.expand_dims(mask, -1), x, 0.0)
    model = keras.Model(inputs, x, name="lstm")
    if vectors is not None:
        embedding.embeddings.assign(vectors.table(keras.random.SeedGenerator()))
    return _untrained(model, sequence_length, weights, max_chunks, chunk_pooling)


def words(
    sequence_length=32,
    vocabulary_size=8192,
    weights="default",
    max_chunks=1,
    chunk_pooling="mean",
    hidden_dim=256,
    dropout=0.1,
):
    """Embeddings of tokens and positions alone, as at the bottom of BERT, for fusions that do the rest.

    Args:
        sequence_length: int. Tokens per text, or per chunk of it.
        vocabulary_size: int.
        weights: `"default"` or `"none"` (random: there are no published ones), or a `.weights.h5` file.
        max_chunks: int. Chunks of a long text, see `TextEncoder`.
        chunk_pooling: `"mean"` or `"none"`, see `TextEncoder`.
        hidden_dim: int. Size of the features.
        dropout: float in [0, 1).

    Returns:
        A `TextEncoder`.
    """
    inputs = _inputs()
    x = keras_hub.layers.TokenAndPositionEmbedding(
        vocabulary_size,
        sequence_length,
        hidden_dim,
        embeddings_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        name="embeddings",
    )(inputs["token_ids"])
    x = layers.LayerNormalization(epsilon=1e-12, name="embeddings_layer_norm")(x)
    x = layers.Dropout(dropout, name="embeddings_dropout")(x)
    model = keras.Model(inputs, x, name="words")
    return _untrained(model, sequence_length, weights, max_chunks, chunk_pooling)


def weighted_words(
    sequence_length=32,
    vocabulary_size=8192,
    weights="default",
    max_chunks=1,
    chunk_pooling="mean",
    hidden_dim=256,
    dropout=0.1,
    word_dropout=0.1,
    inverse_frequencies=None,
):
    """Embeddings of tokens, each times a learned weight of its token: a bag of words for few texts.

    What a text is about is often told by two of its words. Their mean with all others hides them; here
    function words weigh little from the start, as in TF-IDF, so that a linear head on the mean of the
    tokens is nearly a logistic regression on TF-IDF.

    Args:
        sequence_length: int. Tokens per text, or per chunk of it.
        vocabulary_size: int.
        weights: `"default"` or `"none"` (random: there are no published ones), or a `.weights.h5` file.
        max_chunks: int. Chunks of a long text, see `TextEncoder`.
        chunk_pooling: `"mean"` or `"none"`, see `TextEncoder`.
        hidden_dim: int. Size of the features.
        dropout: float in [0, 1). Rate of numbers of the embeddings.
        word_dropout: float in [0, 1). Rate of whole words.
        inverse_frequencies: float array `(vocabulary_size,)`, the weights at the start, see
            `mmlearn.encoders.word_counts`; by default all tokens weigh alike.

    Returns:
        A `TextEncoder`.

    Reference:
        Joulin et al., "Bag of tricks for efficient text classification", 2017, section 2 (a linear
        classifier on the mean of word vectors).
    """
    inputs = _inputs()
    embeddings = layers.Embedding(
        vocabulary_size,
        hidden_dim,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=0.1),
        name="embeddings",
    )
    x = embeddings(inputs["token_ids"])
    x = layers.Dropout(dropout, name="embeddings_dropout")(x)
    x = layers.Dropout(word_dropout, noise_shape=(None, None, 1), name="word_dropout")(x)
    token_weights = TokenWeights(vocabulary_size, name="token_weights")
    x = token_weights(x, inputs["token_ids"], inputs["padding_mask"])
    model = keras.Model(inputs, x, name="weighted_words")
    if inverse_frequencies is not None:
        token_weights.weights_of_tokens.assign(inverse_frequencies)
    return _untrained(model, sequence_length, weights, max_chunks, chunk_pooling)


def _inputs():
    return {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "padding_mask")
    }


def _untrained(model, sequence_length, weights, max_chunks, chunk_pooling):
    if weights not in ("default", "none"):
        if not os.path.isfile(weights):
            raise ValueError(
                f"There is no weights file {str(weights)!r}. Fix: pass an existing .weights.h5 file, "
                f"or none: {model.name!r} has no published weights."
            )
        _load_file(model, weights)
    return TextEncoder(model, sequence_length, max_chunks, chunk_pooling, name="text_encoder")
