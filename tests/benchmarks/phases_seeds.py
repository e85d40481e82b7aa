"""Do three phases pay? The experiment `shapes` over seeds, and its last phase alone.

    python -m tests.benchmarks.phases_seeds --output /path/for/the/runs

The last phase alone gets as many epochs as the three together, and the rate of the first: its own is
meant for weights that need little. Regions are not `local`, and no heads are grounded. Differences are
paired by seed; the interval is Student's, 95 %, over seeds. Runs that are there already are not repeated.
"""

import os
from dataclasses import dataclass

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from scipy import stats

from mmlearn.experiments.shapes import SHAPES
from tests.benchmarks.shapes_seeds import PLAIN, train

PHASES = SHAPES.training.phases
ALONE = [
    *("--training.phases.0.epochs", "0", "--training.phases.1.epochs", "0"),
    *("--training.phases.2.epochs", str(sum(phase.epochs for phase in PHASES))),
    *("--training.phases.2.learning-rate", str(PHASES[0].learning_rate)),
]
ARMS = {"three phases": [], "last phase alone": ALONE}


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    output: str
    """Folder of the runs."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Training seeds; the data set is the same."""
    scenes: int = 6000
    """Of the data set, for training; 1,000 for validation."""


def interval(differences, confidence=0.95):
    """Mean and half width of Student's interval."""
    mean, error = np.mean(differences), stats.sem(differences)
    return mean, error * stats.t.ppf((1 + confidence) / 2, len(differences) - 1)


def main():
    """Prints a row per arm: mAP per seed, and three phases minus it."""
    options = tyro.cli(Options)
    scores = {arm: [] for arm in ARMS}
    data = ["--data.root", os.path.join(options.output, "data")]
    data += ["--data.options", f"num_train={options.scenes}", "num_val=1000", "seed=0"]
    for seed in options.seeds:
        for arm, flags in ARMS.items():
            name = f"{arm.replace(' ', '_')}-{seed}"
            flags = [*PLAIN, *flags, *data, "--training.seed", str(seed)]
            record, _ = train(os.path.join(options.output, name), flags)
            scores[arm].append(record["metrics"]["fused"]["mAP"])
    table = Table("arm", *(f"seed {seed}" for seed in options.seeds), "three phases minus this")
    for arm, found in scores.items():
        differences = np.subtract(scores["three phases"], found)
        mean, half = interval(differences)
        text = "" if arm == "three phases" else f"{mean:+.4f} ± {half:.4f}"
        table.add_row(arm, *(f"{score:.4f}" for score in found), text)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
