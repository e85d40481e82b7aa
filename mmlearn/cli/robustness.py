"""`python -m mmlearn robustness MODEL`: what damaged images and texts cost."""

import json
import shlex
from dataclasses import dataclass, field

import tyro
from rich.console import Console

from data_prep.options import Options
from data_prep.quiet import quiet_start
from mmlearn.cli.evaluate import EvaluationData, data_config
from mmlearn.cli.paths import check_model
from mmlearn.cli.tables import evidence_table
from mmlearn.experiments.config import DataConfig


@dataclass(frozen=True)
class DomainData:
    """Another data set with the labels of the model, or a part of them."""

    source: str | None = None
    """Name of the source: `python -m mmlearn list sources`. Without it, nothing is compared."""
    root: str | None = None
    """Folder of the data set."""
    options: Options = field(default_factory=dict)
    """Further options of the source."""
    split: str = "val"
    """Split of the source."""


@dataclass(frozen=True)
class Robustness:
    """Scores a saved model on damaged images and texts, and on another domain."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    data: EvaluationData = field(default_factory=EvaluationData)
    domain: DomainData = field(default_factory=DomainData)
    batch_size: int = 32
    """Examples per step."""
    max_examples: int = 500
    """If the split has more, so many are drawn."""
    resamples: int = 300
    """Of the bootstrap intervals."""
    seed: int = 0
    """Of the damage and of all draws."""
    synonyms: str | None = None
    """CSV file of synonyms, word,synonym[,synonym...]; by default a short list of English words."""
    output: str | None = None
    """Folder in which `evidence/` is made, by default the model's."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Measures, prints the tables and says where the rest is."""
    options = tyro.cli(Robustness, prog="python -m mmlearn robustness", args=args)
    data = data_config(options)
    domain = None
    if options.domain.source is not None:
        domain = DataConfig(options.domain.source, options.domain.root, options.domain.options)
    check_model(options.model)
    with quiet_start():
        from mmlearn.experiments.robustness import find_robustness

    console = Console(stderr=options.json)
    found = find_robustness(
        options.model,
        data,
        options.data.split,
        options.batch_size,
        options.max_examples,
        options.resamples,
        options.seed,
        options.synonyms,
        domain,
        options.domain.split,
        options.output,
        shlex.join(["mmlearn", "robustness", *args]),
        console,
    )
    for table in found["tables"]:
        console.print(evidence_table(table))
    for remark in found["remarks"]:
        console.print(remark, highlight=False, markup=False)
    console.print(f"Figures and Markdown beside {found['path']}", highlight=False)
    if options.json:
        summary = {name: found[name] for name in ("robustness", "domain")}
        print(json.dumps({"evidence": found["path"], **summary}))
