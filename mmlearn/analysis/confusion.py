"""The figure of what is taken for what."""

import os

import numpy as np
from matplotlib.figure import Figure

from mmlearn.evaluation.confusion import (
    multiclass_confusion,
    multiclass_predictions,
    multilabel_confusion,
)

MOST = 30  # classes of a figure that can still be read
NOTHING = "(nothing)"


def plot_confusion(task, predictions, folder):
    """Draws the confusion of each head of classes: `confusion.png`, or of several `confusion_{head}.png`.

    Args:
        task: the task that was evaluated.
        predictions: dict, as `mmlearn.evaluation.evaluate` returns.
        folder: str, where the figures go.

    Returns:
        List of str, the paths.
    """
    paths = []
    for head in task.described.values():
        if head.is_regression:
            continue
        labels = predictions[task.own_name("labels", head)]
        values = predictions[task.own_name("fused", head)]
        names = list(head.label_names)
        if head.kind == "multi_class":
            matrix = multiclass_confusion(labels, multiclass_predictions(values)).astype(float)
        else:
            threshold = 0.5 if head.thresholds is None else head.thresholds
            matrix = multilabel_confusion(labels, values >= np.asarray(threshold))
            names.append(NOTHING)
        suffix = "" if len(task.described) == 1 else f"_{head.name}"
        paths.append(os.path.join(folder, f"confusion{suffix}.png"))
        draw_confusion(matrix, names, paths[-1])
    return paths


def draw_confusion(matrix, names, path, most=MOST):
    """Draws a confusion matrix as shares of its rows.

    Args:
        matrix: float array `(num_classes, num_classes)`, `[true, predicted]`, see
            `mmlearn.evaluation.confusion`.
        names: list of str, its rows and columns.
        path: where the PNG goes.
        most: int. With more classes, those that are confused most are drawn.
    """
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * np.diag(matrix)
    shown = np.sort(np.argsort(-wrong, kind="stable")[:most])
    shares = (matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-12))[np.ix_(shown, shown)]
    count = len(shown)
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(2.5 + 0.32 * count, 2 + 0.32 * count), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(count), [names[place] for place in shown], rotation=90)
    axes.set_yticks(range(count), [f"{names[p]}, {matrix[p].sum():.0f}" for p in shown])
    for (row, column), value in np.ndenumerate(shares):
        if value >= 0.005:
            color = "white" if value > 0.6 else "black"
            text = f"{value:.2f}".lstrip("0") if value < 1 else "1"
            axes.text(column, row, text, ha="center", va="center", fontsize=6, color=color)
    left = "" if count == len(names) else f", the {count} of {len(names)} most confused"
    axes.set(xlabel="predicted", ylabel="true, how often", title=f"share of the row{left}")
    figure.colorbar(image, ax=axes, shrink=0.7)
    figure.savefig(path, dpi=120)
