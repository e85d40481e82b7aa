"""The one place where a config becomes objects: source, tokenizer, task, datasets."""

import dataclasses

import numpy as np

from data_prep import sources, splits
from data_prep.names import call, find
from data_prep.pipeline import build_dataset
from mmlearn.experiments import tasks
from mmlearn.experiments.config import DataConfig
from mmlearn.experiments.modalities import BUILDERS
from mmlearn.models import MultimodalPreprocessor
from mmlearn.training.data import SourceData
from mmlearn.training.distribution import Host, synchronize_batch_norm


def build_source(config):
    """Builds the source of a `DataConfig`, with the splits `train` and `val`."""
    cls = sources.get(config.source)
    root = config.root or cls.default_root
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


def build_unlabeled(config, data):
    """Builds the source of an `UnlabeledConfig`, with the splits `train` and `val`, or `None`.

    Args:
        config: `UnlabeledConfig`.
        data: `DataConfig` of the labels. A source that makes the same files as theirs reads theirs, wherever
            they are.

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
    root, default = config.root, sources.get(config.source).default_root
    if root is None and default is not None and default == sources.get(data.source).default_root:
        root = data.root
    return build_source(DataConfig(config.source, root, config.options))


def build_task(config, source, num_replicas=1, dtype=None, unlabeled=None):
    """Builds the task of a `ModelConfig`, under the current strategy's scope.

    Args:
        config: `ModelConfig`.
        source: a source; its labels name the classes or the numbers to predict, if the task does so,
            and its captions train a missing vocabulary.
        num_replicas: int. With more than one, batch normalisation is synchronised.
        dtype: dtype policy of the backbone, by default that of Keras; heads compute in float32.
        unlabeled: a source of more captions for a missing vocabulary, or `None`.

    Raises:
        ValueError: when the data lack what the task needs, or a modality of the model.
    """
    _check_data(config, source)
    built, converters = {}, {}
    for modality in config.modalities:
        build = find(modality, BUILDERS, "modality")
        built[modality], converters[modality] = build(getattr(config, modality), source, unlabeled)
        if num_replicas > 1:
            built[modality] = synchronize_batch_norm(built[modality])
    return join_encoders(config, source, built, MultimodalPreprocessor(converters), dtype)


def join_encoders(config, source, built, preprocessor=None, dtype=None):
    """Builds the task of a `ModelConfig` on encoders that are there, such as those of stored features.

    Args:
        config: `ModelConfig`.
        source: a source.
        built: dict of modality to encoder.
        preprocessor: `MultimodalPreprocessor`, or `None` for model inputs only.
        dtype: see `build_task`.
    """
    kind = tasks.get(config.task.name)
    return kind.build(config, source, built, preprocessor, dtype)


def absent_modalities(modalities, source):
    """The modalities of a model that the data do not have.

    Args:
        modalities: iterable of str. Those of the model.
        source: a source with the split `train`.

    Returns:
        A tuple of str.

    Raises:
        ValueError: when the data have none of them.
    """
    there = source.examples("train").modalities
    absent = tuple(m for m in modalities if m not in there)
    if len(absent) == len(modalities):
        raise ValueError(
            f"The data in {source.root!r} have none of the model's modalities, "
            f"{', '.join(modalities)}. Fix: another model, or name the columns, such as "
            "--data.options images=NAME text=NAME."
        )
    return absent


def _check_data(config, source):
    tasks.get(config.task.name).check(config, source)
    there = [m for m in source.examples("train").modalities if m in BUILDERS]
    for modality in config.modalities:
        if find(modality, BUILDERS, "modality") and modality not in there:
            raise ValueError(
                f"The data in {source.root!r} have no {modality}. Fix: --model.modalities "
                f"{' '.join(there)}."
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
