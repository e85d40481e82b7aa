"""`python -m mmlearn tune [EXPERIMENT | RUN.JSON] [--trials N] [--space WORDS] [--flags of train]`."""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.tables import importances_table, trials_table
from mmlearn.cli.train import parse
from mmlearn.experiments.config import Experiment
from mmlearn.experiments.space import default_space, read_space


@dataclass(frozen=True)
class Tune:
    """Searches good settings: `tune [EXPERIMENT | RUN.JSON] [--flags of train]`."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    trials: int = 20
    """How many, those of an interrupted search included."""
    space: tuple[str, ...] = ()
    """What is varied: PATH=LOW:HIGH, PATH=LOW:HIGH:log or PATH=VALUE,VALUE, such as
    training.phases.2.learning_rate=1e-5:1e-3:log training.batch_size=16,32. By default learning rates
    and dropout."""
    metric: str = "mAP"
    """Of the fused prediction on the validation split: mAP, macro_F1, micro_F1 or AUC; of numbers R2."""
    json: bool = False
    """Print one JSON object as the last line of standard output, and progress to standard error."""


def run(args):
    """Searches and prints the best trials."""
    options, _ = parse(args, Tune, "tune")
    experiment = options.experiment
    space = read_space(options.space or default_space(experiment), experiment)
    with quiet_start():
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise ValueError(
                f"`tune` needs Optuna, which is not installed ({error}). Fix: pip install "
                "'mmlearn-keras[tune]', or pip install optuna."
            ) from None
        from mmlearn.experiments.search import Search, run_search

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    console = Console(stderr=options.json)
    result = run_search(Search(experiment, space, options.metric), options.trials, console)
    console.print(trials_table(result))
    if result["importances"]:
        console.print(importances_table(result["importances"]))
    # One line, to be copied.
    line = f"Train the best: python -m mmlearn train {result['best']}"
    console.print(line, highlight=False, soft_wrap=True)
    if options.json:
        summary = {name: result[name] for name in ("best", "metric", "value", "importances")}
        print(json.dumps({**summary, "trials": len(result["trials"])}))
