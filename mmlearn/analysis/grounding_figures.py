"""Figures of what `measure_grounding` found."""

from matplotlib.figure import Figure

from mmlearn.analysis.grounding import BASELINES, names_of_maps


def plot_pointing(record, path):
    """Draws how often each map points at what a visible word names, and how much of it lies there.

    Args:
        record: dict, as `measure_grounding` returns.
        path: where the PNG goes.
    """
    maps = {name: each["visible"] for name, each in record["maps"].items() if "visible" in each}
    names = [name for name in names_of_maps(record) if name in maps]
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(9, 0.32 * len(names) + 1.3), layout="constrained")
    titles = {"pointing": "pointing game", "energy": "energy in box"}
    for ax, what in zip(figure.subplots(1, 2, sharey=True), titles, strict=True):
        for place, name in enumerate(names):
            found = maps[name][what]
            if found is None:
                continue
            color = "0.65" if name in BASELINES else "tab:blue"
            ax.barh(place, found["value"], color=color)
            # An interval need not hold the value.
            ax.plot([found["low"], found["high"]], [place] * 2, color="0.3", linewidth=1.5)
        if "centre_prior" in maps:
            prior = maps["centre_prior"][what]["value"]
            ax.axvline(prior, color="0.3", linestyle=":", linewidth=1, label="centre prior")
        if what == "pointing":
            oracle = record["oracle"]["visible"]
            ax.axvline(oracle, color="tab:green", linewidth=1, label="best map of this grid")
            ax.axvline(
                0.8 * oracle, color="tab:green", linestyle="--", linewidth=1, label="80 % of it"
            )
        ax.set(title=titles[what], xlim=(0, 1.02))
        ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        ax.spines[["top", "right"]].set_visible(False)
    ax.invert_yaxis()
    figure.axes[0].legend(framealpha=0.9, edgecolor="none", fontsize=7, loc="lower right")
    counted = record["num_words"].get("visible", 0)
    figure.suptitle(f"{counted} visible words of {record['num_scenes']} images", fontsize=10)
    figure.savefig(path, dpi=120)


def plot_deletion(record, path):
    """Draws the deletion and insertion curves.

    Args:
        record: dict, as `measure_grounding` returns, with curves.
        path: where the PNG goes.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    labels = {
        "deletion": ("share of the image deleted, hottest first", "lower is better"),
        "insertion": ("share of the image put back, hottest first", "higher is better"),
    }
    for ax, what in zip(figure.subplots(1, 2, sharey=True), labels, strict=True):
        for name, curves in record["curves"].items():
            scores, area = curves[what]["scores"], curves[what]["area"]["value"]
            shares = [place / (len(scores) - 1) for place in range(len(scores))]
            style = ":" if name in ("centre_prior", "random_order") else ".-"
            ax.plot(shares, scores, style, label=f"{name.replace('_', ' ')}, area {area:.2f}")
        ax.set(xlabel=labels[what][0], title=f"{what} ({labels[what][1]})", ylim=(0, 1.02))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("probability of the category")
    figure.savefig(path, dpi=120)
