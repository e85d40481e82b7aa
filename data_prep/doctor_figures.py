"""The figures of a diagnosis: classes, sizes, captions and duplicates."""

import math
import warnings
from collections import Counter

import numpy as np
import tensorflow as tf
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from data_prep import images

NAMES = ("labels.png", "cooccurrence.png", "sizes.png", "tokens.png", "duplicates.png")

_DPI = 120
_MAX_CLASSES = 80  # the most frequent ones
_MAX_PAIRS = 12
_PAIR_COLUMNS = 3
_THUMBNAIL_SIZE = 160  # pixels
_MAX_NAME = 28  # characters of a label
_LOG_FROM = 20  # largest by smallest value, from which an axis is logarithmic
_MAX_BINS = 120
_GREY = "0.75"
_WHOLE_NUMBERS = "{x:,.0f}"


def draw(diagnosis):
    """Draws what a diagnosis has.

    Args:
        diagnosis: `data_prep.doctor.Diagnosis`.

    Returns:
        A dict of file name (of `NAMES`) to `matplotlib.figure.Figure`; without the figures for which
        there is nothing to draw.
    """
    drawn = {
        "labels.png": _draw_labels(diagnosis),
        "cooccurrence.png": _draw_cooccurrence(diagnosis),
        "sizes.png": _draw_sizes(diagnosis),
        "tokens.png": _draw_tokens(diagnosis),
        "duplicates.png": _draw_duplicates(diagnosis),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def write(figure, file):
    """Writes a figure as PNG; signs that the font lacks become boxes, without a warning.

    Args:
        figure: what `draw` returns.
        file: a file that is open for writing bytes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")
        figure.savefig(file, format="png", dpi=_DPI)


def _figure(width, height):
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    return Figure(figsize=(width, height), layout="constrained")


def _plain(text, limit=_MAX_NAME):
    """Text that fits beside an axis; a `$` would start a formula, and a line end another line."""
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text.replace("$", r"\$")


def _parts(diagnosis, kind, key):
    """`{split: description}` of the splits that have something under a key."""
    parts = {split: description[kind] for split, description in diagnosis.splits.items()}
    return {split: part for split, part in parts.items() if part and part.get(key)}


def _draw_labels(diagnosis):
    parts = _parts(diagnosis, "labels", "counts")
    if not parts:
        return None
    counts = np.array([part["counts"] for part in parts.values()])
    classes = np.argsort(-counts.sum(axis=0), kind="stable")[:_MAX_CLASSES]
    counts = counts[:, classes]
    places = np.arange(len(classes))
    figure = _figure(max(6, 2 + 0.18 * len(classes)), 1.8 + 2.6 * len(parts))
    panels = figure.subplots(len(parts), sharex=True, squeeze=False)[:, 0]
    is_log = counts.max() > _LOG_FROM * counts[counts > 0].min(initial=counts.max())
    for axes, split, values in zip(panels, parts, counts, strict=True):
        axes.bar(places, values, color="tab:blue")
        if is_log:
            axes.set_yscale("log", nonpositive="clip")
            axes.set_ylim(0.7, None)
        else:
            axes.yaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter(_WHOLE_NUMBERS)
        absent = places[values == 0]
        style = {"color": "tab:red", "linestyle": "", "marker": "x", "markersize": 5}
        # At the foot of the axes, whatever their scale.
        foot = {"transform": axes.get_xaxis_transform(), "label": "no example"}
        axes.plot(absent, np.full(len(absent), 0.03), **style, **foot)
        axes.set(ylabel=f"examples in {_plain(split)}{' (log scale)' if is_log else ''}")
        axes.spines[["top", "right"]].set_visible(False)
    if (counts == 0).any():
        panels[0].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    names = [_plain(diagnosis.label_names[c]) for c in classes]
    panels[-1].set_xticks(places, names, rotation=90, fontsize=8)
    panels[-1].set_xlim(-0.8, len(classes) - 0.2)
    total = len(diagnosis.label_names)
    shown = f"the {len(classes)} most frequent of {total:,}" if total > len(classes) else total
    panels[0].set_title(f"Examples per class ({shown} classes)", loc="left")
    return figure


def _draw_cooccurrence(diagnosis):
    parts = _parts(diagnosis, "labels", "cooccurrence")
    if not parts or diagnosis.label_kind == "multi_class":
        return None
    split, part = next(iter(parts.items()))
    counts = np.array(part["counts"])
    classes = np.argsort(-counts, kind="stable")[:_MAX_CLASSES]
    classes = classes[counts[classes] > 0]
    if len(classes) < 2:
        return None
    both = np.array(part["cooccurrence"], np.float64)[np.ix_(classes, classes)]
    shares = both / counts[classes][:, None]
    np.fill_diagonal(shares, np.nan)
    side = max(5.0, 3.2 + 0.15 * len(classes))
    figure = _figure(side + 0.8, side)
    axes = figure.subplots()
    axes.set_facecolor(_GREY)
    drawn = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    places = range(len(classes))
    names = [_plain(diagnosis.label_names[c]) for c in classes]
    fontsize = 7 if len(classes) > 20 else 9
    axes.set_xticks(places, names, rotation=90, fontsize=fontsize)
    axes.set_yticks(places, names, fontsize=fontsize)
    axes.set(
        xlabel="other class",
        ylabel="class, the most frequent first",
        title=f"Classes that come together ({_plain(split)})",
    )
    label = "share of the class's examples that have the other"
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.8, fraction=0.05)
    return figure


def _draw_sizes(diagnosis):
    parts = _parts(diagnosis, "images", "sizes")
    if not parts:
        return None
    total = Counter()
    for part in parts.values():
        for height, width, count in part["sizes"]:
            total[width, height] += count
    widths, heights = np.array(list(total)).T
    counts = np.array(list(total.values()))
    figure = _figure(7, 5.6)
    axes = figure.subplots()
    order = np.argsort(counts, kind="stable")  # frequent sizes on top
    norm = LogNorm(1, max(counts.max(), 2))
    style = {"s": 22, "cmap": "viridis_r", "edgecolors": "0.3", "linewidths": 0.3}
    drawn = axes.scatter(widths[order], heights[order], c=counts[order], norm=norm, **style)
    both = np.concatenate([widths, heights])
    if both.max() > _LOG_FROM * both.min():
        axes.set(xscale="log", yscale="log")
    else:
        axes.set(xlim=(0, 1.05 * both.max()), ylim=(0, 1.05 * both.max()))
    axes.axline((1, 1), (2, 2), color=_GREY, zorder=0, label="square")
    different = "one size" if len(counts) == 1 else f"{len(counts):,} different sizes"
    axes.set(
        xlabel="width (pixels)",
        ylabel="height (pixels)",
        title=f"Sizes of {counts.sum():,} images, upright ({different})",
    )
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(drawn, ax=axes, label="images of this size", format=_WHOLE_NUMBERS)
    return figure


def _draw_tokens(diagnosis):
    parts = _parts(diagnosis, "captions", "token_lengths")
    if not parts:
        return None
    figure = _figure(8, 4.2)
    axes = figure.subplots()
    longest = max(part["token_lengths"][-1][0] for part in parts.values())
    step = math.ceil((longest + 1) / _MAX_BINS)
    edges = np.arange(0, longest + step + 1, step) - 0.5
    for split, part in parts.items():
        lengths, counts = np.array(part["token_lengths"]).T
        share, _ = np.histogram(lengths, edges, weights=100 * counts / counts.sum())
        over = 100 * part["overlong"] / part["count"]
        label = f"{_plain(split)}: {part['count']:,} captions, {over:.2g}% longer"
        axes.stairs(share, edges, linewidth=1.5, label=label)
    limit = part["sequence_length"]
    axes.axvline(limit + 0.5, color="tab:red", linestyle="--", label=f"{limit} tokens are read")
    axes.set(
        xlabel=f"tokens per caption ({part['token_kind']}, with [CLS] and [SEP])",
        ylabel="share of the captions (%)",
        title="Length of the captions",
        xlim=(-0.5, max(longest, limit) + 1.5),
    )
    axes.legend(edgecolor="none", framealpha=0.9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_duplicates(diagnosis):
    pairs = []
    # Pictures that are in several splits come first.
    for group in sorted(diagnosis.duplicates, key=lambda group: not group["cross_split"]):
        first, *others = group["images"]
        other = next((o for o in others if o["split"] != first["split"]), others[0])
        pairs.append((first, other))
    if not pairs:
        return None
    shown = pairs[:_MAX_PAIRS]
    rows = math.ceil(len(shown) / _PAIR_COLUMNS)
    columns = min(len(shown), _PAIR_COLUMNS)
    figure = _figure(4.4 * columns, 0.6 + 2.7 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, pair in zip(panels, shown, strict=False):
        gap = np.full((_THUMBNAIL_SIZE, 8, 3), 255, np.uint8)
        axes.imshow(np.hstack([_thumbnail(pair[0]["path"]), gap, _thumbnail(pair[1]["path"])]))
        axes.set_title("\n".join(_plain(_place(image), 44) for image in pair), fontsize=9)
    of = f"{len(shown)} of {len(pairs):,} pairs" if len(pairs) > len(shown) else "all pairs"
    figure.suptitle(f"Pictures that are the same or nearly ({of})")
    return figure


def _place(image):
    has_split = image["id"].startswith(f"{image['split']}/")
    return image["id"] if has_split else f"{image['split']}: {image['id']}"


def _thumbnail(path):
    """uint8 `(160, 160, 3)`: the picture on white; grey where there is no file, as with shards."""
    canvas = np.full((_THUMBNAIL_SIZE, _THUMBNAIL_SIZE, 3), 255, np.uint8)
    try:
        image = images.decode(tf.io.read_file(path), _THUMBNAIL_SIZE)
    except tf.errors.OpError:
        return canvas - 64
    box = (_THUMBNAIL_SIZE, _THUMBNAIL_SIZE)
    image = tf.image.resize(image, box, preserve_aspect_ratio=True, antialias=True)
    image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8).numpy()
    height, width = image.shape[:2]
    top, left = (_THUMBNAIL_SIZE - height) // 2, (_THUMBNAIL_SIZE - width) // 2
    canvas[top : top + height, left : left + width] = image
    return canvas
