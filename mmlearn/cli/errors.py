"""`python -m mmlearn errors MODEL`: where a saved model is wrong."""

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
class Errors:
    """Finds where a saved model is wrong: examples, classes, slices of the data."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    data: EvaluationData = field(default_factory=EvaluationData)
    batch_size: int = 32
    """Examples per step."""
    max_examples: int | None = None
    """If the split has more, so many are drawn."""
    worst: int = 12
    """Examples in the gallery."""
    threshold: float | None = None
    """A label is predicted from this probability on; by default the model's thresholds, see `calibrate`,
    or 0.5."""
    permutations: int = 10_000
    """Of the test of the slices."""
    seed: int = 0
    """Of all draws."""
    output: str | None = None
    """Folder in which `evidence/` is made, by default the model's."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Measures, prints the tables and says where the rest is."""
    options = tyro.cli(Errors, prog="python -m mmlearn errors", args=args)
    data = data_config(options)
    check_model(options.model)
    with quiet_start():
        from mmlearn.experiments.errors import find_failures

    console = Console(stderr=options.json)
    found = find_failures(
        options.model,
        data,
        options.data.split,
        options.batch_size,
        options.max_examples,
        options.worst,
        options.threshold,
        options.permutations,
        options.seed,
        options.output,
        shlex.join(["mmlearn", "errors", *args]),
        console,
    )
    for table in found["tables"]:
        console.print(evidence_table(table))
    for remark in found["remarks"]:
        console.print(remark, highlight=False, markup=False)
    console.print(f"Figures, Markdown and the single examples beside {found['path']}")
    if options.json:
        summary = {name: found[name] for name in ("slices", "classes", "worst")}
        print(json.dumps({"evidence": found["path"], **summary}))
