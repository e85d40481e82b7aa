"""The monitor finds the modality that is of no use, and training does not notice the monitor."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
from mmlearn.training.checkpoints import Checkpoints
from mmlearn.training.contribution import ContributionMonitor, find_ignored
from mmlearn.training.data import TrainingData
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests.training.test_resume import KillAt, Killed

ROOT = pathlib.Path(__file__).parents[2]
BATCH, STEPS = 32, 8


def classifier(modalities=("images", "text"), fusion="concat"):
    """A classifier of three labels on features of size 3, one position each."""
    keras.utils.set_random_seed(1)
    backbone = MultimodalBackbone(
        {modality: encoders.Features(length=1, dim=3) for modality in modalities},
        fusions.get(fusion),
        hidden_dim=16,
    )
    return MultimodalClassifier(backbone, 3, hidden_dim=16)


def examples(count, seed, matters=("images", "text"), modalities=("images", "text")):
    """Model inputs, labels and weights; a label is true where the features that matter are large."""
    random = np.random.default_rng(seed)
    x, score = {}, 0
    for modality in modalities:
        values = random.normal(size=(count, 3)).astype("float32")
        x[f"{modality}_features"] = values[:, None]
        x[f"{modality}_mask"] = np.ones((count, 1), np.int32)
        x[f"{modality}_present"] = np.ones(count, np.int32)
        score = score + values * (modality in matters)
    return x, (score > 0).astype("float32"), np.ones(count, np.float32)


def batches(data):
    return tf.data.Dataset.from_tensor_slices(data).batch(BATCH)


def training_data(data):
    def build(start=(0, 0), with_ids=False):
        return batches(data).repeat().skip(STEPS * start[0] + start[1])

    return TrainingData(build, STEPS)


def train(matters=("images", "text"), is_monitored=True, folder=None, callback=None, **options):
    """Trains a phase; returns the task, the monitor and the records."""
    task = classifier()
    validation = batches(examples(200, 1, matters))
    monitor = ContributionMonitor(validation, task)
    options = {"epochs": 4, "learning_rate": 3e-2, **options}
    records = run_phases(
        task,
        [TrainingPhase("fuse", **options)],
        training_data(examples(BATCH * STEPS, 0, matters)),
        validation,
        Checkpoints(folder) if folder else None,
        checkpoint_seconds=0.0,
        callbacks=[
            *([monitor.for_phase] if is_monitored else []),
            *([lambda phase: callback] if callback else []),
        ],
    )
    return task, monitor, records


@pytest.fixture(scope="module")
def trained():
    tf.config.experimental.enable_op_determinism()
    return train()


def test_both_matter_and_nothing_is_said(trained):
    _, monitor, (record,) = trained
    history = record["history"]
    for modality in ("images", "text"):
        values = history[f"contribution_{modality}"]
        assert len(values) == 4
        assert 0.1 < history[f"contribution_{modality}_low"][-1] < values[-1]
        assert 0.1 < history[f"contribution_{modality}_share"][-1] < 1
    assert find_ignored(record) == []
    assert monitor.seconds > 0


class StopAfter(keras.callbacks.Callback):
    """Ends a phase after so many epochs, as `patience` does."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch + 1 == self.epochs


def test_noise_is_found_when_the_phase_ends():
    # The missing tokens need some epochs to be known.
    with pytest.warns(UserWarning, match=r"In phase 'fuse' .* no clear use of 'text'") as told:
        _, _, (record,) = train(matters=("images",), callback=StopAfter(8), epochs=20)
    assert len(told) == 1
    assert len(record["history"]["contribution_text"]) == 8
    assert find_ignored(record) == [str(told[0].message)]
    assert record["history"]["contribution_images_share"][-1] > 0.1


def losses(task, data):
    """The loss of each example: with everything (`None`), and without each modality."""
    (x, y, _), loss = data, {}
    for absent in (None, "images", "text"):
        given = {n: np.zeros_like(v) if n == f"{absent}_present" else v for n, v in x.items()}
        p = task.predict(given, verbose=0)
        loss[absent] = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p), axis=1)
    return loss


def test_the_measure_is_the_paired_difference_of_the_losses(trained):
    task, _, (record,) = trained
    loss = losses(task, examples(200, 1))
    for modality in ("images", "text"):
        difference = loss[modality] - loss[None]
        low = difference.mean() - 1.972 * difference.std(ddof=1) / np.sqrt(200)
        share = difference.mean() / loss[modality].mean()
        for end, expected in {"": difference.mean(), "_low": low, "_share": share}.items():
            found = record["history"][f"contribution_{modality}{end}"][-1]
            assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("fusion", ["late", "hybrid"])
def test_joined_predictions_are_measured_like_any_other(fusion):
    task, data = classifier(fusion=fusion), examples(100, 1)
    loss, found = losses(task, data), ContributionMonitor(batches(data), task)._contributions()
    for modality in ("images", "text"):
        expected = (loss[modality] - loss[None]).mean()
        assert found[f"contribution_{modality}"] == pytest.approx(expected, abs=1e-6)
        assert abs(expected) > 1e-4


def test_what_is_absent_or_alone_does_not_count(trained):
    task, _, _ = trained
    data = examples(90, 2)
    x = {name: values.copy() for name, values in data[0].items()}
    x["text_present"][:30] = 0
    x["images_present"][30:50] = 0
    found = ContributionMonitor(batches((x, *data[1:])), task)._contributions()
    rest = tf.nest.map_structure(lambda v: v[50:], data)
    expected = ContributionMonitor(batches(rest), task)._contributions()
    assert found == pytest.approx(expected, rel=1e-5)
    nothing = ContributionMonitor(
        batches(tf.nest.map_structure(lambda v: v[:50], (x, *data[1:]))), task
    )
    assert nothing._contributions() == {}


def test_training_is_the_same_without_the_monitor(trained):
    task, _, (record,) = trained
    other, _, (plain,) = train(is_monitored=False)
    for value, expected in zip(task.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)
    added = [name for name in record["history"] if name not in plain["history"]]
    assert len(added) == 6
    assert plain["history"] == {n: v for n, v in record["history"].items() if n not in added}


@pytest.mark.large
def test_an_interrupted_run_measures_and_ends_the_same(trained, tmp_path):
    task, _, records = trained
    with pytest.raises(Killed):
        train(folder=str(tmp_path), callback=KillAt(batches=STEPS + 3))
    other, _, again = train(folder=str(tmp_path))
    assert again == records
    for value, expected in zip(other.get_weights(), task.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.large
def test_moving_averages_are_what_is_measured():
    _, monitor, (record,) = train(epochs=2, ema_momentum=0.5)
    kept = monitor._contributions()  # the phase ends with the averages
    for name, value in kept.items():
        assert record["history"][name][-1] == pytest.approx(value, rel=1e-6)


@pytest.mark.large
def test_phases_without_the_fusion_and_single_modalities_are_not_measured():
    _, _, (record,) = train(epochs=1, trainable=("head",))
    assert not any("contribution" in name for name in record["history"])
    with pytest.warns(UserWarning, match="Gradients do not exist"):  # nothing trains the fusion
        _, _, (record,) = train(epochs=1, loss_weights={"auxiliary": 1.0})
    assert not any("contribution" in name for name in record["history"])
    task = classifier(("text",))
    data = examples(64, 0, ("text",), ("text",))
    monitor = ContributionMonitor(batches(data), task)
    task.compile()
    history = task.fit(batches(data), callbacks=[monitor], verbose=0).history
    assert not any("contribution" in name for name in history)


@pytest.mark.large
def test_it_works_in_a_plain_fit():
    task, lines = classifier(), []
    data = examples(64, 0, ())
    task.compile(keras.optimizers.SGD(0.0))
    monitor = ContributionMonitor(batches(data), task, lines.append)
    history = task.fit(batches(data), epochs=2, callbacks=[monitor], verbose=0).history
    assert len(history["contribution_text_low"]) == 2
    assert [line.split("'")[1] for line in lines] == ["fit"] * len(lines)
    assert lines == find_ignored({"name": "fit", "history": history})


@pytest.mark.parametrize(
    ("value", "low", "share", "count"),
    [(0.1, 0.05, 0.2, 0), (0.1, -0.01, 0.2, 1), (0.001, 0.0005, 0.002, 1), (-0.1, -0.2, -0.5, 1)],
)
def test_what_counts_as_ignored(value, low, share, count):
    history = {
        "loss": [1.0, 1.0],
        "contribution_images": [0.0, value],
        "contribution_images_low": [-1.0, low],
        "contribution_images_share": [0.0, share],
    }
    lines = find_ignored({"name": "end to end", "history": history})
    assert len(lines) == count
    assert all("'end to end'" in line and "'images'" in line for line in lines)


# Two replicas on the CPU must be made before TensorFlow starts: a process of its own.
MIRRORED = """
import json
from mmlearn.training import distribution
strategy = distribution.make_strategy("mirrored", num_replicas=2)
from tests import toys
from mmlearn.training.contribution import ContributionMonitor
import keras, tensorflow as tf
keras.utils.set_random_seed(0)
with strategy.scope():
    backbone = toys.backbone()
    for encoder in backbone.encoders.values():
        distribution.synchronize_batch_norm(encoder)
    task = toys.classifier()
    task.compile(keras.optimizers.SGD(0.01))
    x, y = toys.examples(10)
    data = task._raw_dataset(x, y.astype("float32"), batch_size=4)
    data = data.map(lambda x, y: (task.preprocessor(x), y))
    monitor = ContributionMonitor(data, task, lambda line: None)
    history = task.fit(data, validation_data=data, callbacks=[monitor], verbose=0).history
single = ContributionMonitor(data, task)._contributions()
print(json.dumps([{name: history[name][0] for name in single}, single]))
"""


@pytest.mark.full
def test_replicas_measure_what_one_device_measures():
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    replicas, single = json.loads(done.stdout.splitlines()[-1])
    assert len(single) == 6
    assert replicas == pytest.approx(single, rel=1e-5)
