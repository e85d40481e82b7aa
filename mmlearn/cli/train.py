"""`python -m mmlearn train [EXPERIMENT | RUN.JSON] [--flags]`."""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn import experiments
from mmlearn.cli.experiment_flags import parse_flags
from mmlearn.cli.tables import (
    accuracy_remark,
    comparison_lines,
    folds_table,
    forgetting_table,
    metrics_table,
)
from mmlearn.experiments.config import Experiment, read_run


@dataclass(frozen=True)
class Train:
    """Trains an experiment: `train [EXPERIMENT | RUN.JSON] [--flags]`, by default `shapes`."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    json: bool = False
    """Print one JSON object as the last line of standard output, and progress to standard error."""


def parse(args, kind=Train, verb="train"):
    """Picks the default config by the first argument and overrides it with the flags.

    Args:
        args: list of str.
        kind: dataclass of the options, with an `experiment`.
        verb: str. The command that they are of.

    Returns:
        The options, and the fingerprint of the data of the run that is repeated, or `None`.
    """
    name = args[0] if args and not args[0].startswith("-") else "shapes"
    is_run = name.endswith(".json")
    default, fingerprint = read_run(name) if is_run else (experiments.get(name), None)
    rest = args[1:] if args and args[0] == name else args
    return parse_flags(kind, verb, kind(default), rest), fingerprint


def run(args):
    """Trains and prints the results."""
    options, fingerprint = parse(args)
    console = Console(stderr=options.json)
    if options.experiment.folds is not None:
        _run_folds(options, fingerprint, console)
        return
    with quiet_start():
        from mmlearn.experiments.run import run as run_experiment

    record = run_experiment(options.experiment, console)
    if record is None:  # of several hosts, the chief alone reports
        return
    title = f"{record['config']['name']}, validation"
    console.print(metrics_table(record["metrics"], title, record["intervals"]))
    for line in comparison_lines(record["comparisons"]):
        console.print(line, highlight=False)
    if remark := accuracy_remark(record["metrics"]):
        console.print(remark, highlight=False)
    if record["forgetting"] is not None:
        console.print(forgetting_table(record["forgetting"]))
    for line in record["remarks"]:
        console.print(line, highlight=False, markup=False)
    _compare_data(fingerprint, record, console)
    output, seconds = record["output"], record["seconds"]
    console.print(
        f"Trained in {seconds['train']:.0f} s, {seconds['total']:.0f} s in all. In {output}/:\n"
        f"  preset/     the Keras model: {record['task']}.from_preset\n"
        "  serving/1/  the SavedModel for TF Serving\n"
        "  figures/    convergence and what else there is to see\n"
        "  run.json    config, metrics, versions",
        highlight=False,
    )
    if options.json:
        summary = {"run": f"{output}/run.json", "metrics": record["metrics"], "seconds": seconds}
        if record["forgetting"] is not None:
            summary["forgetting"] = record["forgetting"]
        print(json.dumps(summary))


def _run_folds(options, fingerprint, console):
    with quiet_start():
        from mmlearn.experiments.folds import run_folds

    record = run_folds(options.experiment, console)
    console.print(folds_table(record))
    _compare_data(fingerprint, record, console)
    output, seconds = record["output"], record["seconds"]
    console.print(
        f"Trained in {seconds['train']:.0f} s, {seconds['total']:.0f} s in all. In {output}/:\n"
        "  fold-0/ ...      a run per fold, as a single one leaves it\n"
        "  predictions.npz  of every example, by the model that was not trained on it\n"
        "  folds.json       means, intervals, config, versions",
        highlight=False,
    )
    if options.json:
        summary = {name: record[name] for name in ("metrics", "pooled", "seconds")}
        print(json.dumps({"folds": f"{output}/folds.json", **summary}))


def _compare_data(fingerprint, record, console):
    if fingerprint not in (None, record["data"]["fingerprint"]):
        console.print("The data are not those of the run that was repeated, so results may differ.")
