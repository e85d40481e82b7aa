"""The one place where a config becomes objects: source, tokenizer, classifier, datasets."""

import os

from data_prep import sources, splits
from data_prep.names import call
from data_prep.pipeline import build_dataset, count_examples, read_into_memory
from mmlearn import encoders, fusions
from mmlearn.encoders import text as text_encoders
from mmlearn.models import MultimodalBackbone, MultimodalClassifier, MultimodalPreprocessor
from mmlearn.training.data import TrainingData
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


def build_classifier(config, source, num_replicas=1):
    """Builds the classifier of a `ModelConfig`, under the current strategy's scope.

    Args:
        config: `ModelConfig`.
        source: a source; its labels name the classes, its captions train a missing vocabulary.
        num_replicas: int. With more than one, batch normalisation is synchronised.

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
            tokenizer = build_tokenizer(config.text, source)
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


def _check_data(config, source):
    if not len(source.label_names) or source.label_kind == "regression":
        kind = "regression targets" if len(source.label_names) else "no labels"
        raise ValueError(
            f"The data in {source.root!r} have {kind}, and a classifier needs labels. Fix: another "
            "source (python -m mmlearn list sources), or a column of labels, --data.options labels=NAME."
        )
    index = source.examples("train")
    columns = {"images": index.images, "text": index.captions}
    there = [modality for modality, column in columns.items() if column is not None]
    for modality in config.modalities:
        if modality in columns and modality not in there:
            raise ValueError(
                f"The data in {source.root!r} have no {modality}. Fix: --model.modalities "
                f"{' '.join(there)}."
            )


def build_tokenizer(config, source):
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
    captions = source.examples("train").captions
    return text_encoders.train_tokenizer(
        [text for texts in captions for text in texts], config.vocabulary_size
    )


def build_datasets(experiment, source, preprocessor, host=Host()):
    """Builds the training data and the validation dataset of an experiment.

    Args:
        experiment: `Experiment`.
        source: a source.
        preprocessor: `MultimodalPreprocessor`.
        host: `Host`. Of several, each gets its part of every batch, which hold the same examples
            together as the batches of one host.

    Returns:
        A `TrainingData` and a dataset.

    Raises:
        ValueError: when the batch size or an option of the data is not right.
    """
    data, batch_size = experiment.data, experiment.training.batch_size
    if batch_size % host.count:
        raise ValueError(
            f"`batch_size` must be divisible by the {host.count} hosts. "
            f"Received: batch_size={batch_size}. Fix: --training.batch-size."
        )
    files = read_into_memory(source, "train") if data.cache else False

    def build(start=(0, 0), with_ids=False):
        # With ids, the whole batch: what is wrong in it, all hosts tell alike.
        part = Host() if with_ids else host
        return build_dataset(
            source,
            "train",
            preprocessor,
            batch_size // part.count,
            shuffle=True,
            augmentations=data.augmentations,
            with_ids=with_ids,
            seed=experiment.training.seed,
            start=start,
            repeat=True,
            class_weights=data.class_weights,
            oversample=data.oversample,
            cache=files,
            shard=(part.index, part.count),
            service=data.service,
        )

    build()  # where the batch size or an augmentation is wrong, it is said before training begins
    steps = count_examples(source, "train", data.oversample) // batch_size
    validation = build_dataset(
        source,
        "val",
        preprocessor,
        batch_size // host.count,
        cache=data.cache,
        shard=(host.index, host.count),
    )
    return TrainingData(build, steps), validation
