"""`python -m mmlearn adapt MODEL --data.source table --data.root FILE --shots 5`."""

import json
from dataclasses import dataclass, field

import tyro
from rich.console import Console
from rich.table import Table

from data_prep.options import Options
from data_prep.quiet import quiet_start
from mmlearn.cli.paths import check_model
from mmlearn.experiments.config import DataConfig

NAMED = 5  # classes with too few examples that are named on the screen; all are in shots.json


@dataclass(frozen=True)
class AdaptationData:
    """The data with the new classes."""

    source: str
    """Name of the source: `python -m mmlearn list sources`."""
    root: str | None = None
    """Folder or file of the data set."""
    options: Options = field(default_factory=dict)
    """Further options of the source."""
    val_fraction: float | None = None
    """Share kept for validation. By default the given splits, or 0.2 where the data has none."""
    stratify: bool = False
    """Whether both parts of such a division get their share of every label."""
    split_seed: int = 0
    """Of such a division."""
    max_unreadable: float = 0.1
    """Share of images that may be unreadable; they are left out."""


@dataclass(frozen=True)
class Adapt:
    """Gives a saved model new classes, from a few examples of each."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    data: AdaptationData
    shots: int = 5
    """Examples per class of the model that is saved."""
    shots_max: int | None = None
    """The most examples per class of the curve. By default those of `shots`."""
    seeds: int = 5
    """How often examples are drawn for each point of the curve."""
    batch_size: int = 32
    """Examples per step, of computing features."""
    output: str | None = None
    """Folder of the results. By default `saved_models/MODEL-SOURCE`."""
    json: bool = False
    """Print one JSON object as the last line of standard output, and progress to standard error."""


def run(args):
    """Adapts and prints the curve."""
    options = tyro.cli(Adapt, prog="python -m mmlearn adapt", args=args)
    check_model(options.model)
    with quiet_start():
        from mmlearn.experiments.adapt import adapt

    console = Console(stderr=options.json)
    record = adapt(
        options.model,
        DataConfig(**vars(options.data)),
        options.shots,
        options.shots_max,
        options.seeds,
        options.batch_size,
        options.output,
        console,
    )
    console.print(_table(record))
    for count, classes in record["classes_with_fewer"].items():
        names = ", ".join(f"{name} ({there})" for name, there in list(classes.items())[:NAMED])
        more = f" and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
        console.print(f"fewer than {count} examples: {names}{more}", highlight=False, markup=False)
    console.print(
        f"{record['seconds']['total']:.0f} s in all. In {record['output']}/:\n"
        f"  preset/     the model for the new classes, from {options.shots} example(s) of each\n"
        "  serving/1/  the SavedModel for TF Serving\n"
        "  figures/    the curve\n"
        "  shots.json  the curve, the baselines, what the model was made from",
        highlight=False,
    )
    if options.json:
        summary = {name: record[name] for name in ("output", "curves", "baselines", "seconds")}
        print(json.dumps(summary))


def _table(record):
    curves, baselines = record["curves"], record["baselines"]
    table = Table(title="mAP in validation, 95 % intervals over seeds")
    table.add_column("examples per class")
    for name in curves:
        table.add_column(name, justify="right")
    for row in zip(*curves.values(), strict=True):
        table.add_row(str(row[0]["shots"]), *map(_cell, row))
    table.add_section()
    for baseline, values in baselines.items():
        label = "the model itself" if baseline == "zero_shot" else baseline
        table.add_row(label, *(f"{values[n]:.4f}" if n in values else "" for n in curves))
    return table


def _cell(point):
    if point["low"] is None:
        return f"{point['mean']:.4f}"
    return f"{point['mean']:.4f} ±{point['high'] - point['mean']:.4f}"
