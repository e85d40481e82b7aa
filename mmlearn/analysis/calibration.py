"""The reliability figure: what share of the predictions of a confidence is true."""

import os

import numpy as np
from matplotlib.figure import Figure

from mmlearn.evaluation.calibration import (
    NUM_BINS,
    calibration_bins,
    expected_calibration_error,
    top_label,
)


def plot_calibration(task, predictions, folder):
    """Draws the reliability of each head of classes: `calibration.png`, or of several `calibration_{head}.png`.

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
        names = [
            n for n in ("fused", *task.backbone.modalities) if task.own_name(n, head) in predictions
        ]
        rows = {}
        for name in names:
            known = predictions.get(f"{name}_present", np.ones(len(labels), bool))
            if known.any():
                values = predictions[task.own_name(name, head)][known]
                rows[name] = confidences(head.kind, labels[known], values)
        suffix = "" if len(task.described) == 1 else f"_{head.name}"
        paths.append(os.path.join(folder, f"calibration{suffix}.png"))
        what = "likeliest class" if head.kind == "multi_class" else "label"
        draw_reliability(rows, paths[-1], what)
    return paths


def confidences(kind, labels, probabilities):
    """What was true of what was predicted, and its probability: of every label, or of the likeliest.

    Args:
        kind: `"multi_label"` or `"multi_class"`.
        labels: int array `(num_examples, num_classes)`; -1 is unknown and does not count.
        probabilities: float array of the same shape.

    Returns:
        bool array and float array `(num_predictions,)`.
    """
    if kind == "multi_class":
        rows = (labels > 0).any(1)
        return top_label(labels[rows], probabilities[rows])
    known = labels >= 0
    return labels[known] > 0, probabilities[known]


def draw_reliability(rows, path, what="label", num_bins=NUM_BINS):
    """Draws a curve per row, and under it how many predictions each bin has.

    Args:
        rows: dict of name to `(truth, confidences)`, see `calibration_bins`.
        path: where the PNG goes.
        what: str. What the confidence is in, for the axis.
        num_bins: int.
    """
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(5.5, 6), layout="constrained")
    curves, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curves.plot([0, 1], [0, 1], ":", color="0.6", label="calibrated")
    for number, (name, (truth, values)) in enumerate(rows.items()):
        bins = calibration_bins(truth, values, num_bins)
        error = expected_calibration_error(truth, values, num_bins)
        label = f"{name}, ECE {error:.3f}"
        curves.plot(bins["confidence"], bins["share"], ".-", color=f"C{number}", label=label)
        counts.step(bins["confidence"], bins["count"], where="mid", color=f"C{number}")
    curves.set(ylabel="share that is true", xlim=(0, 1), ylim=(0, 1.02))
    counts.set(
        xlabel=f"probability of a {what}, mean of the bin", ylabel="predictions", yscale="log"
    )
    curves.legend(frameon=False, fontsize=9)
    for axes in (curves, counts):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
