"""Phases train what they name and nothing else, and stop at the first NaN."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.training.checkpoints import Checkpoints
from mmlearn.training.data import TrainingData, from_dataset
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests import toys


def dataset(task, count=4, batch_size=2, labels=None):
    x, y = toys.examples(count)
    y = y if labels is None else labels
    x = {modality: x[modality] for modality in task.backbone.modalities}
    data = tf.data.Dataset.from_tensor_slices((x, y.astype("float32"))).batch(batch_size)
    return data.map(lambda x, y: (task.preprocessor(x), y))


def weights_by_part(task):
    return {
        part: [weight for layer in layers for weight in layer.get_weights()]
        for part, layers in task.parts.items()
    }


class Snapshot(keras.callbacks.Callback):
    """Keeps the weights of every part at the ends of a phase."""

    def __init__(self, task):
        super().__init__()
        self.task = task

    def on_train_begin(self, logs=None):
        self.before = weights_by_part(self.task)
        self.rate = self.task.optimizer.get_config()["learning_rate"]["config"]

    def on_train_end(self, logs=None):
        self.after = weights_by_part(self.task)
        self.decay = self.task.optimizer.weight_decay

    @property
    def changed(self):
        """Names of the parts of which any weight changed."""
        return {
            part
            for part, weights in self.before.items()
            if any((a != b).any() for a, b in zip(weights, self.after[part], strict=True))
        }


@pytest.fixture(scope="module")
def run():
    """`(task, phases, records, snapshots)` of three phases, one of them empty."""
    keras.utils.set_random_seed(4)
    task = toys.classifier(fusion="concat")
    phases = [
        TrainingPhase(
            "warm", 1, ("fusion", "head"), learning_rate=1e-2, loss_weights={"classes": 1.0}
        ),
        TrainingPhase("none", 0, ("all",)),
        TrainingPhase(
            "adapt",
            2,
            ("images_encoder",),
            learning_rate=1e-3,
            warmup_fraction=0.5,
            weight_decay=0.0,
        ),
    ]
    snapshots = {}

    def snapshot(phase):
        snapshots[phase.name] = Snapshot(task)
        return snapshots[phase.name]

    records = run_phases(task, phases, from_dataset(dataset(task)), None, callbacks=[snapshot])
    return task, records, snapshots


def test_each_phase_changes_its_parts_and_no_other(run):
    _, _, snapshots = run
    assert snapshots["warm"].changed == {"fusion", "head"}
    # BatchNorm's moving statistics belong to the encoder and stay with it while it is frozen.
    assert snapshots["adapt"].changed == {"images_encoder"}


def test_a_phase_goes_on_where_the_last_one_ended(run):
    _, _, snapshots = run
    for part, weights in snapshots["warm"].after.items():
        for first, second in zip(weights, snapshots["adapt"].before[part], strict=True):
            np.testing.assert_array_equal(first, second)


def test_everything_is_trainable_afterwards(run):
    task, _, _ = run
    assert all(layer.trainable for layers in task.parts.values() for layer in layers)
    frozen = {weight.path for weight in task.non_trainable_weights}
    assert all("moving_" in path for path in frozen)


def test_records_hold_a_history_per_epoch_and_leave_out_empty_phases(run):
    _, records, snapshots = run
    assert [record["name"] for record in records] == ["warm", "adapt"]
    assert "none" not in snapshots
    for record, epochs in zip(records, (1, 2), strict=True):
        assert {len(values) for values in record["history"].values()} == {epochs}
        assert np.isfinite(list(record["history"].values())).all()
    # The first phase gave weight to one output alone.
    assert "images_classes_loss" not in records[0]["history"]
    assert {"images_classes_loss", "consistency_loss"} <= set(records[1]["history"])


def test_the_schedule_covers_all_steps_of_the_phase(run):
    _, _, snapshots = run
    warm, adapt = snapshots["warm"], snapshots["adapt"]
    # Two steps: a tenth of them rounds to no warm-up.
    assert (warm.rate["initial_learning_rate"], warm.rate["decay_steps"]) == (1e-2, 2)
    assert warm.rate["warmup_steps"] == 0
    # Four steps: half of them warm up to the peak.
    assert (adapt.rate["warmup_target"], adapt.rate["warmup_steps"]) == (1e-3, 2)
    assert adapt.rate["decay_steps"] == 2
    assert (warm.decay, adapt.decay) == (1e-2, 0.0)


def test_broken_labels_stop_the_run_by_name():
    task = toys.classifier(("text",), fusion="concat")
    labels = np.ones((6, 3))
    labels[4] = np.nan
    data = dataset(task, count=6, labels=labels)
    with pytest.raises(
        FloatingPointError,
        match=r"The loss became nan in phase 'tune', epoch 1, step 3\. Fix: .*\(now 0\.0001\)",
    ):
        run_phases(
            task, [TrainingPhase("tune", 2, loss_weights={"classes": 1.0})], from_dataset(data)
        )


@pytest.mark.parametrize(
    "place",
    [
        "images",
        pytest.param("labels", marks=pytest.mark.large),
        pytest.param("weights", marks=pytest.mark.full),
    ],
)
def test_a_nan_is_traced_to_its_example(place, tmp_path):
    task = toys.classifier(fusion="concat")
    raw, labels = toys.examples(6)
    x = {name: np.array(values) for name, values in task.preprocessor(raw).items()}
    labels, weights = labels.astype("float32"), np.ones(6, np.float32)
    {"images": x["images"], "labels": labels, "weights": weights}[place][4] = np.nan
    ids = [f"photo-{row}" for row in range(6)]

    def build(start=(0, 0), with_ids=False):
        batches = tf.data.Dataset.from_tensor_slices((ids, (x, labels, weights))).batch(2)
        batches = batches.repeat().skip(3 * start[0] + start[1])
        return batches if with_ids else batches.map(lambda ids, batch: batch)

    checkpoints = Checkpoints(str(tmp_path))
    with pytest.raises(
        FloatingPointError,
        match=r"in phase 'tune', epoch 1, step 3: .* of 'photo-4'\. Fix: repair or remove it",
    ):
        run_phases(task, [TrainingPhase("tune", 2)], TrainingData(build, 3), None, checkpoints, 0.0)
    # What was saved last is from before the batch.
    assert all(np.isfinite(array).all() for array in checkpoints.latest().arrays)
    assert checkpoints.latest().state["step"] == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", -1),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("warmup_fraction", 1.5),
        ("weight_decay", -0.1),
    ],
)
def test_a_phase_refuses_bad_values(field, value):
    options = {"name": "tune", "epochs": 1, field: value}
    with pytest.raises(ValueError, match=rf"`{field}` of phase 'tune' must be in \[0, .*Received"):
        TrainingPhase(**options)


def test_a_phase_names_an_unknown_part():
    task = toys.classifier(("text",))
    data = dataset(task)
    with pytest.raises(ValueError, match=r"Unknown part 'heads'\. Did you mean 'head'"):
        run_phases(task, [TrainingPhase("tune", 1, ("heads",))], from_dataset(data))


@pytest.mark.parametrize("trainable", [("encoders", "head"), ("all",)])
def test_blocks_of_encoders_that_learn_as_a_whole_are_refused(trainable):
    task = toys.classifier(("text",))
    phase = TrainingPhase("tune", 1, trainable, trainable_blocks=1)
    with pytest.raises(ValueError, match=r"`trainable_blocks` of phase 'tune' .* Fix: leave"):
        run_phases(task, [phase], from_dataset(dataset(task)))
