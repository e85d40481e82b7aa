"""Tables for the terminal."""

from rich.table import Table


def metrics_table(metrics, title):
    """Makes a table of metrics, a row per predictor.

    Args:
        metrics: dict of row name to dict of metric name to float, as `evaluate` returns.
        title: str.
    """
    first = next(iter(metrics.values()))
    columns = [name for name in first if not name.startswith("num_")]
    table = Table(title=f"{title} ({first['num_classes']} classes with a positive)")
    table.add_column("prediction from")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, values in metrics.items():
        # The rows before the baselines are the model's own.
        if name in ("nothing", "oracle_images"):
            table.add_section()
        style = "bold" if name == "fused" else None
        table.add_row(name.replace("_", " "), *(f"{values[c]:.4f}" for c in columns), style=style)
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
    """Makes a table of a cross-validation, a row per predictor and metric.

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
        for place, (metric, values) in enumerate(metrics.items()):
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
