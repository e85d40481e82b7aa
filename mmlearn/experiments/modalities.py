"""Of each modality, how its part of a `ModelConfig` becomes an encoder and a converter.

`BUILDERS` maps a modality, which is also the name of that part, to a function of that part, a source
and a source of unlabeled data or `None`.
"""

import os

from data_prep import audio
from data_prep.names import find
from mmlearn import encoders
from mmlearn.encoders import text_tokenizers
from mmlearn.encoders.series import measure_series
from mmlearn.encoders.table import measure_table
from mmlearn.encoders.word_counts import inverse_document_frequencies


def build_images(config, source, unlabeled=None):
    """Builds the image encoder of an `ImagesConfig` and its converter."""
    encoder = _get("images", config, image_size=config.image_size, weights=config.weights)
    return encoder, encoders.ImageConverter(config.image_size)


def build_text(config, source, unlabeled=None):
    """Builds the text encoder of a `TextConfig` and its converter."""
    _check_name("text", config.name)
    tokenizer = build_tokenizer(config, source, unlabeled)
    # To other encoders than `lstm`, `embeddings` is an unknown option, and they say so.
    has_vectors = config.name == "lstm" and "embeddings" in config.options
    of_words = {"vocabulary": tokenizer.get_vocabulary()} if has_vectors else {}
    if config.name == "weighted_words":
        texts = _captions(source, unlabeled)
        plain = encoders.TextConverter(tokenizer, config.sequence_length, config.clean)
        of_words["inverse_frequencies"] = inverse_document_frequencies(texts, plain)
    encoder = _get(
        "text",
        config,
        sequence_length=config.sequence_length,
        max_chunks=config.max_chunks,
        vocabulary_size=tokenizer.vocabulary_size(),
        weights=config.weights,
        **of_words,
    )
    converter = encoders.TextConverter(
        tokenizer,
        config.sequence_length,
        config.clean,
        config.max_chunks,
        segment_ids="segment_ids" in encoder.model_inputs("text"),
    )
    return encoder, converter


def build_tokenizer(config, source, unlabeled=None):
    """Builds the tokenizer of a `TextConfig`: from a file, with the weights, or from captions."""
    if config.vocabulary is not None:
        return text_tokenizers.read_tokenizer(config.name, config.vocabulary)
    if os.path.isfile(config.weights):
        raise ValueError(
            f"The weights {config.weights!r} need the vocabulary they were trained with. Fix: pass "
            "--model.text.vocabulary PATH, or a preset directory, which holds both."
        )
    if text_tokenizers.has_tokenizer(config.name, config.weights):
        return text_tokenizers.load_tokenizer(config.name, config.weights)
    texts = _captions(source, unlabeled)
    if not any(text.strip() for text in texts):
        raise ValueError(
            f"The texts of {source.root!r} are all empty in the training split, so no vocabulary can be "
            "trained. Fix: --model.text.vocabulary PATH, or leave text out, --model.modalities."
        )
    return text_tokenizers.train_tokenizer_for(config.name, texts, config.vocabulary_size)


def _captions(source, unlabeled):
    """All captions of the training split, and of the one without labels."""
    captions = list(source.examples("train").captions)
    if unlabeled is not None:
        captions += unlabeled.examples("train").captions or []
    return [text for several in captions for text in several]


def build_audio(config, source, unlabeled=None):
    """Builds the audio encoder of an `AudioConfig` and its converter."""
    if not config.seconds > 0:
        raise ValueError(
            f"`seconds` must be positive. Received: seconds={config.seconds}. Fix: --model.audio.seconds."
        )
    num_samples = round(config.seconds * audio.SAMPLE_RATE)
    encoder = _get("audio", config, num_samples=num_samples)
    return encoder, encoders.AudioConverter(num_samples, config.noise_gate_db)


def build_series(config, source, unlabeled=None):
    """Builds the encoder of a `SeriesConfig` and its converter, measured on the training split."""
    values = source.examples("train").series
    _, length, num_channels = values.shape
    encoder = _get("series", config, length=length, num_channels=num_channels)
    return encoder, encoders.SeriesConverter(length, *measure_series(values))


def build_table(config, source, unlabeled=None):
    """Builds the encoder of a `TableConfig` and its converter, measured on the training split."""
    columns = measure_table(source.examples("train").table, config.max_categories)
    if not columns:
        raise ValueError(
            f"The table columns of {source.root!r} are empty in the training split. Fix: name other "
            "columns, --data.options numeric=NAMES categorical=NAMES."
        )
    converter = encoders.TableConverter(columns)
    encoder = _get(
        "table",
        config,
        num_numbers=len(converter.numbers),
        num_categories=converter.num_categories,
    )
    return encoder, converter


def _get(modality, config, **own):
    """The encoder of a part of a config; `own` is what other flags or the data say."""
    _check_name(modality, config.name)
    for name in own.keys() & config.options.keys():
        raise ValueError(
            f"`{name}` is no option of an encoder here: other flags of --model.{modality}, or the data, "
            f"say it. Received: --model.{modality}.options {name}={config.options[name]}. Fix: leave it "
            "out."
        )
    return encoders.get(modality, config.name, **own, **config.options)


def _check_name(modality, name):
    if name == "features":
        raise ValueError(
            f"--model.{modality}.name features takes features made elsewhere, which no source has. Fix: "
            f"another encoder (python -m mmlearn list encoders), or encoders.Features in Python."
        )
    if modality != "images":  # those may be presets or files, too
        find(name, encoders.ENCODERS[modality], f"{modality} encoder")


BUILDERS = {
    "images": build_images,
    "text": build_text,
    "audio": build_audio,
    "series": build_series,
    "table": build_table,
}
