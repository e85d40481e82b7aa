"""Does pretraining without labels pay where few scenes have labels? `shapes` over seeds.

    python -m tests.benchmarks.pretraining --output /path/for/the/runs

The first 200 of 2,000 scenes have labels; the others are images and captions alone. Every arm trains the
same labelled phases; the pretrained ones train on all 2,000 scenes before. Differences
are paired by seed; the interval is Student's, 95 %, over seeds. Runs that are there already are not
repeated. Prints a JSON object.
"""

import json
import os
from dataclasses import dataclass

import numpy as np
import tyro

from tests.benchmarks.phases_seeds import interval
from tests.benchmarks.shapes_seeds import train

WITHOUT = "without"
ROWS = ("fused", "images", "text")


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    output: str
    """Folder of the runs."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds; the data set is the same."""
    labelled: int = 200
    """Scenes with labels."""
    scenes: int = 2000
    """Scenes in all."""
    epochs: int = 8
    """Of each phase without labels."""
    arms: tuple[str, ...] = ("masked_language+image_contrast",)
    """What is tried: objectives, joined by + where one follows the other."""


def flags(options, arm, seed):
    """The flags of a run."""

    def scenes(count):
        return [f"num_train={count}", "num_val=300", "seed=0"]

    found = ["--data.root", os.path.join(options.output, f"data-{options.labelled}")]
    found += ["--data.options", *scenes(options.labelled), "--training.seed", str(seed)]
    # More and smaller steps an example than the default, which is for 6,000 scenes.
    found += ["--training.batch-size", "16", "--training.phases.0.epochs", "12"]
    found += ["--training.phases.1.epochs", "2", "--training.phases.2.epochs", "4"]
    found += ["--training.no-monitor-contribution"]
    if arm == WITHOUT:
        return found
    found += ["--unlabeled.source", "shapes", "--unlabeled.options", *scenes(options.scenes)]
    found += ["--unlabeled.root", os.path.join(options.output, f"data-{options.scenes}")]
    return [
        *found,
        *("--training.pretrain", *arm.split("+")),
        *("--training.pretrain-epochs", str(options.epochs), "--training.pretrain-rate", "0.001"),
    ]


def main():
    """Prints scores per arm and seed, and differences to the arm without pretraining."""
    options = tyro.cli(Options)
    scores, seconds = {}, {}
    for seed in options.seeds:
        for arm in (WITHOUT, *options.arms):
            folder = os.path.join(options.output, f"{arm}-{seed}")
            record, _ = train(folder, flags(options, arm, seed))
            for row in ROWS:
                found = scores.setdefault(arm, {}).setdefault(row, [])
                found.append(record["metrics"][row]["mAP"])
            seconds.setdefault(arm, []).append(record["seconds"]["train"])
    report = {"mAP": scores, "train_seconds": seconds, "minus_without": {}}
    for arm in options.arms:
        for row in ROWS:
            mean, half = interval(np.subtract(scores[arm][row], scores[WITHOUT][row]))
            found = report["minus_without"].setdefault(arm, {})
            found[row] = {"mean": round(float(mean), 4), "half_width": round(float(half), 4)}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
