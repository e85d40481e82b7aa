"""An ablation as evidence, in Markdown, CSV and LaTeX, and its figure: functions of its record."""

import csv
import io
import re

from matplotlib.figure import Figure

from mmlearn.analysis.document import NOT_MEASURED, Bullets, Heading, Table
from mmlearn.analysis.document import to_markdown as document_to_markdown

NOT_APPLICABLE = "-"  # of the full model itself, and of baselines
KINDS = {"frozen": "frozen encoders", "end_to_end": "end to end"}
COLORS = {"frozen": "tab:blue", "end_to_end": "tab:orange"}
FULL = "full"
_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def make_tables(record):
    """Makes the tables of a record, the words of their cells.

    Args:
        record: dict, see `mmlearn.experiments.ablation.run_ablation`.

    Returns:
        A list of dicts of `title`, `columns` and `rows`, as in `mmlearn.analysis.evidence`: one per group
        of rows, and the costs of all.
    """
    tables, full = [], _full(record)
    metric = record["metric"].replace("_", " ")
    header = ["model"]
    for kind in KINDS.values():
        header += [f"{metric}, {kind}", "minus full", "p"]
    header.append("training, s")
    for group, title in record["groups"].items():
        own = [row for row in record["rows"] if row["group"] == group and row is not full]
        rows = [_result_cells(row, record) for row in (full, *own)]
        if group == "modalities":
            rows += [_baseline_cells(name, value) for name, value in record["baselines"].items()]
        tables.append({"title": title, "columns": header, "rows": rows})
    header = ["model", "frozen, s", "end to end, s", "parameters", "trained, frozen"]
    header += ["trained, end to end", "GFLOPs", "latency, ms"]
    rows = [_cost_cells(row, record) for row in record["rows"]]
    return [*tables, {"title": "Costs", "columns": header, "rows": rows}]


def make_short_table(record):
    """Makes one table without intervals, a row per model and way of training, for narrow places.

    Args:
        record: dict, see `mmlearn.experiments.ablation.run_ablation`.

    Returns:
        A dict of `title`, `columns` and `rows`, likewise.
    """
    metric = record["metric"].replace("_", " ")
    rows = []
    for row in record["rows"]:
        for kind in KINDS:
            if row[kind] is None:
                continue
            compared = [NOT_APPLICABLE, NOT_APPLICABLE]
            if difference := row[kind]["minus_full"]:
                mean = difference["mean"]
                change = NOT_MEASURED if mean is None else f"{mean:+.4f}"
                compared = [change, _p(difference["p_holm"])]
            way, score = kind.replace("_", " "), f"{row[kind]['mean']:.4f}"
            rows.append([_label(row, record), way, score, *compared, _seconds(row, kind)])
        if not any(row[kind] for kind in KINDS):
            rows.append([_label(row, record), *[NOT_MEASURED] * 5])
    for name, value in record["baselines"].items():
        rows.append([name.replace("_", " "), NOT_APPLICABLE, f"{value:.4f}", *[NOT_APPLICABLE] * 3])
    title = f"{record['config']['name']}, mean of {len(record['seeds'])} seed(s)"
    columns = ["model", "training", metric, "minus full", "p", "s"]
    return {"title": title, "columns": columns, "rows": rows}


def make_evidence(record, figure):
    """Makes what the report shows, see `mmlearn.analysis.evidence`.

    Args:
        record: dict, see `mmlearn.experiments.ablation.run_ablation`.
        figure: str, the name of the picture that `plot_ablation` draws.
    """
    return {
        "tables": make_tables(record),
        "figures": [figure],
        "captions": {figure: "Mean and 95 % interval of each row; dotted: the full model"},
        "remarks": notes(record),
    }


def notes(record):
    """Says how the tables are to be read: a list of sentences.

    Args:
        record: dict, see `mmlearn.experiments.ablation.run_ablation`.
    """
    count, metric = len(record["seeds"]), record["metric"].replace("_", " ")
    return [
        f"{metric} of the fused prediction on the validation split, mean of {count} seed(s) with Student's "
        "95 % interval; the data and their splits are the same for all seeds.",
        "The encoders of a seed are trained once, in the phases that train encoders alone, and shared by "
        "all rows that have the same ones. With frozen encoders, a row trains its fusion and head on "
        "their stored features, in the phases that follow; end to end, it begins with these encoders and "
        "goes on as the phases say.",
        "minus full: the mean difference of the same seed's runs; p: of a two-sided paired t-test over "
        "seeds, adjusted by Holm's method for all rows of the column.",
        "Training: seconds of end-to-end training, the shared phases included, which train all encoders "
        "at once. With frozen encoders, of the fusion and head alone.",
        "FLOPs are floating-point operations of one example's prediction, about two per "
        "multiply-accumulate; latency is the median of one example's prediction from model inputs, "
        "in float32.",
        *findings(record),
    ]


def findings(record):
    """Says what stands out in the results, and what is odd: a list of sentences.

    Args:
        record: dict, see `mmlearn.experiments.ablation.run_ablation`.
    """
    count, sentences = len(record["seeds"]), []
    for kind, best in record["best_single"].items():
        if best["low"] is not None:
            sentences.append(
                f"Full minus the best single modality ({best['row']}), {KINDS[kind]}: "
                f"{_signed(best)}, p {_p(best['p'])} (one comparison, not adjusted)."
            )
    for kind, name in KINDS.items():
        shown = [row for row in record["rows"] if row[kind]]
        counts = sorted({row[kind]["num_examples"] for row in shown})
        if len(counts) > 1:
            sentences.append(
                f"Not all rows of {name} were scored on as many examples ({counts[0]:,} to "
                f"{counts[-1]:,}): examples without any modality of a row are left out."
            )
        same = [row["name"] for row in shown if _is_same(row, _full(record), kind)]
        if same:
            sentences.append(
                f"To the last digit the full model's results, {name}: {', '.join(same)}. What these rows "
                "change has no part in that training."
            )
        for row in shown:
            if len(row[kind]["seeds"]) < count:
                sentences.append(
                    f"{row['name']}, {name}: of {len(row[kind]['seeds'])} seed(s) only."
                )
    return sentences + [f"{r['name']}: {r['problem']}" for r in record["rows"] if r["problem"]]


def to_markdown(record):
    """Writes the tables and notes in Markdown.

    Args:
        record: dict, see `mmlearn.experiments.ablation.run_ablation`.

    Returns:
        A str.
    """
    blocks = []
    for table in make_tables(record):
        rows = tuple(map(tuple, table["rows"]))
        blocks += [Heading(table["title"]), Table("", tuple(table["columns"]), rows)]
    blocks += [Heading("Notes"), Bullets(tuple(notes(record)))]
    return document_to_markdown(f"Ablation of {record['config']['name']}", blocks, ".")[0]


def to_latex(record):
    r"""Writes the tables in LaTeX, each a `table*` of the full width, with the notes below.

    Args:
        record: dict, see `mmlearn.experiments.ablation.run_ablation`.

    Returns:
        A str, for `\input`; it needs no package.
    """
    lines = []
    for table in make_tables(record):
        header, rows = table["columns"], table["rows"]
        caption = f"{table['title']}, {record['config']['name']}"
        lines += [r"\begin{table*}", r"\centering", r"\scriptsize", r"\setlength{\tabcolsep}{3pt}"]
        lines += [rf"\caption{{{escape_latex(caption)}}}"]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\hline"]
        lines += [_latex_row(header), r"\hline", *map(_latex_row, rows), r"\hline"]
        lines += [r"\end{tabular}", r"\end{table*}", ""]
    lines += [escape_latex(" ".join(notes(record)))]
    return "\n".join(lines) + "\n"


def escape_latex(text):
    r"""Makes a text one that LaTeX prints as it is.

    Example:

    >>> escape_latex("cross_attention, 95 %")
    'cross\\_attention, 95 \\%'
    """
    return re.sub(r"[&%$#_{}~^\\<>]", lambda found: _LATEX[found[0]], text)


def to_csv(record):
    """Writes all numbers, unrounded: a line per row and way of training.

    Args:
        record: dict, see `mmlearn.experiments.ablation.run_ablation`.

    Returns:
        A str.
    """
    statistics = ("mean", "standard_deviation", "low", "high")
    compared = (*statistics, "p", "p_holm")
    seconds = ("train_seconds", "encoder_seconds", "num_examples")
    costs = ("parameters", "trained_frozen", "trained", "flops", "latency_ms")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["group", "row", "training", "metric", "seeds", *statistics]
        + [f"minus_full_{name}" for name in compared]
        + [*seconds, *costs]
    )
    for row in record["rows"]:
        for kind in KINDS:
            own = row[kind] or {}
            difference = own.get("minus_full") or {}
            is_full = row["name"] == FULL
            cells = [row["group"], row["name"], kind, record["metric"], len(own.get("seeds", ()))]
            cells += [own.get(name) for name in statistics]
            cells += [NOT_APPLICABLE if is_full else difference.get(name) for name in compared]
            cells += [own.get(name) for name in seconds]
            cells += [(row["costs"] or {}).get(name) for name in costs]
            writer.writerow(NOT_MEASURED if cell is None else cell for cell in cells)
    return file.getvalue()


def plot_ablation(record, path):
    """Draws each row's mean and interval, a panel per group with a scale of its own.

    Args:
        record: dict, see `mmlearn.experiments.ablation.run_ablation`.
        path: where the PNG goes.
    """
    full = _full(record)
    groups = {
        title: [full, *(row for row in record["rows"] if row["group"] == group and row is not full)]
        for group, title in record["groups"].items()
    }
    heights = [len(rows) + 1.2 for rows in groups.values()]
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(7.5, 0.28 * sum(heights) + 0.8), layout="constrained")
    panels = figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (title, rows) in zip(panels, groups.items(), strict=True):
        for place, row in enumerate(rows):
            for kind, shift in (("frozen", -0.13), ("end_to_end", 0.13)):
                if own := row[kind]:
                    bars = None
                    if own["low"] is not None:
                        bars = [[own["mean"] - own["low"]], [own["high"] - own["mean"]]]
                    axes.errorbar(
                        own["mean"], place + shift, xerr=bars, fmt="o", color=COLORS[kind],
                        markersize=4, capsize=2, linewidth=1,
                    )  # fmt: skip
        for kind, color in COLORS.items():
            if full[kind]:
                axes.axvline(full[kind]["mean"], color=color, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(rows)), [_label(row, record) for row in rows], fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_title(title, fontsize=9, loc="left", parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel(
        f"{record['metric'].replace('_', ' ')}, mean and 95 % interval", fontsize=9
    )
    handles = [
        panels[0].plot([], [], "o", color=COLORS[kind], markersize=4, label=name)[0]
        for kind, name in KINDS.items()
        if any(row[kind] for row in record["rows"])
    ]
    figure.legend(handles=handles, frameon=False, fontsize=8, loc="outside upper right", ncols=2)
    figure.savefig(path, dpi=150)


# --- Cells ---------------------------------------------------------------------------------------


def _full(record):
    return next(row for row in record["rows"] if row["name"] == FULL)


def _is_same(row, full, kind):
    return row is not full and full[kind] and row[kind]["seeds"] == full[kind]["seeds"]


def _label(row, record):
    """The name of a row; the full model's with that of its fusion."""
    if row["name"] != FULL:
        return row["name"]
    return f"{FULL} ({record['config']['model']['fusion']['name']})"


def _result_cells(row, record):
    cells = [_label(row, record)]
    for kind in KINDS:
        own = row[kind]
        if own is None:
            cells += [NOT_MEASURED] * 3
        elif row["name"] == FULL:
            cells += [_interval(own), NOT_APPLICABLE, NOT_APPLICABLE]
        else:
            difference = own["minus_full"]
            cells += [_interval(own), _signed(difference), _p(difference["p_holm"])]
    return [*cells, _seconds(row, "end_to_end")]


def _baseline_cells(name, value):
    score = f"{value:.4f}"
    return [name.replace("_", " "), *([score, NOT_APPLICABLE, NOT_APPLICABLE] * 2), NOT_APPLICABLE]


def _cost_cells(row, record):
    costs = row["costs"] or {}
    cells = [_label(row, record), _seconds(row, "frozen"), _seconds(row, "end_to_end")]
    for name in ("parameters", "trained_frozen", "trained"):
        cells.append(NOT_MEASURED if costs.get(name) is None else f"{costs[name]:,}")
    flops, latency = costs.get("flops"), costs.get("latency_ms")
    cells.append(NOT_MEASURED if flops is None else f"{flops / 1e9:.3g}")
    cells.append(NOT_MEASURED if latency is None else f"{latency:.1f}")
    return cells


def _seconds(row, kind):
    own = row[kind]
    if own is None:
        return NOT_MEASURED
    # Of frozen encoders, what the row trains itself: the same encoders serve all.
    shared = own["encoder_seconds"] if kind == "end_to_end" else 0.0
    return f"{own['train_seconds'] + shared:.0f}"


def _interval(values):
    if values["low"] is None:
        return f"{values['mean']:.4f} (one seed)"
    return f"{values['mean']:.4f} [{values['low']:.4f}, {values['high']:.4f}]"


def _signed(values):
    if values["mean"] is None:
        return NOT_MEASURED
    if values["low"] is None:
        return f"{values['mean']:+.4f} (one seed)"
    return f"{values['mean']:+.4f} [{values['low']:+.4f}, {values['high']:+.4f}]"


def _p(value):
    if value is None:
        return NOT_MEASURED
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _latex_row(cells):
    return " & ".join(map(escape_latex, cells)) + r" \\"
