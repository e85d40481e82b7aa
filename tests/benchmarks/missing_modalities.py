"""Is one model enough? A joint model with a modality missing, against models of one modality alone.

    python -m tests.benchmarks.missing_modalities --output /path/for/the/runs

Trains `shapes`, without `local` regions and grounded heads, with every fusion, and models of images
alone and of text alone with the same phases, steps and rates. Then each joint model predicts from one modality, its learned missing token standing
in for the other. Differences are paired over the validation scenes (bootstrap, 95 %); the joint model
is to be at most 0.02 behind. The last table is of the first fusion, with each modality available for
a part of the scenes. Runs that are there already are not repeated.
"""

import dataclasses
import json
import os
from dataclasses import dataclass

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from data_prep.pipeline import build_dataset
from mmlearn import MultimodalClassifier, experiments
from mmlearn.cli.tables import availability_table
from mmlearn.evaluation.availability import availability_grid, predict_subsets
from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.evaluation.paired import paired_bootstrap
from mmlearn.experiments.build import build_source
from mmlearn.experiments.config import FusionConfig
from mmlearn.experiments.run import run
from mmlearn.fusions import FUSIONS

BAR = 0.02  # mAP that a joint model may be behind one of a single modality
DEFAULT = "cross_attention"


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    output: str
    """Folder of the runs."""
    fusions: tuple[str, ...] = (DEFAULT, *(name for name in FUSIONS if name != DEFAULT))
    """The joint models, by fusion. The first one's grid is shown."""
    modality_dropout: float = 0.3
    """Of the joint models."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds; the data set is the same."""
    scenes: int = 6000
    """Training scenes."""
    validation_scenes: int = 1000
    epochs: tuple[int, int, int] = (7, 4, 2)
    """Of the three phases; the second one is cheap, since features are stored."""


def make_experiment(options, seed, modalities, fusion=DEFAULT):
    """The experiment `shapes` with one of the models."""
    shapes = experiments.get("shapes")
    plain = FusionConfig(DEFAULT, options={"num_heads": 4})
    data = {"num_train": options.scenes, "num_val": options.validation_scenes, "seed": 0}
    root = os.path.join(options.output, f"data-{options.scenes}-{options.validation_scenes}")
    phases = [
        dataclasses.replace(phase, epochs=epochs)
        for phase, epochs in zip(shapes.training.phases, options.epochs, strict=True)
    ]
    return dataclasses.replace(
        shapes,
        data=dataclasses.replace(shapes.data, root=root, options=data),
        model=dataclasses.replace(
            shapes.model,
            modalities=modalities,
            images=dataclasses.replace(shapes.model.images, options={}),
            fusion=plain if fusion == DEFAULT else FusionConfig(fusion),
            modality_dropout=options.modality_dropout,
        ),
        training=dataclasses.replace(shapes.training, phases=tuple(phases), seed=seed),
    )


def train(experiment, folder, console):
    """Trains one model, unless its record is there; returns its folder."""
    if not os.path.exists(os.path.join(folder, "run.json")):
        console.rule(os.path.basename(folder))
        run(dataclasses.replace(experiment, output=folder), console)
    return folder


def predict(folder, experiment):
    """What the joint model of a run predicts from every subset, kept in a file beside it."""
    path = f"{folder}.subsets.npz"
    if not os.path.exists(path):
        task = MultimodalClassifier.from_preset(os.path.join(folder, "preset"))
        source = build_source(experiment.data)
        labels, present, predictions = predict_subsets(
            task, build_dataset(source, "val", task.preprocessor)
        )
        present = {f"present {modality}": values for modality, values in present.items()}
        predictions = {f"from {' '.join(subset)}": p for subset, p in predictions.items()}
        np.savez_compressed(path, labels=labels, **present, **predictions)
    stored = np.load(path)
    present = {n.split()[1]: stored[n] for n in stored.files if n.startswith("present ")}
    predictions = {tuple(n.split()[1:]): stored[n] for n in stored.files if n.startswith("from ")}
    return stored["labels"], present, predictions


def main():
    """Prints a row per seed, fusion and modality, then the grid of the first fusion."""
    options = tyro.cli(Options)
    console = Console(width=130)
    title = f"modality dropout {options.modality_dropout}, mAP"
    columns = ("seed", "fusion", "both", "from", "joint", "its own head", "alone")
    table = Table(*columns, "joint minus alone (95 %)", f"within {BAR}", title=title)
    grids = []
    for seed in options.seeds:
        alone = {}
        for modality in ("images", "text"):
            # Without another modality, none is dropped.
            experiment = make_experiment(options, seed, (modality,))
            folder = os.path.join(options.output, f"{modality}-{seed}")
            folder = train(experiment, folder, console)
            alone[modality] = np.load(os.path.join(folder, "predictions.npz"))["fused"]
        for fusion in options.fusions:
            experiment = make_experiment(options, seed, ("images", "text"), fusion)
            name = f"{fusion}-{options.modality_dropout:g}-{seed}"
            folder = train(experiment, os.path.join(options.output, name), console)
            with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
                metrics = json.load(file)["metrics"]
            labels, present, predictions = predict(folder, experiment)
            for modality, other in alone.items():
                joint = predictions[modality,]
                found = paired_bootstrap("multi_label", labels, joint, other)
                table.add_row(
                    *(
                        (str(seed), fusion, f"{metrics['fused']['mAP']:.4f}")
                        if modality == "images"
                        else ("", "", "")
                    ),
                    modality,
                    f"{multilabel_metrics(labels, joint)['mAP']:.4f}",
                    f"{metrics[modality]['mAP']:.4f}",
                    f"{multilabel_metrics(labels, other)['mAP']:.4f}",
                    "{difference:+.4f} [{low:+.4f}, {high:+.4f}]".format(**found),
                    "yes" if found["difference"] >= -BAR else "no",
                )
            grids.append(availability_grid(labels, present, predictions))
    console.print(table)
    console.print(availability_table(grids[0]))


if __name__ == "__main__":
    main()
