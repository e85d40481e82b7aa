"""`python -m mmlearn compress MODEL --method int8`: smaller, and what that costs."""

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
class Compress:
    """Writes a smaller form of a saved model, with its quality before and after."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes, or a preset directory."""
    method: str = "int8"
    """float16: weights in 16 bits. int8: weights and what flows between layers in 8 bits."""
    format: str = "openvino"
    """What it is written as: openvino, onnx or litert; with float16 also tf_saved_model."""
    data: EvaluationData = field(default_factory=EvaluationData)
    batch_size: int = 32
    """Examples per step of the evaluation."""
    max_examples: int = 2000
    """If the split has more, so many are drawn."""
    calibration_examples: int = 200
    """Examples of the training split on which int8 measures the ranges of values."""
    resamples: int = 500
    """Of the bootstrap intervals."""
    repeats: int = 30
    """Calls with one example whose time counts."""
    seed: int = 0
    """Of all draws."""
    output: str | None = None
    """Folder in which `compressed/` and `evidence/` are made, by default the model's."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Compresses, measures, prints the tables and says where the rest is."""
    options = tyro.cli(Compress, prog="python -m mmlearn compress", args=args)
    data = data_config(options)
    check_model(options.model)
    with quiet_start():
        from mmlearn.experiments.compression import compress_model

    console = Console(stderr=options.json)
    found = compress_model(
        options.model,
        data,
        options.method,
        options.format,
        options.data.split,
        options.batch_size,
        options.max_examples,
        options.calibration_examples,
        options.resamples,
        options.repeats,
        options.seed,
        options.output,
        shlex.join(["mmlearn", "compress", *args]),
        console,
    )
    for table in found["tables"]:
        console.print(evidence_table(table))
    for remark in found["remarks"]:
        console.print(remark, highlight=False, markup=False)
    console.print(f"Wrote {found['compression']['folder']}", highlight=False, markup=False)
    console.print(f"Evidence: {found['path']}", highlight=False, markup=False)
    if options.json:
        print(json.dumps({"evidence": found["path"], "compression": found["compression"]}))
