"""What is forgotten, and what helps: `shapes` in two tasks, the second one after the first.

    python -m tests.benchmarks.continual --output /path/for/the/runs

The first task is half of the scenes with the labels of five shapes, the second the other half with
those of the other three. Every scene may hold all eight, so labels are missing in both. From the
model of the first task, the second is learned end to end in four ways. Forgetting is the backward
transfer, on the validation scenes of the first task. Means and Student's 95 % intervals are over
seeds of the training. What is there already is not repeated. The last line is one JSON object.
"""

import csv
import dataclasses
import json
import os
from dataclasses import dataclass

import keras
import tyro
from rich.console import Console
from rich.table import Table

from data_prep.sources.shapes import CAPTIONS_PER_IMAGE, SHAPES, ShapesSource
from mmlearn import experiments
from mmlearn.experiments.config import ContinualConfig, DataConfig
from mmlearn.experiments.output import write_json
from mmlearn.experiments.run import fit, run
from tests.benchmarks.phases_seeds import interval

TASKS = {"first": SHAPES[:5], "second": SHAPES[5:]}
ARMS = {
    "fine-tuning": {},
    "rehearsal 0.3": {"rehearsal": 0.3},
    "distillation 1": {"distillation": 1.0},
    "both": {"rehearsal": 0.3, "distillation": 1.0},
}
CAPTIONS = [f"caption{number}" for number in range(CAPTIONS_PER_IMAGE)]


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    output: str
    """Folder of the data and the runs."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds; the data set is the same."""
    scenes: int = 1000
    """Training scenes of each task; half as many for validation."""
    image_size: int = 48
    """Side of the images in pixels."""
    epochs: int = 4
    """Of the second task."""
    learning_rate: float = 1e-3
    """Of the second task."""


def write_tables(folder, scenes):
    """Writes the scenes, and a table per task."""
    root = os.path.abspath(os.path.join(folder, "shapes"))
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


def make_experiment(options, task, root, seed, **changes):
    """The experiment `shapes` on the table of a task."""
    shapes = experiments.get("shapes")
    columns = {
        "images": "photo",
        "text": ",".join(CAPTIONS),
        "labels": "kinds",
        "label_names": ",".join(TASKS[task]),
        "split": "split",
        "folder": root,
    }
    images = dataclasses.replace(shapes.model.images, image_size=options.image_size)
    return dataclasses.replace(
        shapes,
        data=DataConfig("table", os.path.join(options.output, f"{task}.csv"), columns),
        model=dataclasses.replace(shapes.model, images=images),
        training=dataclasses.replace(
            shapes.training, seed=seed, strategy="none", monitor_contribution=False
        ),
        **changes,
    )


def learn_second(options, root, seed, before, arm):
    """Learns the second task in one of the ways; returns what was measured, a dict."""
    path = os.path.join(options.output, f"{arm.replace(' ', '_')}-{seed}.json")
    if not os.path.exists(path):
        config = ContinualConfig(before, **ARMS[arm])
        experiment = make_experiment(options, "second", root, seed, continual=config)
        last = dataclasses.replace(
            experiment.training.phases[-1],
            epochs=options.epochs,
            learning_rate=options.learning_rate,
        )
        training = dataclasses.replace(experiment.training, phases=(last,))
        keras.utils.clear_session()
        found = fit(dataclasses.replace(experiment, training=training), Console(stderr=True))
        new, seconds = found.measured.metrics["fused"]["mAP"], found.clock.seconds()["train"]
        write_json(path, {"forgetting": found.forgetting, "new": new, "seconds": seconds})
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main():
    """Prints a row per arm: backward transfer, mAP of the new classes, and what it took."""
    options = tyro.cli(Options)
    os.makedirs(options.output, exist_ok=True)
    root = write_tables(options.output, options.scenes)
    found = {arm: {"transfer": [], "new": [], "seconds": []} for arm in ARMS}
    first = []
    for seed in options.seeds:
        before = os.path.join(options.output, f"first-{seed}")
        if not os.path.exists(os.path.join(before, "run.json")):
            keras.utils.clear_session()
            run(make_experiment(options, "first", root, seed, output=before), Console(stderr=True))
        with open(os.path.join(before, "run.json"), encoding="utf-8") as file:
            first.append(json.load(file)["metrics"]["fused"]["mAP"])
        for arm, values in found.items():
            measured = learn_second(options, root, seed, before, arm)
            values["transfer"].append(measured["forgetting"]["backward_transfer"]["difference"])
            values["new"].append(measured["new"])
            values["seconds"].append(measured["seconds"])
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
