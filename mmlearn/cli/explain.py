"""`python -m mmlearn explain MODEL --image a.jpg --text "..."`, or `--measure`."""

import json
import shlex
from dataclasses import dataclass, field

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.evaluate import EvaluationData, data_config
from mmlearn.cli.explanation_tables import contributions_table, rationale_line
from mmlearn.cli.paths import check_files, check_model
from mmlearn.cli.tables import evidence_table, weights_line


@dataclass(frozen=True)
class Explain:
    """Explains a prediction by figures; or measures on data with boxes what such figures are worth."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    image: str | None = None
    """Image file."""
    text: str | None = None
    """Text that goes with the image."""
    label: str | None = None
    """The class to explain, by default the likeliest three."""
    output: str | None = None
    """Folder for the figures and explanation.json, by default `explanation`; of --measure, the folder in
    which `evidence/` is made, by default the model's."""
    measure: bool = False
    """Measure, instead of explaining one example: pointing game, energy in box, deletion and insertion
    curves, against the centre prior and random weights."""
    data: EvaluationData = field(default_factory=EvaluationData)
    """Of --measure."""
    count: int = 500
    """Examples to measure on, the first of the split."""
    curves: int = 100
    """Words of which deletion and insertion curves are made."""
    seed: int = 0
    """Of the random weights and orders that are compared with."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Explains or measures, and prints what was found."""
    options = tyro.cli(Explain, prog="python -m mmlearn explain", args=args)
    x = {"images": options.image, "text": options.text}
    x = {modality: [value] for modality, value in x.items() if value is not None}
    _check(options, x)
    check_model(options.model)
    check_files(image=options.image)
    with quiet_start():
        from mmlearn.experiments.explaining import explain_model, measure_model

    console = Console(stderr=options.json)
    if options.measure:
        record = measure_model(
            options.model,
            data_config(options),
            options.data.split,
            options.count,
            options.curves,
            options.seed,
            options.output,
            shlex.join(["mmlearn", "explain", *args]),
            console,
        )
        for table in record["tables"]:
            console.print(evidence_table(table))
        for sentence in record["remarks"]:
            console.print(sentence, highlight=False)
        console.print(f"Figures and Markdown beside {record['path']}", highlight=False)
        summary = {"evidence": record["path"], "attention": record["attention"]}
    else:
        output = options.output or "explanation"
        with console.status("explaining"):
            record = summary = explain_model(options.model, x, output, options.label)
        shown = sorted(record["predictions"].items(), key=lambda pair: -pair[1])[:5]
        console.print(", ".join(f"{name} {value:.3g}" for name, value in shown), highlight=False)
        if record["modality_weights"] and len(x) > 1:
            console.print(weights_line(record["modality_weights"]), highlight=False)
        if "rationale" in record:
            console.print(rationale_line(record["rationale"]), highlight=False)
        if "integrated_gradients" in record:
            console.print(contributions_table(record["integrated_gradients"]))
        for remark in record["remarks"]:
            console.print(remark, highlight=False)
        console.print(f"figures: {', '.join(record['figures'])}", highlight=False)
        console.print(f"[bold]written[/]: {output}", highlight=False)
    if options.json:
        print(json.dumps(summary))


def _check(options, x):
    for name in ("image", "text"):
        value = getattr(options, name)
        if value is not None and not value.strip():
            raise ValueError(f"--{name} is empty. Fix: leave it out, or give it a value.")
    if options.measure and (x or options.label is not None):
        raise ValueError(
            "--measure is of a data set, and --image, --text and --label of one example. Fix: leave "
            "either out."
        )
    if not options.measure and not x:
        raise ValueError(
            "There is nothing to explain. Fix: pass --image FILE, --text TEXT or both, or --measure."
        )
    for name, lowest in (("count", 1), ("curves", 0)):
        if getattr(options, name) < lowest:
            raise ValueError(
                f"--{name} must be at least {lowest}. Received: {getattr(options, name)}."
            )
