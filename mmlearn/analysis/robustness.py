"""Figures of robustness: degradation curves, and what the severities look like."""

import numpy as np
from matplotlib.figure import Figure

from data_prep.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from mmlearn.analysis.curves import COLORS

COLUMNS = 5
LEVELS = {  # what the levels of a kind of damage are
    "corruption": "severity",
    "noise": "severity",
    "length": "words",
    "absent": "share of examples",
    "blank": "share of examples",
    "exchanged": "share of examples",
}


def plot_degradation(record, path):
    """Draws a panel per kind of damage: the score over the levels, with intervals.

    Args:
        record: dict, as `measure_robustness` returns.
        path: where the PNG goes.
    """
    curves = record["curves"]
    rows = -(-len(curves) // COLUMNS)
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(2.5 * COLUMNS, 2.1 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
    lines = {}
    for panel in panels[len(curves) :]:
        panel.axis("off")
    for panel, curve in zip(panels, curves, strict=False):
        modality, clean = curve["modality"], record["clean"]
        for what, first, color, style in (
            ("fused", "fused", COLORS["fused"], "-"),
            ("alone", modality, COLORS[modality], "-"),
        ):
            if not curve[what]:
                continue
            points = [clean[first], *curve[what]]
            middle, low, high = ([p[end] for p in points] for end in ("value", "low", "high"))
            places = range(len(points))
            name = "fused" if what == "fused" else f"{modality} head"
            (lines[name],) = panel.plot(places, middle, style, marker=".", color=color)
            panel.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
        if modality in record["without"]:
            lines["fused, without\nwhat is damaged"] = panel.axhline(
                record["without"][modality]["value"], color="tab:blue", linestyle="--", linewidth=1
            )
        lines["prior"] = panel.axhline(
            record["prior"]["value"], color="0.5", linestyle=":", linewidth=1
        )
        panel.set_xticks(range(len(curve["levels"]) + 1), ["0", *map(_tick, curve["levels"])])
        if curve["kind"] == "length":
            panel.set_xticks(range(len(curve["levels"]) + 1), ["all", *map(str, curve["levels"])])
        panel.set_title(f"{modality}: {curve['name'].replace('_', ' ')}", fontsize=9)
        panel.set_xlabel(LEVELS[curve["kind"]], fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    for row in range(rows):
        panels[row * COLUMNS].set_ylabel(record["score"])
    figure.legend(
        lines.values(), lines.keys(), frameon=False, fontsize=9, loc="outside upper center", ncols=6
    )
    figure.savefig(path, dpi=110)


def plot_corruptions(image, path, seed=(0, 0)):
    """Draws an image with each corruption at each severity.

    Args:
        image: uint8 `(height, width, 3)`, RGB.
        path: where the PNG goes.
        seed: ints, of the draws.
    """
    figure = Figure(figsize=(13, 0.85 * len(CORRUPTIONS) / 2 + 0.3), layout="constrained")
    panels = figure.subplots(-(-len(CORRUPTIONS) // 2), 2, squeeze=False).T.ravel()
    for panel, name in zip(panels, CORRUPTIONS, strict=True):
        row = [image, *(corrupt(image, name, severity, seed) for severity in SEVERITIES)]
        panel.imshow(np.concatenate(row, axis=1))
        panel.set_ylabel(name.replace("_", "\n"), fontsize=8, rotation=0, ha="right", va="center")
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
    figure.savefig(path, dpi=110)


def _tick(level):
    return f"{level:.0%}" if isinstance(level, float) else str(level)
