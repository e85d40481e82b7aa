"""Does fusion pay? The experiment `shapes` over seeds: fused, and each modality trained alone.

    python -m tests.benchmarks.shapes_seeds --output /path/for/the/runs

The models of one modality get the same phases, steps and rates; no regions are `local`, and no heads are
grounded. Differences are paired over the validation examples (bootstrap, 95 %). Runs that are there
already are not repeated.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from mmlearn.evaluation.paired import paired_bootstrap

MODELS = {"fused": ("images", "text"), "images": ("images",), "text": ("text",)}
PLAIN = (
    *("--model.images.options", "local=false"),
    *("--model.fusion.options", "num_heads=4", "grounded_heads=0"),
)
ORACLES = {"fused": "oracle_union", "images": "oracle_images", "text": "oracle_text"}


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    output: str
    """Folder of the runs."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds; the data set is the same."""


def train(folder, flags):
    """Trains one model through the command line, unless its record is there.

    Returns:
        The record, and the predictions of the validation split.
    """
    if not os.path.exists(os.path.join(folder, "run.json")):
        command = [sys.executable, "-m", "mmlearn", "train", "shapes", "--output", folder]
        subprocess.run([*command, *flags], check=True)
    with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
        record = json.load(file)
    return record, np.load(os.path.join(folder, "predictions.npz"))


def main():
    """Prints a row per seed and model, then the paired differences."""
    options = tyro.cli(Options)
    columns = ("seed", "model", "mAP", "oracle", "ratio", "training s", "fused minus this (95 %)")
    table = Table(*columns)
    for seed in options.seeds:
        runs = {
            name: train(
                os.path.join(options.output, f"{name}-{seed}"),
                ["--training.seed", str(seed), *PLAIN, "--model.modalities", *modalities],
            )
            for name, modalities in MODELS.items()
        }
        fused = runs["fused"][1]
        for name, (record, predictions) in runs.items():
            score = record["metrics"]["fused"]["mAP"]
            oracle = record["metrics"][ORACLES[name]]["mAP"]
            interval = ""
            if name != "fused":
                found = paired_bootstrap(
                    "multi_label", fused["labels"], fused["fused"], predictions["fused"]
                )
                interval = "{difference:+.4f} [{low:+.4f}, {high:+.4f}]".format(**found)
            seconds = f"{record['seconds']['train']:.0f}"
            row = (str(seed), name, f"{score:.4f}", f"{oracle:.4f}", f"{score / oracle:.3f}")
            table.add_row(*row, seconds, interval)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
