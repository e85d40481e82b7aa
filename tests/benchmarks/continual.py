"""What is forgotten, and what helps: `shapes` in two tasks, the second one after the first.

    python -m tests.benchmarks.continual --output /path/for/the/runs

The first task is half of the scenes with the labels of five shapes, the second the other half with
those of the other three. Every scene may hold all eight, so labels are missing in both. From the
model of the first task, the second is learned end to end in four ways. Forgetting is the backward
transfer, on the validation scenes of the first task. Means and Student's 95 % intervals are over
seeds of the training. Runs that are there already are not repeated. The last line is one JSON object.
"""

import csv
import json
import os
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table

from data_prep.sources.shapes import CAPTIONS_PER_IMAGE, SHAPES, ShapesSource
from tests.benchmarks.phases_seeds import interval
from tests.benchmarks.shapes_seeds import train

TASKS = {"first": SHAPES[:5], "second": SHAPES[5:]}
ARMS = {
    "fine-tuning": (),
    "rehearsal 0.3": ("--continual.rehearsal", "0.3"),
    "distillation 1": ("--continual.distillation", "1"),
    "both": ("--continual.rehearsal", "0.3", "--continual.distillation", "1"),
}
CAPTIONS = [f"caption{number}" for number in range(CAPTIONS_PER_IMAGE)]


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    output: str
    """Folder of the data and the runs."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds; the data set is the same."""
    scenes: int = 2000
    """Training scenes of each task; half as many for validation."""
    epochs: int = 4
    """Of the second task."""
    learning_rate: float = 1e-3
    """Of the second task."""


def write_tables(folder, scenes):
    """Writes the scenes, and a table per task."""
    root = os.path.join(folder, "shapes")
    source = ShapesSource(root, num_train=2 * scenes, num_val=scenes, seed=0)
    for number, (task, names) in enumerate(TASKS.items()):
        with open(os.path.join(folder, f"{task}.csv"), "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["photo", *CAPTIONS, "kinds", "split"])
            for split in ("train", "val"):
                index = source.examples(split)
                for row in range(number, len(index), 2):
                    there = [source.label_names[c] for c in index.labels[row].nonzero()[0]]
                    kinds = "|".join(name for name in there if name in names)
                    path = os.path.relpath(index.images[row], root)
                    writer.writerow([path, *index.captions[row], kinds, split])
    return root


def data_flags(folder, root, task):
    """The flags of the data of a task."""
    options = {
        "images": "photo",
        "text": ",".join(CAPTIONS),
        "labels": "kinds",
        "label_names": ",".join(TASKS[task]),
        "split": "split",
        "folder": os.path.abspath(root),
    }
    return [
        *("--data.source", "table", "--data.root", os.path.join(folder, f"{task}.csv")),
        *("--data.options", *(f"{name}={value}" for name, value in options.items())),
    ]


def main():
    """Prints a row per arm: backward transfer, mAP of the new classes, and what it took."""
    options = tyro.cli(Options)
    data = os.path.join(options.output, "data")
    os.makedirs(data, exist_ok=True)
    root = write_tables(data, options.scenes)
    second = [
        *("--training.phases.0.epochs", "0", "--training.phases.1.epochs", "0"),
        *("--training.phases.2.epochs", str(options.epochs)),
        *("--training.phases.2.learning-rate", str(options.learning_rate)),
        "--training.no-monitor-contribution",
    ]
    found = {arm: {"transfer": [], "new": [], "seconds": []} for arm in ARMS}
    first = []
    for seed in options.seeds:
        flags = ["--training.seed", str(seed)]
        before = os.path.join(options.output, f"first-{seed}")
        record, _ = train(before, [*data_flags(data, root, "first"), *flags])
        first.append(record["metrics"]["fused"]["mAP"])
        for arm, own in ARMS.items():
            folder = os.path.join(options.output, f"{arm.replace(' ', '_')}-{seed}")
            flags_of_arm = ["--continual.model", before, *own, *second, *flags]
            record, _ = train(folder, [*data_flags(data, root, "second"), *flags_of_arm])
            transfer = record["forgetting"]["backward_transfer"]["difference"]
            found[arm]["transfer"].append(transfer)
            found[arm]["new"].append(record["metrics"]["fused"]["mAP"])
            found[arm]["seconds"].append(record["seconds"]["train"])
    table = Table("arm", "backward transfer", "mAP of the new classes", "training s")
    results = {"first_map": first, "arms": found}
    for arm, values in found.items():
        cells = []
        for name in ("transfer", "new"):
            mean, half = (float(value) for value in interval(values[name]))
            values[f"{name}_mean"], values[f"{name}_half_width"] = mean, half
            cells.append(
                f"{mean:+.4f} ± {half:.4f}" if name == "transfer" else f"{mean:.4f} ± {half:.4f}"
            )
        table.add_row(arm, *cells, f"{sum(values['seconds']) / len(values['seconds']):.0f}")
    Console(width=100, stderr=True).print(table)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
