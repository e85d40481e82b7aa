"""Scores a saved model, and what scoring needs of a source."""

import json
import os

import numpy as np
import tensorflow as tf

from data_prep.errors import DataError
from data_prep.fingerprint import fingerprint
from data_prep.pipeline import build_dataset
from data_prep.screening import find_unreadable, without_empty, without_unreadable
from mmlearn.evaluation.availability import availability_grid, check_has_grid, predict_subsets
from mmlearn.experiments.build import build_source
from mmlearn.experiments.tasks import kind_of
from mmlearn.experiments.watched import watched
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset
from mmlearn.models.task import MultimodalTask


def evaluate_model(model, data, split="val", batch_size=32, availability=False, console=None):
    """Scores a saved model on a split of a data set.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str.
        batch_size: int.
        availability: bool. Whether to score it with modalities missing as well.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        A dict of `metrics`, `intervals`, `comparisons` and `per_class`, see `Measured`;
        `availability`, what `availability_grid`
        returns, or `None`; and `fitted_here`, whether the model's temperatures and thresholds
        were fitted on these very data. The prior is that of the run's training split, else that of
        the data's, else that of the split itself.

    Raises:
        ValueError: when the data do not fit the model, or its availability is asked for and it has one
            modality or predicts no labels.
    """
    task = MultimodalTask.from_preset(find_preset(model))
    source = open_fitting_source(task, data, split)
    prior = prior_of(model, task, source, split)
    dataset = build_dataset(source, split, task.preprocessor, batch_size)
    if availability:
        if not isinstance(task, PredictionTask):
            raise ValueError(
                f"{model!r} is a {type(task).__name__}, which predicts no labels to compare with "
                "modalities missing. Fix: leave --availability out."
            )
        check_has_grid(task)
    calibration = read_calibration(model)
    fitted_here = calibration is not None and calibration["data"] == {
        "fingerprint": fingerprint(source, (split,)),
        "split": split,
    }
    try:
        with watched(dataset, console, "scoring") as passes:
            measured = kind_of(task).measure(task, source, split, passes, prior)
            grid = availability_grid(*predict_subsets(task, passes)) if availability else None
        return {
            "metrics": measured.metrics,
            **measured.details,
            "availability": grid,
            "fitted_here": fitted_here,
        }
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        raise name_bad_images(source, (split,)) or error from None


def open_fitting_source(task, data, split):
    """Opens the source of a `DataConfig`, for a task that was made for such data.

    Args:
        task: a task.
        data: `DataConfig`.
        split: str. Of what is screened.

    Returns:
        A source whose labels, if it needs any, are those of the task.

    Raises:
        ValueError: when they are not.
    """
    source, _ = without_unreadable(build_source(data), (split,), data.max_unreadable)
    source, _ = without_empty(source, (split,), task.backbone.modalities)
    return kind_of(task).open(task, source)


def prior_of(model, task, source, split):
    """The prior that a saved model's run has noted, else that of the data, see `TaskKind`."""
    record = os.path.join(model, "run.json")
    if os.path.isfile(record):
        with open(record, encoding="utf-8") as file:
            noted = json.load(file)["data"]["label_prior"]
            return None if noted is None else np.array(noted)
    return kind_of(task).prior(source, "train" if "train" in source.splits else split)


def read_calibration(model):
    """What `calibration.json` in the folder of a model says, or `None` where there is none."""
    path = os.path.join(model, "calibration.json")
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def name_bad_images(source, splits):
    """Names the files that went bad since they were screened: an error, or `None`."""
    for split in splits:
        bad = find_unreadable(source, split)
        if bad:
            return DataError(
                f"{len(bad)} file(s) of {split!r} have become unreadable, the first: "
                f"{bad[0].path!r} {bad[0].reason}. Fix: restore them and start again."
            )
    return None
