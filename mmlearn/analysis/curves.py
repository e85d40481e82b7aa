"""Convergence figures, and what they show in words."""

import math
import textwrap

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# One odd epoch is no trend: a rise must hold for two epochs, and the slope at the end is that of the
# last epoch or from the two before the last two to these, whichever is less.
FEWEST_EPOCHS = 4
# A loss wobbles by up to 3 % from epoch to epoch near its end; what is to count must be above that.
CLEAR_RISE = 0.05  # of a loss, relative to its lowest value
CLEAR_FALL = 0.02  # likewise; training losses are means over more examples and wobble less
# The rate of a phase ends near 0, which flattens its curves: a loss that still falls this much an
# epoch was cut off.
STEEP = 0.03  # relative fall of a loss per epoch
WORSE_METRIC = 0.01  # mAP, which wobbles by some thousandths on a thousand examples

SMALLEST = 1e-12  # a loss below this is this

COLORS = {  # of the fused prediction and of each modality's head
    "fused": "tab:blue",
    "images": "tab:orange",
    "text": "tab:green",
    "audio": "tab:red",
    "series": "tab:purple",
    "table": "tab:brown",
}

LINE = 150  # characters of a line under the figure
LINE_INCHES = 0.17


def plot_curves(records, path):
    """Draws loss and mAP, or R², over all epochs, training and validation, and `remarks` under them.

    Where there is neither, as of other tasks, all that was measured in validation as well; where there
    are losses alone, as of retrieval, one panel.

    Args:
        records: list of dicts `name`, `history`, as `run_phases` returns.
        path: where the PNG goes.
    """
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    wrap = textwrap.TextWrapper(LINE, subsequent_indent="    ")
    text = [line for sentence in remarks(records) for line in wrap.wrap(sentence)]
    figure = Figure(figsize=(11, 4 + LINE_INCHES * (1 + len(text))), layout="constrained")
    names = {f"{modality}_classes_map": modality for modality in COLORS if modality != "fused"}
    names = {"classes_map": "fused", "map": "fused", **names}
    measured = "mean average precision"
    if any(key.endswith("r2") for record in records for key in record["history"]):
        names = {name.replace("classes_map", "values_r2"): label for name, label in names.items()}
        names, measured = {"r2": "fused", **names}, "R²"
    colors = {label: COLORS[label] for label in names.values()}
    if not any(key in record["history"] for record in records for key in names):
        names = {key: key.replace("_", " ") for key in _other_metrics(records)}
        colors = {label: f"C{number}" for number, label in enumerate(names.values())}
        measured = "metrics"
    loss_axes, *rest = figure.subplots(1, 2 if names else 1, squeeze=False)[0]
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
                    rest[0].plot(epochs, history[prefix + key], style, color=colors[label])
                    last[label] = colors[label]
        for axes in (loss_axes, *rest):
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
    lines += [Line2D([], [], color=color) for color in last.values()]
    place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}  # beside, where no curve is
    axes = rest[0] if rest else loss_axes
    axes.legend(lines, ["training", "validation", *last], frameon=False, **place)
    loss_axes.set(xlabel="epoch", ylabel="total loss of the phase")
    if rest:
        rest[0].set(xlabel="epoch", ylabel=measured)
    for axes in (loss_axes, *rest):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("\n".join(text), x=0.01, ha="left", fontsize=9, linespacing=1.3)
    figure.savefig(path, dpi=120)


def _other_metrics(records):
    """What was measured in training and in validation and is no loss."""
    keys = dict.fromkeys(key for record in records for key in record["history"])
    return [key for key in keys if f"val_{key}" in keys and not key.endswith("loss")]


def remarks(records):
    """Says of each phase what its curves show: over- or under-fitting, divergence, or neither.

    Dropout makes the training loss higher than that of the same model in validation, so the gap
    between the two says nothing; only how each goes on counts, and the main metric: the fused mAP
    or, in a phase that does not train it, the mean of the other heads'.

    Args:
        records: list of dicts `name`, `history`, as `run_phases` returns.

    Returns:
        A list of sentences, one per phase. Epochs are counted over all phases, as in the figure.

    Example:

    >>> history = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2]}
    >>> remarks([{"name": "fusion", "history": history}])
    ['fusion: too few epochs (2) to tell a trend.']
    """
    sentences, before = [], 0
    for record in records:
        sentences.append(f"{record['name']}: {_remark(record['history'], before)}")
        before += len(record["history"]["loss"])
    return sentences


def _remark(history, before):
    loss, val_loss = history["loss"], history.get("val_loss")
    if not all(map(math.isfinite, [*loss, *(val_loss or ())])):
        return "diverged, a loss is no number: a lower learning rate, or `clip_norm`."
    if min([*loss, *(val_loss or ())]) < 0:
        return "its loss fell below 0, as with learned weights: trends of it are not judged."
    if len(loss) < FEWEST_EPOCHS:
        return f"too few epochs ({len(loss)}) to tell a trend."
    # A loss of 0 could not be divided by.
    loss, val_loss = ([max(v, SMALLEST) for v in values or ()] for values in (loss, val_loss))
    lowest = min(range(len(loss)), key=loss.__getitem__)
    if min(loss[-2:]) > (1 + CLEAR_RISE) * loss[lowest]:
        return (
            f"diverged, the training loss rose from {loss[lowest]:.3g} in epoch "
            f"{before + lowest + 1} to {loss[-1]:.3g}: a lower learning rate, or `clip_norm`."
        )
    if not val_loss:
        return "without validation, over-fitting cannot be seen."
    best = min(range(len(val_loss)), key=val_loss.__getitem__)
    fell_since = 1 - loss[-1] / loss[best]
    if min(val_loss[-2:]) > (1 + CLEAR_RISE) * val_loss[best] and fell_since > CLEAR_FALL:
        rise = (
            f"the validation loss rose from {val_loss[best]:.3g} in epoch {before + best + 1} to "
            f"{val_loss[-1]:.3g} while the training loss fell"
        )
        metric = _main_metric(history)
        if metric and max(metric) - max(metric[-2:]) < WORSE_METRIC:
            return (
                f"over-confident, {rise}, but the validation mAP did not get worse: more dropout or "
                "`label_smoothing` if the probabilities matter."
            )
        return (
            f"over-fitted, {rise}: --training.phases.N.restore-best, fewer epochs, or more dropout."
        )
    change, val_change = _slope(loss), _slope(val_loss)
    if max(change, val_change) < -STEEP:
        return (
            f"under-fitted, training and validation loss still fell by {-change:.0%} and "
            f"{-val_change:.0%} an epoch at the end: more epochs, or a higher learning rate."
        )
    state = "not settled" if val_change < -STEEP else "settled"
    return f"{state}, the validation loss changed by {val_change:+.1%} an epoch at the end."


def _slope(values):
    """The relative change an epoch at the end; of two ways to see it, the one with less of it."""
    pairs = (sum(values[-2:]) / sum(values[-4:-2]) - 1) / 2
    return min(pairs, values[-1] / values[-2] - 1, key=abs)


def _main_metric(history):
    """The mAP in validation that counts: of the fused prediction, or the mean of what there is."""
    for name in ("val_classes_map", "val_map"):
        if name in history:
            return history[name]
    heads = [v for name, v in history.items() if name.startswith("val_") and name.endswith("_map")]
    return [sum(values) / len(values) for values in zip(*heads, strict=True)]
