"""A run that is interrupted ends with the same weights as one that is not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.pipeline import build_dataset
from data_prep.sources.shapes import ShapesSource
from mmlearn.training.checkpoints import Checkpoints
from mmlearn.training.data import TrainingData
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests import toys

STEPS = 3
PHASES = (
    TrainingPhase(
        "first", 2, ("fusion", "head"), learning_rate=1e-2, ema_momentum=0.8, restore_best=True
    ),
    TrainingPhase("empty", 0),
    TrainingPhase("second", 2, lora_rank=2, optimizer="sgd", learning_rate=1e-2, clip_norm=1.0),
)


class Killed(Exception):
    """Stands for a process that ends."""


class KillAt(keras.callbacks.Callback):
    """Raises after so many batches, or instead of the end of a validation."""

    def __init__(self, batches=None, validations=None):
        super().__init__()
        self.batches, self.validations = batches, validations

    def on_train_batch_end(self, batch, logs=None):
        if self.batches is not None:
            self.batches -= 1
            if self.batches < 0:
                raise Killed

    def on_test_end(self, logs=None):
        if self.validations is not None:
            self.validations -= 1
            if self.validations < 0:
                raise Killed


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("data") / "shapes")
    return ShapesSource(root, num_train=4 * STEPS + 1, num_val=5)


@pytest.fixture(scope="module", autouse=True)
def deterministic():
    tf.config.experimental.enable_op_determinism()


def train(source, folder, kill=None, seconds=0.0):
    """Trains anew or on from the checkpoints; returns the task and the records."""
    keras.utils.set_random_seed(3)
    task = toys.classifier(("text",), fusion="concat")
    task = with_classes(task, len(source.label_names))

    def build(start=(0, 0), with_ids=False):
        return build_dataset(
            source,
            "train",
            task.preprocessor,
            4,
            shuffle=True,
            augmentations=("drop_words",),
            start=start,
            repeat=True,
            with_ids=with_ids,
        )

    records = run_phases(
        task,
        PHASES,
        TrainingData(build, STEPS),
        build_dataset(source, "val", task.preprocessor, 4),
        Checkpoints(folder, keep=2) if folder else None,
        checkpoint_seconds=seconds,
        callbacks=[] if kill is None else [lambda phase: kill],
    )
    return task, records


def with_classes(task, count):
    return type(task)(task.backbone, count, preprocessor=task.preprocessor, hidden_dim=8)


@pytest.fixture(scope="module")
def whole(source):
    task, records = train(source, None)
    return [np.array(v) for v in task.get_weights()], records


@pytest.mark.parametrize(
    "kill",
    [
        # within the second epoch
        pytest.param({"batches": STEPS + 1}, marks=pytest.mark.large),
        # trained, and not yet validated, at the end of a phase
        pytest.param({"validations": 1}, marks=pytest.mark.full),
        # within the second phase
        pytest.param({"batches": 2 * STEPS + 1}, marks=pytest.mark.large),
    ],
)
def test_the_weights_and_the_history_are_those_of_a_run_that_was_not_interrupted(
    source, whole, tmp_path, kill
):
    weights, expected = whole
    with pytest.raises(Killed):
        train(source, str(tmp_path), KillAt(**kill))
    task, records = train(source, str(tmp_path))
    assert records == expected
    for got, want in zip(task.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.large
def test_a_finished_run_is_not_trained_again(source, whole, tmp_path):
    train(source, str(tmp_path))
    task, records = train(source, str(tmp_path), KillAt(batches=0))
    assert records == whole[1]
    for got, want in zip(task.get_weights(), whole[0], strict=True):
        np.testing.assert_array_equal(got, want)
