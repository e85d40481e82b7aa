"""Figures of errors: the classes, the slices."""

import numpy as np
from matplotlib.figure import Figure

from mmlearn.evaluation.per_class import false_rate, miss_rate, order_by_errors

SHOWN_CLASSES = 30
BETTER, WORSE, UNCLEAR = "tab:green", "tab:red", "0.6"


def plot_classes(classes, path):
    """Draws the shares that are missed and wrongly found of the classes with the most errors.

    Args:
        classes: dict, as `per_class` returns.
        path: where the PNG goes.
    """
    shown = order_by_errors(classes)[:SHOWN_CLASSES]
    figure = Figure(figsize=(9, 0.28 * len(shown) + 1.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(shown))
    missed = [
        f" {own['false_negatives']} of {own['true_positives'] + own['false_negatives']}"
        for _, own in shown
    ]
    false = [f" {own['false_positives']}" for _, own in shown]
    for axes, rate, labels, color, title in (
        (left, miss_rate, missed, "tab:orange", "missed, of those that are true"),
        (right, false_rate, false, "tab:purple", "wrongly found, of the others"),
    ):
        values = [100 * (rate(own) or 0.0) for _, own in shown]
        axes.barh(places, values, color=color)
        for place, value, label in zip(places, values, labels, strict=True):
            axes.text(value, place, label, va="center", fontsize=8)
        axes.set_xlim(0, max([*values, 1.0]) * 1.3)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g} %")
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_yticks(places, [name for name, _ in shown], fontsize=9)
    left.invert_yaxis()
    figure.savefig(path, dpi=110)


def plot_slices(compared, path):
    """Draws how much larger the loss is in each slice, with intervals; what is not significant in grey.

    Args:
        compared: list of dicts, as `compare_slices` returns.
        path: where the PNG goes.
    """
    shown = sorted(compared, key=lambda each: -each["difference"]["value"])
    figure = Figure(figsize=(9, 0.27 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots()
    for place, each in enumerate(shown):
        value, low, high = (each["difference"][end] for end in ("value", "low", "high"))
        color = UNCLEAR
        if each["is_significant"]:
            color = WORSE if value > 0 else BETTER
        axes.plot([low, high], [place, place], color=color, linewidth=2)
        axes.plot(value, place, "o", color=color)
    axes.axvline(0, color="0.5", linewidth=0.8)
    labels = [f"{each['name']}, n = {each['num_examples']}" for each in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(
        "mean loss in the slice minus that outside, 95 % interval\n(grey: not significant, by Holm)"
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
