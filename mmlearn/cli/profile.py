"""`python -m mmlearn profile MODEL`."""

import json
import os
from dataclasses import dataclass

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.paths import check_model
from mmlearn.cli.tables import evidence_table
from mmlearn.experiments.output import write_json


@dataclass(frozen=True)
class Profile:
    """Measures what a saved model costs: parameters, operations, size, latency, memory."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    """Examples per call whose throughput is measured."""
    repeats: int = 50
    """Calls of each kind that count."""
    train_batch_size: int = 32
    """Examples per step of training."""
    train_steps: int = 5
    """Steps of training that count, after one that does not; 0 for none."""
    output: str | None = None
    """File for the results, as JSON. By default `evidence/profile.json` in the folder of a run."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Measures, prints and writes the profile."""
    options = tyro.cli(Profile, prog="python -m mmlearn profile", args=args)
    check_model(options.model)
    with quiet_start():
        from mmlearn.analysis.evidence import PROFILE, write_evidence
        from mmlearn.analysis.profile import ProfileOptions, profile_evidence, profile_model

    console = Console(stderr=options.json)
    names = ("batch_sizes", "repeats", "train_batch_size", "train_steps")
    measured = ProfileOptions(**{name: getattr(options, name) for name in names})
    result = profile_model(
        options.model, measured, lambda what: console.print(f"[bold]measuring[/]: {what}")
    )
    content = profile_evidence(result, options.model)
    for table in content["tables"]:
        console.print(evidence_table(table))
    if options.output:
        write_json(options.output, content)
    elif os.path.isfile(os.path.join(options.model, "run.json")):
        path = write_evidence(options.model, PROFILE, content)
        console.print(path, highlight=False, markup=False)
    if options.json:
        print(json.dumps(result))
