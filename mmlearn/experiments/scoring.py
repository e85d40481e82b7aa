"""Scores a saved model, and what scoring needs of a source."""

import json
import os

import numpy as np
import tensorflow as tf

from data_prep.balance import label_shares
from data_prep.errors import DataError
from data_prep.fingerprint import fingerprint
from data_prep.pipeline import build_dataset
from data_prep.screening import find_unreadable, without_empty, without_unreadable
from data_prep.sources.joined import JoinedSource
from mmlearn.evaluation.availability import availability_grid, check_has_grid, predict_subsets
from mmlearn.evaluation.describe import describe
from mmlearn.evaluation.evaluate import evaluate
from mmlearn.evaluation.keywords import find_named, keyword_match
from mmlearn.evaluation.leave_one_out import leave_one_out
from mmlearn.experiments.build import build_source
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset

_KINDS = {False: "classes", True: "numbers"}


def evaluate_model(model, data, split="val", batch_size=32, availability=False):
    """Scores a saved model on a split of a data set.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str.
        batch_size: int.
        availability: bool. Whether to score it with modalities missing as well.

    Returns:
        A dict of `metrics`, those of `mmlearn.evaluation.evaluate` and `leave_one_out`; `intervals`,
        `comparisons` and `per_class`, see `describe`; `availability`, what `availability_grid`
        returns, or `None`; and `fitted_here`, whether the model's temperatures and thresholds
        were fitted on these very data. The prior is that of the run's training split, else that of
        the data's, else that of the split itself.

    Raises:
        ValueError: when the data do not fit the model, or it has one modality and its availability
            is asked for.
    """
    task = PredictionTask.from_preset(find_preset(model))
    source = open_fitting_source(task, data, split)
    prior = prior_of(model, source, split)
    dataset = build_dataset(source, split, task.preprocessor, batch_size)
    if availability:
        check_has_grid(task)
    calibration = read_calibration(model)
    fitted_here = calibration is not None and calibration["data"] == {
        "fingerprint": fingerprint(source, (split,)),
        "split": split,
    }
    try:
        rivals = prior, *baselines_of(source, split, task, prior)
        metrics, predictions = evaluate(task, dataset, *rivals)
        scores, without = leave_one_out(task, dataset)
        return {
            "metrics": {**metrics, **scores},
            **describe(task, predictions, *rivals, source.examples(split).groups, without),
            "availability": (
                availability_grid(*predict_subsets(task, dataset)) if availability else None
            ),
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
        A source whose labels are those of the task.

    Raises:
        ValueError: when they are not.
    """
    source, _ = without_unreadable(build_source(data), (split,), data.max_unreadable)
    source, _ = without_empty(source, (split,), task.backbone.modalities)
    main = task.described[task.main_output]
    if main.is_regression != (source.label_kind == "regression"):
        raise ValueError(
            f"The data have {_KINDS[not main.is_regression]}, but the model predicts "
            f"{_KINDS[main.is_regression]}. Fix: evaluate on the data set "
            "that the model was made for."
        )
    # As of a model that went on.
    is_part = not main.is_regression and set(source.label_names) <= set(task.label_names)
    if is_part and list(source.label_names) != task.label_names:
        source = JoinedSource({"data": source}, task.label_names, main.kind)
    if list(source.label_names) != task.label_names:
        raise ValueError(
            f"The labels of the data ({len(source.label_names)}, the first "
            f"{source.label_names[0]!r}) are not those of the model ({len(task.label_names)}, the first "
            f"{task.label_names[0]!r}). Fix: evaluate on the data set that the model was made for."
        )
    return source


def prior_of(model, source, split):
    """The prior that a saved model's run has noted, else that of the data, see `label_prior`."""
    record = os.path.join(model, "run.json")
    if os.path.isfile(record):
        with open(record, encoding="utf-8") as file:
            return np.array(json.load(file)["data"]["label_prior"])
    return label_prior(source, "train" if "train" in source.splits else split)


def read_calibration(model):
    """What `calibration.json` in the folder of a model says, or `None` where there is none."""
    path = os.path.join(model, "calibration.json")
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def baselines_of(source, split, task, prior):
    """What predictions are compared with besides the trivial baselines: oracles and other baselines.

    Args:
        source: a source.
        split: str.
        task: a task with the labels of the source.
        prior: float array `(num_columns,)`, see `label_prior`.

    Returns:
        A dict of oracles, those of the source, and a dict of baselines: `keywords`, where a text names
        a class, see `keyword_match`.
    """
    oracles, captions = source.oracles(split), source.examples(split).captions
    if captions is None:
        return oracles, {}
    texts = [each[0] if each else "" for each in captions]  # what is read without shuffling
    heads, parts, is_any = task.described, [], False
    for name, columns in task.columns.items():
        head, own = heads[name], np.asarray(prior)[columns]
        if head.is_regression:
            parts.append(np.tile(own, (len(texts), 1)))
            continue
        is_any = is_any or find_named(texts, head.label_names).any()
        parts.append(keyword_match(texts, head.label_names, own, head.kind))
    return oracles, {"keywords": np.hstack(parts)} if is_any else {}


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


def label_prior(source, split):
    """What is known of labels before any example is seen: float array `(num_columns,)`.

    The share of the examples that have each label, or the mean of each target. Where labels are partly
    unknown, of those that are known; 0 for a class that no example knows.
    """
    labels = source.examples(split).labels
    if source.label_kind == "regression":
        return np.asarray(labels, np.float64).mean(axis=0)
    return label_shares(labels)
