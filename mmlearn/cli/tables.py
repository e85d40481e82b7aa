"""Tables for the terminal."""

from rich.table import Table

from mmlearn.analysis.document import format_column, is_number_column

# What is shown, of several labels, of one true class and of numbers; the records have all there is.
SHOWN = (
    "mAP",
    "top_1_accuracy",
    "top_5_accuracy",
    "macro_F1",
    "micro_F1",
    "AUC",
    "binary_accuracy",
)
SHOWN_OF_NUMBERS = ("R2", "MAE", "RMSE")
SHOWN_OF_CAPTIONS = ("CIDEr-D", "share_of_person", "BLEU-4", "faithfulness")
_SHORT = {
    "average_precision": "AP",
    "true_positives": "hits",
    "false_positives": "false",
    "false_negatives": "missed",
}


def shown_metrics(metrics):
    """The names of the metrics of a row that tables show, the main one first.

    Args:
        metrics: dict of metric name to anything.
    """
    if "R2" in metrics:
        return [name for name in SHOWN_OF_NUMBERS if name in metrics]
    if "CIDEr-D" in metrics:
        return [name for name in SHOWN_OF_CAPTIONS if name in metrics]
    if "binary_accuracy" in metrics:
        return [name for name in SHOWN if name in metrics and not name.startswith("top_")]
    # Where one class is true, micro F1 is accuracy.
    found = [name for name in SHOWN if name in metrics and name != "micro_F1"]
    if not found:  # another task, with a few metrics of its own
        return list(metrics)
    return sorted(found, key=lambda name: name == "mAP" and "top_1_accuracy" in found)


def metrics_table(metrics, title, intervals=None):
    """Makes a table of metrics, a row per predictor.

    Args:
        metrics: dict of row name to dict of metric name to float, as `evaluate` and `leave_one_out`
            return.
        title: str.
        intervals: dict of row name to dict of metric name to `low` and `high`, see
            `mmlearn.evaluation.describe`, or `None`. That of the first metric is shown.
    """
    first = next(iter(metrics.values()))
    columns = shown_metrics(first)
    counted = f" ({first['num_classes']} classes with a positive)" if "num_classes" in first else ""
    table = Table(title=f"{title}{counted}", pad_edge=False)  # 80 columns wide
    table.add_column("from")
    for place, column in enumerate(columns):
        table.add_column(column.replace("_", " "), justify="right")
        if intervals and not place:
            table.add_column("95 % interval", justify="right", no_wrap=True)
    kind = None
    for name, values in metrics.items():
        # The rows before the baselines are the model's own.
        last, kind = kind, _kind_of_row(name)
        if kind != last:
            table.add_section()
        style = "bold" if name in ("fused", "model") else None
        # Several heads may be of different kinds.
        cells = [f"{values[c]:.4f}" if c in values else "" for c in columns]
        if intervals:
            cells.insert(1, _interval(intervals.get(name, {}).get(columns[0])))
        table.add_row(name.replace("_", " "), *cells, style=style)
    return table


def _interval(found):
    return "" if found is None else f"{found['low']:.3f} to {found['high']:.3f}"


def comparison_lines(comparisons):
    """Says what fusion gains over the best single modality, and over the best baseline.

    Args:
        comparisons: dict, as `mmlearn.evaluation.describe` returns.

    Returns:
        List of str.
    """
    return [
        f"{name.replace('_', ' ')}: {each['metric'].replace('_', ' ')} {each['difference']:+.4f} "
        f"({each['low']:+.4f} to {each['high']:+.4f}, p {_p(each['p'])}), {each['first']} minus "
        f"{each['second'].replace('_', ' ')}"
        for name, each in comparisons.items()
    ]


def _p(value):
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def per_class_table(classes, name):
    """Makes a table of a row per class, or per target.

    Args:
        classes: dict of class to dict of metric to number or `None`, see `mmlearn.evaluation.per_class`.
        name: str. What predicts, for the title.
    """
    columns = [c for c in next(iter(classes.values())) if c != "true_negatives"]
    table = Table(title=f"{name.replace('_', ' ')}, each by itself", pad_edge=False)
    table.add_column("")
    for column in columns:
        table.add_column(_SHORT.get(column, column), justify="right")
    for each, values in classes.items():
        cells = ["" if values[column] is None else values[column] for column in columns]
        table.add_row(each, *(f"{v:.3f}" if isinstance(v, float) else str(v) for v in cells))
    return table


def calibration_table(report, name, split):
    """Makes a table of a calibration, before and after.

    Args:
        report: dict of one head, see `mmlearn.evaluation.calibrate`.
        name: str, of the head.
        split: str, that was fitted on.
    """
    table = Table(title=f"{name}, {report['num_examples']:,} examples of {split}", pad_edge=False)
    for column in ("", "before", "after", "on the same"):
        table.add_column(column, justify="right" if column else "left")
    for metric, before in report["before"].items():
        values = (before, report["after"][metric], report["on_the_same"][metric])
        table.add_row(metric.replace("_", " "), *(f"{value:.4f}" for value in values))
    return table


def _kind_of_row(name):
    if name in ("nothing", "most_frequent", "prior", "mean", "keywords"):
        return "baseline"
    first = name.partition("_")[0]
    return first if first in ("oracle", "without") else "model"


def accuracy_remark(metrics):
    """Says why accuracy is not what to read where examples have several labels, else `None`.

    Args:
        metrics: dict, as `evaluate` returns.
    """
    nothing = metrics.get("nothing")  # not of numbers, nor of several heads
    if nothing is None or nothing["num_labels"] == 1:
        return None
    return (
        f"Read mAP, not accuracy: with {nothing['num_labels']:.1f} true labels per example, predicting "
        f"nothing is right for {nothing['binary_accuracy']:.1%} of all labels (binary accuracy), and "
        'what Keras calls "accuracy" (categorical) only asks whether the likeliest class is the first '
        "true one in the list of classes."
    )


def availability_table(grid):
    """Makes a table of how good predictions are with modalities missing, a column per share of the last.

    Args:
        grid: dict, as `availability_grid` returns.
    """
    *others, last = grid["modalities"]
    table = Table(title="mAP where modalities are available for a part of the examples")
    for modality in others:
        table.add_column(modality, justify="right")
    for share in grid["shares"]:
        table.add_column(f"{last} {share:.0%}", justify="right")
    rows = {}
    for cell in grid["cells"]:
        *row, column = cell["shares"]
        rows.setdefault(tuple(row), {})[column] = cell["mAP"]
    for row, found in rows.items():
        values = [found.get(share) for share in grid["shares"]]
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        table.add_row(*(f"{share:.0%}" for share in row), *cells)
    return table


def forgetting_table(forgetting):
    """Makes a table of what a model that went on has forgotten, a row per class it knew before.

    Args:
        forgetting: dict, as `measure_forgetting` returns.
    """
    count, transfer = forgetting["num_examples"], forgetting["backward_transfer"]
    table = Table(title=f"earlier classes, {count:,} validation examples of the earlier data")
    table.add_column("average precision of")
    for column in ("before", "after", "difference", "95 % interval"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, values in forgetting["classes"].items():
        before, after = values["before"], values["after"]
        table.add_row(name, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}", "")
    table.add_section()
    table.add_row(
        "mean",
        f"{forgetting['before']:.4f}",
        f"{forgetting['after']:.4f}",
        f"{transfer['difference']:+.4f}",
        f"{transfer['low']:+.4f} to {transfer['high']:+.4f}",
        style="bold",
    )
    return table


def folds_table(record):
    """Makes a table of a cross-validation, a row per predictor and metric, accuracies left out.

    Args:
        record: dict, as `run_folds` returns.
    """
    pooled = record["pooled"]
    count = len(record["runs"])
    # 80 columns wide, so that it fits into any terminal.
    table = Table(title=f"{record['config']['name']}, mean of {count} folds", pad_edge=False)
    table.add_column("from")
    for column in ("metric", "mean", "std", "95 % interval", "corrected", "pooled"):
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for name, metrics in record["metrics"].items():
        table.add_section()
        shown = [(each, metrics[each]) for each in shown_metrics(metrics)]
        shown = [each for each in shown if each[0] != "binary_accuracy"]
        for place, (metric, values) in enumerate(shown):
            table.add_row(
                "" if place else name.replace("_", " "),
                metric.replace("_", " "),
                f"{values['mean']:.4f}",
                f"{values['standard_deviation']:.3f}",
                f"{values['low']:.3f} to {values['high']:.3f}",
                f"{values['corrected_low']:.3f} to {values['corrected_high']:.3f}",
                f"{pooled[name][metric]:.4f}" if name in pooled else "",
                style="bold" if name == "fused" else None,
            )
    return table


def trials_table(result, count=10):
    """Makes a table of the best trials of a search.

    Args:
        result: dict, as `run_search` returns.
        count: int. How many are shown.
    """
    trials = result["trials"]
    ended = [trial for trial in trials if trial["state"] == "complete"]
    early = sum(trial["state"] == "pruned" for trial in trials)
    failed = len(trials) - len(ended) - early
    table = Table(title=f"{len(trials)} trials, {early} ended early, {failed} failed")
    table.add_column("trial", justify="right")
    table.add_column(result["metric"].replace("_", " "), justify="right")
    for path in ended[0]["parameters"]:
        table.add_column(path.removeprefix("training.").removeprefix("model."), overflow="fold")
    for place, trial in enumerate(ended[:count]):
        values = [
            f"{v:.3g}" if isinstance(v, float) else str(v) for v in trial["parameters"].values()
        ]
        style = None if place else "bold"
        table.add_row(str(trial["number"]), f"{trial['value']:.4f}", *values, style=style)
    return table


def importances_table(importances):
    """Makes a table of how much of the differences between trials each parameter explains.

    Args:
        importances: dict of path to share.
    """
    table = Table("parameter", title="importance (fANOVA)")
    table.add_column("share", justify="right")
    for path, share in importances.items():
        table.add_row(path, f"{share:.2f}")
    return table


def evidence_table(table):
    """Makes a table of one of evidence, see `mmlearn.analysis.evidence`.

    Args:
        table: dict of `title`, `columns`, `rows` and maybe `note`.
    """
    made = Table(title=table.get("title"), caption=table.get("note"), pad_edge=False)
    texts = []
    for place, name in enumerate(table["columns"]):
        cells = [row[place] for row in table["rows"]]
        is_number = bool(place) and is_number_column(cells)
        # All may wrap: where some may not, rich takes the room from the others, to the last letter.
        made.add_column(name, justify="right" if is_number else "left", overflow="fold")
        shown = format_column(cells)
        texts.append(
            [_short(c) if isinstance(c, dict) else t for c, t in zip(cells, shown, strict=True)]
        )
    for row in zip(*texts, strict=True):
        made.add_row(*row)
    return made


def _short(cell):
    """A number with how far its interval reaches, for 80 columns."""
    reach = max(cell["high"] - cell["value"], cell["value"] - cell["low"])
    return f"{cell['value']:.3f} ±{reach:.3f}"


def weights_line(weights):
    """Says how a fusion weighs the modalities of an example, and what that is not.

    Args:
        weights: dict of modality to float.
    """
    shares = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
    return f"modality weights inside the fusion, not what each is worth (mmlearn contribution): {shares}"
