"""Figure of recall by rank."""

import os

import numpy as np
from matplotlib.figure import Figure

from mmlearn.evaluation.retrieval import DIRECTIONS

FARTHEST = 100


def plot_recall(predictions, folder):
    """Draws which share of queries has found its own up to each rank, to `recall.png`.

    Args:
        predictions: dict of arrays, of which `"{row}_ranks"` are ranks from 1; a row ends with a
            direction, `"text_to_images"` or `"images_to_text"`, and has an axis of its own for it.
        folder: str.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    ranks = np.arange(1, FARTHEST + 1)
    for axes, direction in zip(figure.subplots(1, 2, sharey=True), DIRECTIONS, strict=True):
        for name, values in predictions.items():
            if name.endswith(f"{direction}_ranks"):
                label = name.removesuffix(f"{direction}_ranks").strip("_") or "embeddings"
                recall = (values[:, None] <= ranks).mean(axis=0)
                axes.plot(ranks, recall, label=label.replace("_", " "))
        axes.set(title=direction.replace("_", " "), xlabel="rank", xscale="log", ylim=(0, 1.02))
        axes.legend(loc="lower right")
    figure.supylabel("recall")
    figure.savefig(os.path.join(folder, "recall.png"), dpi=120)
