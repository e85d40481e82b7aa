"""The figure of what each modality contributes."""

import numpy as np
from matplotlib.figure import Figure

from mmlearn.analysis.curves import COLORS

BARS = {
    "shapley": "Shapley value",
    "alone": "alone, minus prior",
    "leave_one_out": "lost without it",
    "permutation": "lost with that\nof others",
}


def plot_contribution(record, by_example, path):
    """Draws the contributions of each modality with intervals, and the Shapley values of the examples.

    Args:
        record: dict, as `measure_contribution` returns.
        by_example: dict, likewise.
        path: where the PNG goes.
    """
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    bars, histogram = figure.subplots(1, 2)
    modalities = list(record["modalities"])
    width = 0.8 / len(modalities)
    for number, modality in enumerate(modalities):
        own, color = record["modalities"][modality], COLORS[modality]
        measures = [name for name in BARS if name in own]
        places = np.arange(len(measures)) + width * (number - (len(modalities) - 1) / 2)
        values = [own[name]["value"] for name in measures]
        # An interval need not hold the value.
        reach = [
            [max(own[n]["value"] - own[n]["low"], 0) for n in measures],
            [max(own[n]["high"] - own[n]["value"], 0) for n in measures],
        ]
        bars.bar(places, values, width, yerr=reach, capsize=3, color=color, label=modality)
        column = by_example["shapley"][:, number]
        histogram.hist(
            column[~np.isnan(column)], bins=40, histtype="step", linewidth=1.5, color=color
        )
    bars.set_xticks(range(len(measures)), [BARS[name] for name in measures], fontsize=9)
    bars.axhline(0, color="0.6", linewidth=0.8)
    score = record["score"]
    bars.set(ylabel=score, title=f"{score} of {record['num_examples']:,} examples")
    bars.legend(frameon=False)
    histogram.axvline(0, color="0.6", linewidth=0.8)
    counts = {flag: by_example["dominance"].count(flag) for flag in set(by_example["dominance"])}
    shares = ", ".join(
        f"{count / record['num_examples']:.0%} {flag}"
        for flag, count in sorted(counts.items(), key=lambda item: -item[1])
    )
    histogram.set(
        xlabel=f"Shapley value of an example's {record['example_score']}",
        ylabel="examples",
        title=shares,
    )
    histogram.title.set_fontsize(9)
    for axes in (bars, histogram):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
