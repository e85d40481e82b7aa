"""`python -m mmlearn calibrate MODEL [--temperatures per_class] [--thresholds global]`."""

import json
from dataclasses import dataclass, field
from typing import Literal

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.evaluate import EvaluationData, data_config
from mmlearn.cli.paths import check_model
from mmlearn.cli.tables import calibration_table


@dataclass(frozen=True)
class Calibrate:
    """Makes a saved model's probabilities mean what they say, and tunes from which on it predicts."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    data: EvaluationData = field(default_factory=EvaluationData)
    temperatures: Literal["per_class", "global", "none"] = "per_class"
    """What logits are divided by: one number per class, one for all, or nothing."""
    thresholds: Literal["per_class", "global", "none"] = "global"
    """From which probability on a label is predicted, for the highest F1; none is 0.5."""
    batch_size: int = 32
    """Examples per step."""
    output: str | None = None
    """Folder of the results. By default `saved_models/MODEL-calibrated`."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Calibrates and prints what it changes."""
    options = tyro.cli(Calibrate, prog="python -m mmlearn calibrate", args=args)
    data = data_config(options)
    check_model(options.model)
    with quiet_start():
        from mmlearn.experiments.calibration import calibrate_model

    console = Console(stderr=options.json)
    record = calibrate_model(
        options.model,
        data,
        options.data.split,
        options.temperatures,
        options.thresholds,
        options.batch_size,
        options.output,
        console,
    )
    for name, report in record["heads"].items():
        console.print(calibration_table(report, name, options.data.split))
    console.print(
        f'"after" is cross-fitted: each half of the examples of {options.data.split!r} has what was fitted '
        "on the other half.",
        f"In {record['output']}/:\n"
        "  preset/           the same weights, with temperatures and thresholds\n"
        "  serving/1/        the SavedModel for TF Serving, with temperatures\n"
        "  figures/          reliability\n"
        "  calibration.json  what was fitted, on what, metrics before and after",
        sep="\n",
        highlight=False,
    )
    if options.json:
        print(json.dumps({name: record[name] for name in ("output", "heads", "data")}))
