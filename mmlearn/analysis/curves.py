"""Convergence figures."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D


def plot_curves(records, path):
    """Draws loss and mAP over all epochs, training and validation, phases side by side.

    Args:
        records: list of dicts `name`, `history`, as `run_phases` returns.
        path: where the PNG goes.
    """
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(11, 4), layout="constrained")
    loss_axes, map_axes = figure.subplots(1, 2)
    names = {"images_classes_map": "image head", "text_classes_map": "text head"}
    names = {"classes_map": "fused", "map": "fused", **names}
    colors = {"fused": "tab:blue", "image head": "tab:orange", "text head": "tab:green"}
    end, last = 0, {}
    for record in records:
        history = record["history"]
        epochs = range(end + 1, end + 1 + len(history["loss"]))
        for key, style in (("loss", ".-"), ("val_loss", "x--")):
            if key in history:
                loss_axes.plot(epochs, history[key], style, color="tab:gray")
        for key, label in names.items():
            for prefix, style in (("", ".-"), ("val_", "x--")):
                if prefix + key in history:
                    map_axes.plot(epochs, history[prefix + key], style, color=colors[label])
                    last[label] = colors[label]
        for axes in (loss_axes, map_axes):
            if end:
                axes.axvline(end + 0.5, color="0.8", linewidth=1)
            axes.annotate(
                record["name"],
                ((epochs[0] + epochs[-1]) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        end = epochs[-1]
    lines = [
        Line2D([], [], color="0.4", marker=marker, linestyle=style)
        for marker, style in ((".", "-"), ("x", "--"))
    ]
    loss_axes.legend(lines, ["training", "validation"], frameon=False)
    lines += [Line2D([], [], color=color) for color in last.values()]
    map_axes.legend(lines, ["training", "validation", *last], frameon=False)
    loss_axes.set(xlabel="epoch", ylabel="total loss of the phase")
    map_axes.set(xlabel="epoch", ylabel="mean average precision")
    for axes in (loss_axes, map_axes):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
