"""`python -m mmlearn evaluate MODEL --data.source coco --data.root DIR --data.split val`."""

import json
import os
from dataclasses import dataclass, field

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.tables import metrics_table
from mmlearn.experiments.config import DataConfig


@dataclass(frozen=True)
class EvaluationData(DataConfig):
    """The data to score on."""

    split: str = "val"
    """Split of the source."""


@dataclass(frozen=True)
class Evaluate:
    """Scores a saved model on data."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    data: EvaluationData = field(default_factory=EvaluationData)
    batch_size: int = 32
    """Examples per step."""
    output: str | None = None
    """File for the metrics, as JSON."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Evaluates and prints the results."""
    options = tyro.cli(
        Evaluate,
        prog="python -m mmlearn evaluate",
        args=args,
    )
    with quiet_start():
        from mmlearn.experiments.run import evaluate_model

    console = Console(stderr=options.json)
    metrics = evaluate_model(options.model, options.data, options.data.split, options.batch_size)
    console.print(metrics_table(metrics, f"{options.model} on {options.data.split}"))
    summary = {"model": options.model, "metrics": metrics}
    if options.output:
        partial = f"{options.output}.partial"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(summary, file, indent=2)
        os.replace(partial, options.output)
    if options.json:
        print(json.dumps(summary))
