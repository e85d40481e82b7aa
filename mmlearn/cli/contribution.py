"""`python -m mmlearn contribution MODEL`: what each modality contributes."""

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
class Contribution:
    """Measures what each modality contributes to a saved model's predictions."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    data: EvaluationData = field(default_factory=EvaluationData)
    batch_size: int = 32
    """Examples per step."""
    max_examples: int = 2000
    """If the split has more, so many are drawn; their features stay in memory."""
    permutations: int = 5
    """How often each modality is exchanged among the examples."""
    resamples: int = 500
    """Of the bootstrap intervals."""
    seed: int = 0
    """Of all draws."""
    output: str | None = None
    """Folder in which `evidence/` is made, by default the model's."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Measures, prints the tables and says where the rest is."""
    options = tyro.cli(Contribution, prog="python -m mmlearn contribution", args=args)
    data = data_config(options)
    check_model(options.model)
    with quiet_start():
        from mmlearn.experiments.contribution import find_contribution

    console = Console(stderr=options.json)
    found = find_contribution(
        options.model,
        data,
        options.data.split,
        options.batch_size,
        options.max_examples,
        options.permutations,
        options.resamples,
        options.seed,
        options.output,
        shlex.join(["mmlearn", "contribution", *args]),
        console,
    )
    for table in found["tables"]:
        console.print(evidence_table(table))
    for remark in found["remarks"]:
        console.print(remark, highlight=False, markup=False)
    console.print(f"Figure, Markdown and the single examples: {found['path']}", highlight=False)
    if options.json:
        print(json.dumps({"evidence": found["path"], "contribution": found["contribution"]}))
