"""The experiments that make a saved model smaller: pruning it, and teaching a student."""

import dataclasses
import os

from mmlearn.experiments.compression_config import DistillationConfig, PruningConfig
from mmlearn.experiments.config import ContinualConfig, UnlabeledConfig, read_run

EPOCHS = 3  # of training after pruning


def pruning_of(model):
    """The experiment that prunes a saved model: its data, and the last of its phases once more.

    Args:
        model: str. Output folder of a run.

    Returns:
        An `Experiment`. Half of the units go, and it is written to `MODEL-pruned`.

    Raises:
        ValueError: when the folder has no run.json.
    """
    experiment = _again(model, "pruned")
    phase = dataclasses.replace(
        experiment.training.phases[-1],
        name="after pruning",
        epochs=EPOCHS,
        trainable=("all",),
        trainable_blocks=0,
        restore_best=False,
        ema_momentum=None,
    )
    training = dataclasses.replace(experiment.training, phases=(phase,), pretrain=())
    return dataclasses.replace(
        experiment, training=training, pruning=PruningConfig(model=model, units=0.5)
    )


def distillation_of(model):
    """The experiment that teaches a student by a saved model: its data, phases, and model to begin with.

    Args:
        model: str. Output folder of a run.

    Returns:
        An `Experiment`, written to `MODEL-student`. Its `model` is as large as the teacher.

    Raises:
        ValueError: when the folder has no run.json.
    """
    experiment = _again(model, "student")
    return dataclasses.replace(experiment, distillation=DistillationConfig(model=model))


def check_is_smaller(experiment):
    """Raises a `ValueError` when a student has the config of its teacher."""
    if experiment.model == read_run(_record(experiment.distillation.model))[0].model:
        raise ValueError(
            "The student is the teacher's equal. Fix: name what is smaller, such as --model.hidden-dim 64 "
            "--model.images.name resnet_tiny --model.text.options num_layers=1."
        )


def _again(model, what):
    experiment, _ = read_run(_record(model))
    folder = os.path.normpath(model)
    return dataclasses.replace(
        experiment,
        name=f"{os.path.basename(folder)}-{what}",
        output=f"{folder}-{what}",
        folds=None,
        continual=ContinualConfig(),
        unlabeled=UnlabeledConfig(),
        pruning=PruningConfig(),
        distillation=DistillationConfig(),
    )


def _record(model):
    path = os.path.join(model, "run.json")
    if not os.path.isfile(path):
        raise ValueError(
            f"{str(model)!r} has no run.json, which says on what data and how a model was trained. Fix: "
            "pass the output folder of a run."
        )
    return path
