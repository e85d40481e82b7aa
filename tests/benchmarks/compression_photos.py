"""Smaller forms of a model of real photos: what 16 bits, 8 bits, a student and pruning cost.

    python -m tests.benchmarks.compression_photos --data ../shared/data --output DIR

`coco_subset`: 1,339 training and 350 validation photos, each with its first caption, 80 labels. The image
encoder is SqueezeNet from a `.keras` file, the text encoder weighs words; late fusion. The student has the same
network on photos of half the side, and learns from the predictions of the model besides the labels.
"""

import os
from dataclasses import dataclass

import keras
import tyro
from keras import layers
from rich.console import Console

from mmlearn import experiments
from mmlearn.cli.tables import evidence_table
from mmlearn.experiments.comparison import compare_models
from mmlearn.experiments.compression import compress_model
from mmlearn.experiments.compression_config import DistillationConfig
from mmlearn.experiments.config import FusionConfig, ImagesConfig, TextConfig
from mmlearn.experiments.run import run
from mmlearn.experiments.smaller_runs import pruning_of
from mmlearn.experiments.values import with_values
from mmlearn.training.phase import TrainingPhase
from tests.benchmarks.sceptic import WEIGHTS
from tests.benchmarks.squeezenet import NORMALIZATION, squeezenet

IMAGE_SIZE = 227
FORMS = (("float16", "openvino"), ("float16", "tf_saved_model"), ("int8", "openvino"))
PHASES = (
    TrainingPhase(
        "text",
        30,
        trainable=("text_encoder", "auxiliary_heads"),
        learning_rate=3e-3,
        weight_decay=0.1,
        loss_weights={"text_classes": 1.0},
    ),
    TrainingPhase(
        "images",
        20,
        trainable=("auxiliary_heads",),
        learning_rate=2e-3,
        weight_decay=0.1,
        loss_weights={"images_classes": 1.0},
    ),
    TrainingPhase(
        "end to end",
        4,
        learning_rate=5e-4,
        part_rates={"images_encoder": 0.1},
        loss_weights={"main": 1.0},
    ),
)
# All at once: the teacher speaks of what is predicted from both.
OF_STUDENT = TrainingPhase(
    "end to end",
    30,
    learning_rate=3e-3,
    weight_decay=0.1,
    part_rates={"images_encoder": 0.03},
    loss_weights={"main": 1.0, "text_classes": 1.0, "images_classes": 1.0},
)


@dataclass(frozen=True)
class Options:
    """Trains, makes smaller, compares."""

    data: str
    """Folder with coco_subset and squeezenet_imagenet."""
    output: str
    """Folder of the runs; what is there already is not trained again."""
    seed: int = 0


def write_networks(options):
    """The image networks as `.keras` files: dict of `model` and `student` to path."""
    paths = {}
    for name, step in (("model", 1), ("student", 2)):
        network = squeezenet(os.path.join(options.data, WEIGHTS), -(-IMAGE_SIZE // step))
        if step > 1:
            inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
            smaller = layers.AveragePooling2D(step, padding="same")(inputs)
            network = keras.Model(inputs, network(smaller), name="squeezenet_half")
        paths[name] = os.path.join(options.output, f"{network.name}.keras")
        network.save(paths[name])
    return paths


def train(options, name, network, values=None):
    """Runs the experiment unless it was run; returns its config."""
    experiment = with_values(
        experiments.get("coco_small"),
        {
            "output": os.path.join(options.output, name),
            "data.root": os.path.join(options.data, "coco_subset"),
            "data.augmentations": (),
            "model.images": ImagesConfig(
                network, image_size=IMAGE_SIZE, options={"normalization": NORMALIZATION}
            ),
            "model.text": TextConfig("weighted_words", options={"dropout": 0.0}),
            "model.fusion": FusionConfig(
                "late",
                {"average": "logits", "modality_weights": {"images": 1.0, "text": 1.5}},
            ),
            "model.hidden_dim": 128,
            "model.dropout": 0.5,
            "training.phases": PHASES,
            "training.seed": options.seed,
            **(values or {}),
        },
    )
    if not os.path.exists(os.path.join(experiment.output, "run.json")):
        run(experiment, Console())
    return experiment


def main():
    """Prints a table for each form."""
    options = tyro.cli(Options)
    os.makedirs(options.output, exist_ok=True)
    networks = write_networks(options)
    experiment = train(options, "model", networks["model"])
    folder, data, console = experiment.output, experiment.data, Console(width=150)
    found = [compress_model(folder, data, *form, console=console) for form in FORMS]
    distillation = DistillationConfig(folder, attention=0.0, modality_weights=0.0)
    changed = {"distillation": distillation, "training.phases": (OF_STUDENT,)}
    student = train(options, "student", networks["student"], changed)
    pruned = pruning_of(folder)
    if not os.path.exists(os.path.join(pruned.output, "run.json")):
        run(pruned, console)
    for smaller, topic in ((student, "distillation"), (pruned, "pruning")):
        found.append(compare_models(folder, smaller.output, data, topic, console=console))
    for each in found:
        for table in each["tables"]:
            console.print(evidence_table(table))
        print(*each["remarks"], sep="\n")


if __name__ == "__main__":
    main()
