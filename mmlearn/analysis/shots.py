"""The figure of few-shot adaptation: mAP against examples per class."""

import math

from matplotlib.figure import Figure

COLORS = {"fused": "tab:blue", "images": "tab:orange", "text": "tab:green"}
STYLES = {"prior": ":", "zero_shot": "--"}


def plot_shots(curves, baselines, path):
    """Draws a curve per kind of features, with intervals, and the baselines as level lines.

    Args:
        curves: dict of features' name to a list of dicts `shots` (int or `"all"`), `mean`, and `low`
            and `high` or `None` (see `mmlearn.experiments.adapt`).
        baselines: dict of name (`prior`, `zero_shot`) to dict of features' name to mAP.
        path: where the PNG goes.
    """
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    ticks = [str(point["shots"]) for point in next(iter(curves.values()))]
    for number, (name, points) in enumerate(curves.items()):
        color = COLORS.get(name, f"C{number + 3}")
        shift = 0.06 * (number - (len(curves) - 1) / 2)  # or the bars would hide each other
        means = [point["mean"] for point in points]
        # Without an interval there is no bar.
        bars = [
            [math.nan if p[end] is None else abs(p["mean"] - p[end]) for p in points]
            for end in ("low", "high")
        ]
        places = [place + shift for place in range(len(points))]
        axes.errorbar(places, means, bars, fmt=".-", capsize=3, color=color, label=name)
    for baseline, values in baselines.items():
        for number, (name, value) in enumerate(values.items()):
            color = COLORS.get(name, f"C{number + 3}") if baseline == "zero_shot" else "0.4"
            label = baseline.replace("_", "-")
            label = f"{label}, {name}" if baseline == "zero_shot" else label
            axes.axhline(value, color=color, linestyle=STYLES[baseline], linewidth=1, label=label)
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set(xlabel="training examples per class", ylabel="mean average precision, validation")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=120)
