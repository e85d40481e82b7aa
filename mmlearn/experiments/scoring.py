"""Scores a saved model, and what scoring needs of a source."""

import json
import os

import numpy as np
import tensorflow as tf

from data_prep.balance import label_shares
from data_prep.errors import DataError
from data_prep.pipeline import build_dataset
from data_prep.screening import find_unreadable, without_unreadable
from data_prep.sources.joined import JoinedSource
from mmlearn.evaluation.evaluate import evaluate
from mmlearn.experiments.build import build_source
from mmlearn.models import MultimodalClassifier
from mmlearn.models.presets import find_preset


def evaluate_model(model, data, split="val", batch_size=32):
    """Scores a saved model on a split of a data set.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str.
        batch_size: int.

    Returns:
        The metrics of `mmlearn.evaluation.evaluate`. The prior is that of the run's training
        split, else that of the data's, else that of the split itself.
    """
    task = MultimodalClassifier.from_preset(find_preset(model))
    source, _ = without_unreadable(build_source(data), (split,), data.max_unreadable)
    is_part = set(source.label_names) <= set(task.label_names)  # as of a model that went on
    if is_part and list(source.label_names) != task.label_names:
        kind = "multi_label" if task.activation == "sigmoid" else "multi_class"
        source = JoinedSource({"data": source}, task.label_names, kind)
    if list(source.label_names) != task.label_names:
        raise ValueError(
            f"The labels of the data ({len(source.label_names)}, the first "
            f"{source.label_names[0]!r}) are not those of the model ({task.num_classes}, the first "
            f"{task.label_names[0]!r}). Fix: evaluate on the data set that the model was made for."
        )
    record = os.path.join(model, "run.json")
    if os.path.isfile(record):
        with open(record, encoding="utf-8") as file:
            prior = np.array(json.load(file)["data"]["label_prior"])
    else:
        prior = label_prior(source, "train" if "train" in source.splits else split)
    dataset = build_dataset(source, split, task.preprocessor, batch_size)
    try:
        return evaluate(task, dataset, prior, source.oracles(split))[0]
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        raise name_bad_images(source, (split,)) or error from None


def name_bad_images(source, splits):
    """Names the files that went bad since they were screened."""
    for split in splits:
        bad = find_unreadable(source, split)
        if bad:
            return DataError(
                f"{len(bad)} image file(s) of {split!r} have become unreadable, the first: "
                f"{bad[0].path!r} {bad[0].reason}. Fix: restore them and start again."
            )
    return None


def label_prior(source, split):
    """The share of the examples that have each label: float array `(num_classes,)`.

    Where labels are partly unknown, of those that are known; 0 for a class that no example knows.
    """
    return label_shares(source.examples(split).labels)
