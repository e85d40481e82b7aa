"""`python -m mmlearn prune MODEL --pruning.units 0.5`: fewer units or weights, and what that costs."""

import json
import shlex
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.experiment_flags import HELP, parse_flags
from mmlearn.cli.tables import evidence_table
from mmlearn.experiments.config import Experiment
from mmlearn.experiments.smaller_runs import pruning_of

TOPICS = {"prune": "pruning", "distill": "distillation"}


@dataclass(frozen=True)
class Prune:
    """Prunes a saved model and trains it further: `prune MODEL [--flags of train]`."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    json: bool = False
    """Print one JSON object as the last line of standard output, and progress to standard error."""


def run(args):
    """Prunes, trains, compares with the earlier model and prints the tables."""
    options = parse(args, Prune, "prune", pruning_of)
    run_and_compare(options, options.experiment.pruning.model, "prune", args)


def parse(args, kind, verb, default_of):
    """Takes the experiment that belongs to a model, and overrides it with the flags.

    Args:
        args: list of str, the model first.
        kind: dataclass of the options, with an `experiment`.
        verb: str.
        default_of: function of the model's folder that returns an `Experiment`.

    Raises:
        ValueError: when no model is named.
    """
    named = bool(args) and not args[0].startswith("-")
    if not named and not {*HELP} & {*args}:
        raise ValueError(
            f"No model. Fix: python -m mmlearn {verb} MODEL, the output folder of a run."
        )
    default = kind(default_of(args[0])) if named else None
    rest = args[1:] if named else args
    return parse_flags(kind, f"{verb} MODEL", default, rest, (TOPICS[verb],))


def run_and_compare(options, earlier, verb, args):
    """Runs the experiment, measures the result beside the earlier model, and prints the tables.

    Args:
        options: with `experiment` and `json`.
        earlier: str. The folder of the earlier model.
        verb: str.
        args: list of str. For the record.
    """
    with quiet_start():
        from mmlearn.experiments.comparison import compare_models
        from mmlearn.experiments.run import check_one_host
        from mmlearn.experiments.run import run as run_experiment

    console, experiment = Console(stderr=options.json), options.experiment
    check_one_host(experiment, "Making a model smaller")
    record = run_experiment(experiment, console)
    output = record["output"]
    command = shlex.join(["mmlearn", verb, *args])
    found = compare_models(
        earlier, output, experiment.data, TOPICS[verb], command=command, console=console
    )
    for table in found["tables"]:
        console.print(evidence_table(table))
    for remark in found["remarks"]:
        console.print(remark, highlight=False, markup=False)
    console.print(f"Wrote {output}", highlight=False, markup=False)
    console.print(f"Evidence: {found['path']}", highlight=False, markup=False)
    if options.json:
        print(json.dumps({"run": f"{output}/run.json", "comparison": found["comparison"]}))
