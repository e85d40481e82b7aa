"""Runs beside each other, and beside what others have published."""

import io
import json
import pathlib

from matplotlib.figure import Figure

from mmlearn.analysis.document import Picture, Table
from mmlearn.analysis.report.words import fingerprint_of, name_of, number_of

PUBLISHED = pathlib.Path(__file__).with_name("published.json")


def compare_runs(runs, scores):
    """The runs beside each other: scores, gains, a figure of both."""
    rows, gains, bars = [], [], []
    for number, (run, own) in enumerate(zip(runs, scores, strict=True), 1):
        head = own.heads[0] if own.heads else ""
        name, metric = f"{number}: {run.name}", own.main(head)
        source = (run.record["config"].get("data") or {}).get("source")
        fused = own.value(f"{head}fused", metric)
        count = own.metrics.get(f"{head}fused", {}).get("num_examples")
        data = f"{source} ({fingerprint_of(run.record['data'])})"
        rows.append((name, data, count, name_of(metric), fused))
        values = [fused]
        for what in ("fusion_effectiveness", "over_baseline"):
            gain = own.gain(head, what)
            rival = gain["second"] if gain else ""
            difference = gain and {"value": gain["difference"], **_ends(gain)}
            values.append(own.value(rival, metric))
            gains.append((name, name_of(rival.removeprefix(head)), values[-1], difference))
        bars.append((name, name_of(metric), *values))
    note = (
        "Runs on data of one fingerprint share their validation examples. Figures on different data do "
        "not rank models. Intervals: 95 %, bootstrap over examples."
    )
    columns = ("run", "data", "examples", "metric", "fused")
    caption = "Fused, best single modality and best baseline, by run."
    return [
        Table("Runs", columns, tuple(rows), note),
        Table("Gain", ("run", "rival", "of the rival", "fused minus that"), tuple(gains)),
        Picture("comparison.png", _plot_bars(bars), caption),
    ]


def _plot_bars(bars):
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(max(5, 1.6 * len(bars) + 2), 3.6), layout="constrained")
    axes = figure.subplots()
    labels, colors = (
        ("fused", "best single modality", "best baseline"),
        ("tab:blue", "tab:orange", "0.6"),
    )
    for place, (label, color) in enumerate(zip(labels, colors, strict=True)):
        cells = [bar[2 + place] for bar in bars]
        values = [number_of(cell) for cell in cells]
        errors = [
            [abs(number_of(c) - c[end]) if isinstance(c, dict) else 0 for c in cells]
            for end in ("low", "high")
        ]
        x = [number + 0.26 * (place - 1) for number in range(len(bars))]
        axes.bar(x, values, 0.24, color=color, label=label, yerr=errors, capsize=2)
    names = [f"{name}\n({metric})" for name, metric, *_ in bars]
    axes.set_xticks(range(len(bars)), names, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    content = io.BytesIO()
    figure.savefig(content, dpi=120)
    return content.getvalue()


def list_published():
    """Figures of others, with where each was read."""
    known = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    columns = ("method", "task", "data", "protocol", "metric", "value", "source")
    rows = tuple(tuple(entry[column] for column in columns) for entry in known["figures"])
    note = (
        "By others, read at the source that is named; nothing here was measured by this project. Compare "
        f"where task, split and protocol are the same, and nowhere else. {known['not_checked']}"
    )
    return [Table("Published, not measured here", columns, rows, note)]


def _ends(found):
    return {end: found[end] for end in ("low", "high")}
