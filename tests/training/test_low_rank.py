"""Low-rank updates change nothing at first, learn alone, and leave an ordinary encoder."""

import keras
import numpy as np
import pytest

from mmlearn.training.data import from_dataset
from mmlearn.training.low_rank import add_updates, merge_updates
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests import toys
from tests.training.test_phases import Snapshot, dataset, weights_by_part

RANK = 2


class Shapes(keras.callbacks.Callback):
    """Keeps what a phase trains."""

    def on_train_begin(self, logs=None):
        self.trained = [variable.path for variable in self.model.trainable_variables]


@pytest.fixture(scope="module")
def run():
    """`(task, inputs, snapshot, shapes)` of a phase that learns through updates."""
    keras.utils.set_random_seed(1)
    task = toys.classifier(fusion="concat")
    snapshot, shapes = Snapshot(task), Shapes()
    phase = TrainingPhase(
        "tune", 2, ("encoders", "head"), lora_rank=RANK, learning_rate=1e-2, augment=False
    )
    run_phases(
        task,
        [phase],
        from_dataset(dataset(task)),
        dataset(task),
        callbacks=[lambda phase: snapshot, lambda phase: shapes],
    )
    return task, snapshot, shapes


@pytest.mark.parametrize("modality", ["images", "text"])
def test_an_update_of_zero_changes_nothing(modality):
    encoder = toys.encoder(modality)
    inputs = toys.preprocessor((modality,))({modality: toys.examples()[0][modality]})
    inputs = {name: inputs[name] for name in encoder.model_inputs(modality)}
    before, _ = encoder(inputs)
    add_updates(encoder, RANK)
    np.testing.assert_array_equal(encoder(inputs)[0], before)


@pytest.mark.parametrize("modality", ["images", "text"])
def test_the_merged_kernels_compute_what_the_updates_did(modality):
    encoder = toys.encoder(modality)
    inputs = toys.preprocessor((modality,))({modality: toys.examples()[0][modality]})
    inputs = {name: inputs[name] for name in encoder.model_inputs(modality)}
    plain, count = encoder(inputs)[0], len(encoder.weights)
    add_updates(encoder, RANK)
    updates = encoder.trainable_variables
    # Two for each kernel; nothing else learns.
    kernels = [w for w in encoder.weights if w.path.endswith("/kernel")]
    assert len(updates) == 2 * len(kernels) > 0
    for variable in updates:
        variable.assign(np.random.default_rng(0).normal(0, 0.1, variable.shape))
    updated, _ = encoder(inputs)
    assert np.abs(np.asarray(updated) - plain).max() > 1e-2
    merge_updates(encoder)
    np.testing.assert_allclose(encoder(inputs)[0], updated, atol=1e-5)
    assert len(encoder.weights) == count
    assert all("lora" not in weight.path for weight in encoder.weights)
    layers = [layer.get_config() for layer in encoder._flatten_layers() if layer.weights]
    assert all(layer.get("lora_rank") is None for layer in layers)


@pytest.mark.large
def test_a_phase_learns_through_its_updates_alone(run):
    _, snapshot, shapes = run
    encoders = [path for path in shapes.trained if "head" not in path and "classes" not in path]
    assert encoders
    assert all("lora_kernel" in path for path in encoders)
    assert snapshot.changed == {"images_encoder", "text_encoder", "head"}


@pytest.mark.large
def test_only_kernels_are_other_afterwards_and_by_low_ranks(run):
    task, snapshot, _ = run
    after = weights_by_part(task)
    changed = 0
    for part in ("images_encoder", "text_encoder"):
        (encoder,) = task.parts[part]
        # `Snapshot` saw the updates among the weights; by shape, those are the ones left over.
        before = iter(snapshot.before[part])
        for weight, value in zip(encoder.weights, after[part], strict=True):
            old = next(found for found in before if found.shape == value.shape)
            difference = (value - old).reshape(-1, value.shape[-1])
            if not weight.path.endswith("/kernel"):
                assert not difference.any(), weight.path
            elif min(difference.shape) > RANK:
                changed += 1
                singular = np.linalg.svd(difference, compute_uv=False)
                assert singular[RANK:].max() < 1e-4 * singular[0]
    assert changed > 5


@pytest.mark.large
def test_the_task_is_an_ordinary_one_afterwards(run, tmp_path):
    task, _, _ = run
    x, _ = toys.examples()
    expected = task.predict(x, verbose=0)
    task.evaluate(dataset(task), verbose=0)  # traced anew
    path = str(tmp_path / "preset")
    task.save_to_preset(path)
    loaded = type(task).from_preset(path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    frozen = {weight.path for weight in task.non_trainable_weights}
    assert all("moving_" in path for path in frozen)
    assert all(layer.trainable for layer in task._flatten_layers())
    # And may be tuned so again.
    phase = TrainingPhase("again", 1, ("text_encoder",), lora_rank=1)
    run_phases(task, [phase], from_dataset(dataset(task)))
    assert all("lora" not in weight.path for weight in task.weights)


def test_updates_need_encoders_that_learn():
    task = toys.classifier(("text",), fusion="concat")
    phases = [TrainingPhase("first", 1), TrainingPhase("tune", 1, ("head",), lora_rank=4)]
    before = task.get_weights()
    with pytest.raises(ValueError, match=r"`lora_rank` of phase 'tune' needs encoders .* Fix: add"):
        run_phases(task, phases, from_dataset(dataset(task)))
    for old, new in zip(before, task.get_weights(), strict=True):  # the first has not begun
        np.testing.assert_array_equal(new, old)


def test_an_interrupted_phase_leaves_the_task_with_its_own_variables():
    task = toys.classifier(("text",), fusion="concat")
    count = len(task.variables)

    def interrupt(epoch, logs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_phases(
            task,
            [TrainingPhase("tune", 1, lora_rank=4)],
            from_dataset(dataset(task)),
            callbacks=[lambda phase: keras.callbacks.LambdaCallback(on_epoch_end=interrupt)],
        )
    assert len(task.variables) == count


def test_an_encoder_without_kernels_is_refused():
    from mmlearn.encoders.features import Features

    encoder = Features(4, 8, name="text_features")
    with pytest.raises(ValueError, match="'text_features' has no dense or convolutional layer"):
        add_updates(encoder, RANK)
