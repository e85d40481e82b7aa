"""What the documents' system costs at full size: parameters, operations, size, latency, memory.

    python -m tests.benchmarks.full_size --work DIR

Saves the model of the experiment `coco` (ResNet50 at 224 px, BERT-base at 32 tokens, 8-head
cross-attention at 512, 80 labels) with random weights, as a preset and as a SavedModel, and profiles
it as `python -m mmlearn profile` does. Nothing is trained or downloaded. About 1.5 GB are written.
"""

import os
from dataclasses import dataclass

import tyro
from rich.console import Console

from mmlearn import experiments
from mmlearn.analysis.profile import ProfileOptions, profile_evidence, profile_model
from mmlearn.cli.tables import evidence_table
from mmlearn.experiments.build import build_task
from mmlearn.experiments.output import write_json
from mmlearn.serving.versions import FOLDER, export_version
from tests.benchmarks.train_step import table_of_labels, without_weights


@dataclass(frozen=True)
class Options:
    """Saves and profiles the full-size model."""

    work: str
    """Folder for the model, which stays there, and for `profile.json`."""
    repeats: int = 30
    """Calls of each kind that count."""
    batch_sizes: tuple[int, ...] = (1, 8)
    """Examples per call whose throughput is measured."""
    train_batch_size: int = 16
    """Examples per step of training: the documents' share of a GPU."""
    train_steps: int = 3
    """Steps of training that count."""


def main(options):
    """Saves the model where it is not there yet, profiles it, prints the tables."""
    console = Console()
    preset = os.path.join(options.work, "preset")
    if not os.path.isdir(os.path.join(options.work, FOLDER)):
        model = without_weights(experiments.get("coco").model)
        task = build_task(model, table_of_labels())
        task.save_to_preset(preset)
        export_version(task, os.path.join(options.work, FOLDER))
        del task
    names = ("repeats", "batch_sizes", "train_batch_size", "train_steps")
    measured = ProfileOptions(**{name: getattr(options, name) for name in names})
    result = profile_model(options.work, measured, console.print)
    content = profile_evidence(result, options.work)
    for table in content["tables"]:
        console.print(evidence_table(table))
    write_json(os.path.join(options.work, "profile.json"), content)


if __name__ == "__main__":
    main(tyro.cli(Options))
