"""The task that predicts what the labels say: classes or numbers."""

import numpy as np

from data_prep.names import call
from data_prep.sources.joined import JoinedSource
from mmlearn.analysis.attention import draw_attention
from mmlearn.analysis.calibration import plot_calibration
from mmlearn.analysis.confusion import plot_confusion
from mmlearn.evaluation.describe import describe
from mmlearn.evaluation.evaluate import evaluate
from mmlearn.evaluation.leave_one_out import leave_one_out
from mmlearn.experiments.backbone import build_backbone
from mmlearn.experiments.baselines import baselines_of, check_has_classes, label_prior
from mmlearn.experiments.task_kind import Measured, TaskKind
from mmlearn.models import MultimodalClassifier, MultimodalRegressor
from mmlearn.models.prediction_task import PredictionTask

_KINDS = {False: "classes", True: "numbers"}


def check_prediction(config, source):
    """Checks that there is something to predict, see `TaskKind`."""
    if source.label_kind != "regression":
        check_has_classes(source, "a classifier")


def build_prediction(config, source, encoders, preprocessor=None, dtype=None):
    """Builds a classifier or a regressor, as the labels say, see `TaskKind`."""
    names = source.label_names
    options = {
        "backbone": build_backbone(config, encoders, dtype),
        "preprocessor": preprocessor,
        "hidden_dim": config.head_hidden_dim,
        "dropout": config.dropout,
        "consistency": config.consistency,
    }
    if source.label_kind == "regression":
        targets = np.asarray(source.examples("train").labels, np.float64)
        deviations = targets.std(axis=0)
        options |= {
            "num_targets": len(names),
            "target_names": names,
            "means": targets.mean(axis=0),
            "deviations": np.where(deviations > 0, deviations, 1.0),
        }
        return call(MultimodalRegressor, {**options, **config.task.options}, "task 'prediction'")
    activation = "softmax" if source.label_kind == "multi_class" else "sigmoid"
    options |= {"num_classes": len(names), "label_names": names, "activation": activation}
    return call(MultimodalClassifier, {**options, **config.task.options}, "task 'prediction'")


def open_prediction(task, source):
    """The source with the labels of a task in their order, see `TaskKind`."""
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


def measure_prediction(task, source, split, dataset, prior):
    """Scores predictions, those without each modality, and the baselines, see `TaskKind`."""
    rivals = prior, *baselines_of(source, split, task, prior)
    metrics, predictions = evaluate(task, dataset, *rivals)
    scores, without = leave_one_out(task, dataset)
    details = describe(task, predictions, *rivals, source.examples(split).groups, without)
    return Measured({**metrics, **scores}, predictions=predictions, **details)


def draw_prediction(task, source, measured, folder):
    """Draws attention, calibration and confusion, see `TaskKind`."""
    draw_attention(task, source, folder)
    plot_calibration(task, measured.predictions, folder)
    plot_confusion(task, measured.predictions, folder)


PREDICTION = TaskKind(
    task=PredictionTask,
    check=check_prediction,
    build=build_prediction,
    prior=label_prior,
    open=open_prediction,
    measure=measure_prediction,
    draw=draw_prediction,
)
