"""`python -m mmlearn evaluate MODEL --data.source coco --data.root DIR --data.split val`."""

import dataclasses
import json
import os
from dataclasses import dataclass, field

import tyro
from rich.console import Console

from data_prep.options import Options
from data_prep.quiet import quiet_start
from mmlearn.cli.paths import check_model
from mmlearn.cli.tables import (
    accuracy_remark,
    availability_table,
    comparison_lines,
    metrics_table,
    per_class_table,
)
from mmlearn.experiments.config import DataConfig, read_run
from mmlearn.experiments.output import write_json


@dataclass(frozen=True)
class EvaluationData:
    """The data to score on, by default those that the model was trained with."""

    source: str | None = None
    """Name of the source: `python -m mmlearn list sources`."""
    root: str | None = None
    """Folder of the data set."""
    options: Options = field(default_factory=dict)
    """Further options of the source."""
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
    availability: bool = False
    """Also score with each modality available for a part of the examples only."""
    per_class: bool = False
    """Also print the metrics of each class."""
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
    data = data_config(options)
    check_model(options.model)
    with quiet_start():
        from mmlearn.experiments.scoring import evaluate_model

    console = Console(stderr=options.json)
    found = evaluate_model(
        options.model, data, options.data.split, options.batch_size, options.availability, console
    )
    metrics, title = found["metrics"], f"{options.model} on {options.data.split}"
    console.print(metrics_table(metrics, title, found["intervals"]))
    for line in comparison_lines(found["comparisons"]):
        console.print(line, highlight=False)
    if remark := accuracy_remark(metrics):
        console.print(remark, highlight=False)
    if found["fitted_here"]:
        console.print(
            "The model's temperatures and thresholds were fitted on these very data, which flatters it: "
            "calibration.json has figures that are cross-fitted.",
            highlight=False,
        )
    summary = {"model": options.model, **found}
    if options.per_class:
        for name, classes in found["per_class"].items():
            console.print(per_class_table(classes, name))
    if found["availability"] is not None:
        console.print(availability_table(found["availability"]))
    else:
        del summary["availability"]
    if options.output:
        write_json(options.output, summary)
    if options.json:
        print(json.dumps(summary))


def data_config(options):
    """The data that options name; what they leave out is that of the record of the model's run.

    Args:
        options: with `model` and `data`, an `EvaluationData`.

    Returns:
        A `DataConfig`.
    """
    asked = {"root": options.data.root, "options": options.data.options or None}
    asked = {name: value for name, value in asked.items() if value is not None}
    record = os.path.join(options.model, "run.json")
    if options.data.source is None and os.path.isfile(record):
        return dataclasses.replace(read_run(record)[0].data, **asked)
    return DataConfig(source=options.data.source or "shapes", **asked)
