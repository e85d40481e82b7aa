"""`python -m mmlearn cascade MODEL`: one modality answers first, and what that saves and costs."""

import json
import shlex
from dataclasses import dataclass, field

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.evaluate import EvaluationData, data_config
from mmlearn.cli.paths import check_model
from mmlearn.cli.tables import evidence_table


@dataclass(frozen=True)
class Cascade:
    """Measures a cascade: one modality answers first, and the full model where that is not sure."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    data: EvaluationData = field(default_factory=EvaluationData)
    batch_size: int = 32
    """Examples per step of the evaluation."""
    max_examples: int = 2000
    """If the split has more, so many are drawn."""
    timed_examples: int = 100
    """Answered one by one, whose time counts."""
    resamples: int = 500
    """Of the bootstrap intervals."""
    seed: int = 0
    """Of all draws, and of the two halves."""
    output: str | None = None
    """Folder in which `evidence/` is made, by default the model's."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Measures, prints the table and says where the rest is."""
    options = tyro.cli(Cascade, prog="python -m mmlearn cascade", args=args)
    data = data_config(options)
    check_model(options.model)
    with quiet_start():
        from mmlearn.experiments.cascade import find_cascade

    console = Console(stderr=options.json)
    found = find_cascade(
        options.model,
        data,
        options.data.split,
        options.batch_size,
        options.max_examples,
        options.timed_examples,
        options.resamples,
        options.seed,
        options.output,
        shlex.join(["mmlearn", "cascade", *args]),
        console,
    )
    for table in found["tables"]:
        console.print(evidence_table(table))
    for remark in found["remarks"]:
        console.print(remark, highlight=False, markup=False)
    console.print(f"Evidence: {found['path']}", highlight=False, markup=False)
    if options.json:
        print(json.dumps({"evidence": found["path"], "cascade": found["cascade"]}))
