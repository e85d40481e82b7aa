"""The one place where a config becomes objects: source, tokenizer, classifier, datasets."""

import dataclasses
import os

import numpy as np

from data_prep import sources, splits
from data_prep.names import call
from data_prep.pipeline import build_dataset
from mmlearn import encoders, fusions
from mmlearn.encoders import text as text_encoders
from mmlearn.experiments.config import DataConfig
from mmlearn.models import MultimodalBackbone, MultimodalClassifier, MultimodalPreprocessor
from mmlearn.training.data import SourceData
from mmlearn.training.distribution import Host, synchronize_batch_norm

DEFAULT_ROOTS = {"shapes": os.path.join("data", "shapes")}  # sources that make their data


def build_source(config):
    """Builds the source of a `DataConfig`, with the splits `train` and `val`."""
    cls = sources.get(config.source)
    root = config.root or DEFAULT_ROOTS.get(config.source)
    if root is None:
        raise ValueError(f"The source {config.source!r} needs a folder. Fix: pass --data.root DIR.")
    source = call(cls, {"root": root, **config.options}, f"source {config.source!r}")
    return splits.ready_for_training(
        source,
        val_fraction=config.val_fraction,
        stratify=config.stratify,
        num_folds=config.num_folds,
        fold=config.fold,
        seed=config.split_seed,
    )


def build_unlabeled(config):
    """Builds the source of an `UnlabeledConfig`, with the splits `train` and `val`, or `None`.

    Raises:
        ValueError: when there are other values without a source.
    """
    if config.source is None:
        for name in ("root", "options"):
            if getattr(config, name):
                raise ValueError(
                    f"--unlabeled.{name} is for data of their own. Fix: --unlabeled.source NAME, or "
                    "leave it out."
                )
        return None
    return build_source(DataConfig(config.source, config.root, config.options))


def build_classifier(config, source, num_replicas=1, dtype=None, unlabeled=None):
    """Builds the classifier of a `ModelConfig`, under the current strategy's scope.

    Args:
        config: `ModelConfig`.
        source: a source; its labels name the classes, its captions train a missing vocabulary.
        num_replicas: int. With more than one, batch normalisation is synchronised.
        dtype: dtype policy of the backbone, by default that of Keras; heads compute in float32.
        unlabeled: a source of more captions for a missing vocabulary, or `None`.

    Raises:
        ValueError: when the data lack labels or a modality of the model.
    """
    _check_data(config, source)
    built, converters = {}, {}
    for modality in config.modalities:
        if modality == "images":
            built[modality] = encoders.get(
                modality,
                config.images.name,
                image_size=config.images.image_size,
                weights=config.images.weights,
            )
            converters[modality] = encoders.ImageConverter(config.images.image_size)
        elif modality == "text":
            tokenizer = build_tokenizer(config.text, source, unlabeled)
            built[modality] = encoders.get(
                modality,
                config.text.name,
                sequence_length=config.text.sequence_length,
                vocabulary_size=tokenizer.vocabulary_size(),
                weights=config.text.weights,
            )
            converters[modality] = encoders.TextConverter(
                tokenizer, config.text.sequence_length, config.text.clean
            )
        else:
            raise ValueError(
                f"Unknown modality {modality!r} in `model.modalities`. Known: images, text."
            )
        if num_replicas > 1:
            built[modality] = synchronize_batch_norm(built[modality])
    backbone = MultimodalBackbone(
        built,
        fusions.get(config.fusion.name, **config.fusion.options),
        hidden_dim=config.hidden_dim,
        dropout=config.dropout,
        modality_dropout=config.modality_dropout,
        dtype=dtype,
    )
    return MultimodalClassifier(
        backbone,
        num_classes=len(source.label_names),
        preprocessor=MultimodalPreprocessor(converters),
        label_names=source.label_names,
        activation="softmax" if source.label_kind == "multi_class" else "sigmoid",
        hidden_dim=config.head_hidden_dim,
        dropout=config.dropout,
    )


def check_has_classes(source, what):
    """Checks that the data have labels that name classes.

    Args:
        source: a source.
        what: str. What needs them, for the message.

    Raises:
        ValueError: when they have none, or regression targets.
    """
    if not len(source.label_names) or source.label_kind == "regression":
        kind = "regression targets" if len(source.label_names) else "no labels"
        raise ValueError(
            f"The data in {source.root!r} have {kind}, and {what} needs labels. Fix: another "
            "source (python -m mmlearn list sources), or a column of labels, --data.options labels=NAME."
        )


def absent_modalities(task, source):
    """The modalities of a model that the data do not have.

    Args:
        task: a task.
        source: a source with the split `train`.

    Returns:
        A tuple of str.

    Raises:
        ValueError: when the data have none of them.
    """
    there, modalities = source.examples("train").modalities, task.backbone.modalities
    absent = tuple(m for m in modalities if m not in there)
    if len(absent) == len(modalities):
        raise ValueError(
            f"The data in {source.root!r} have none of the model's modalities, "
            f"{', '.join(modalities)}. Fix: another model, or name the columns, such as "
            "--data.options images=NAME text=NAME."
        )
    return absent


def _check_data(config, source):
    check_has_classes(source, "a classifier")
    known = ("images", "text")  # others are refused where the model is built
    there = [m for m in source.examples("train").modalities if m in known]
    for modality in config.modalities:
        if modality in known and modality not in there:
            raise ValueError(
                f"The data in {source.root!r} have no {modality}. Fix: --model.modalities "
                f"{' '.join(there)}."
            )


def build_tokenizer(config, source, unlabeled=None):
    """Builds the tokenizer of a `TextConfig`: from a file, with the weights, or from captions."""
    if config.vocabulary is not None:
        uncased = text_encoders.is_uncased(config.name)
        return text_encoders.read_vocabulary(config.vocabulary, uncased)
    if os.path.isfile(config.weights):
        raise ValueError(
            f"The weights {config.weights!r} need the vocabulary they were trained with. Fix: pass "
            "--model.text.vocabulary FILE, or a preset directory, which holds both."
        )
    if text_encoders.has_tokenizer(config.name, config.weights):
        return text_encoders.load_tokenizer(config.name, config.weights)
    captions = list(source.examples("train").captions)
    if unlabeled is not None:
        captions += unlabeled.examples("train").captions or []
    return text_encoders.train_tokenizer(
        [text for texts in captions for text in texts], config.vocabulary_size
    )


def build_data(experiment, source, preprocessor, host=Host()):
    """Builds the `SourceData` of an experiment: batches for training and for validation.

    Args:
        experiment: `Experiment`.
        source: a source.
        preprocessor: `MultimodalPreprocessor`.
        host: `Host`. Of several, each gets its part of every batch.
    """
    data, training = experiment.data, experiment.training
    return SourceData(
        source,
        preprocessor,
        training.batch_size,
        data.augmentations,
        cache=data.cache,
        host=host,
        seed=training.seed,
        class_weights=data.class_weights,
        oversample=data.oversample,
        service=data.service,
    )


def build_unlabeled_data(experiment, source, preprocessor, host=Host()):
    """Builds the `SourceData` of phases without labels, from data of their own.

    Args:
        experiment: `Experiment`.
        source: the source of its `unlabeled`.
        preprocessor: `MultimodalPreprocessor`.
        host: `Host`.
    """
    data = dataclasses.replace(experiment.data, class_weights=None, oversample=None)
    return build_data(dataclasses.replace(experiment, data=data), source, preprocessor, host)


def build_sample(experiment, source, preprocessor, count):
    """Builds a dataset of some validation examples, drawn at random, the same ones for a seed.

    Args:
        experiment: `Experiment`.
        source: a source.
        preprocessor: `MultimodalPreprocessor`.
        count: int. At most so many examples.

    Returns:
        A dataset of `(x, y, sample_weight)`.
    """
    everything = len(source.examples("val"))
    random = np.random.default_rng(experiment.training.seed)
    # Drawn, not the first ones: data sets are often sorted by class.
    rows = np.sort(random.permutation(everything)[:count])
    sample = splits.Selection(source, {"val": ("val", rows)}, sample=count)
    return build_dataset(sample, "val", preprocessor, experiment.training.batch_size)
