"""Every precision trains float32 weights; what is saved computes in float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalClassifier
from mmlearn.training.checkpoints import Checkpoints
from mmlearn.training.data import TrainingData
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from mmlearn.training.precision import choose
from tests import toys

STEPS = 2


@pytest.fixture(scope="module", autouse=True)
def deterministic():
    tf.config.experimental.enable_op_determinism()


def examples(modalities):
    x, y = toys.examples()
    return {modality: x[modality] for modality in modalities}, y


def batches(task):
    """Two batches of four that can be learned by heart."""
    x, y = examples(task.backbone.modalities)
    x = {name: np.asarray(value) for name, value in task.preprocessor(x).items()}
    return tf.data.Dataset.from_tensor_slices((x, y.astype("float32"))).batch(4)


def train(policy, epochs=2, checkpoints=None, callbacks=(), modalities=("images", "text")):
    keras.utils.set_random_seed(0)
    task = toys.classifier(modalities, dtype=policy)
    dataset = batches(task)

    def build(start=(0, 0), with_ids=False):
        return dataset.repeat().skip(start[0] * STEPS + start[1])

    phase = TrainingPhase("only", epochs, learning_rate=1e-2, clip_norm=1.0)
    data = TrainingData(build, STEPS)
    records = run_phases(task, [phase], data, None, checkpoints, 0.0, callbacks=callbacks)
    return task, records[0]["history"]["loss"]


@pytest.mark.parametrize(
    ("policy", "modalities"),
    [
        pytest.param("mixed_bfloat16", ("text",), marks=pytest.mark.large),
        pytest.param("float32", ("text",), marks=pytest.mark.full),
        pytest.param("mixed_float16", ("text",), marks=pytest.mark.full),
        pytest.param("mixed_bfloat16", ("images", "text"), marks=pytest.mark.full),
        pytest.param("mixed_float16", ("images", "text"), marks=pytest.mark.large),
    ],
)
def test_it_trains_and_what_is_saved_computes_in_float32(policy, modalities, tmp_path):
    task, losses = train(policy, epochs=4, modalities=modalities)
    assert losses[-1] < losses[0]
    assert task.backbone.compute_dtype == keras.DTypePolicy(policy).compute_dtype
    assert {variable.dtype for variable in task.trainable_variables} == {"float32"}
    assert isinstance(task.optimizer, keras.optimizers.LossScaleOptimizer) == (
        policy == "mixed_float16"
    )
    x, _ = examples(modalities)
    low = task.predict(x, verbose=0)
    saved = task.with_dtype("float32")
    assert {layer.compute_dtype for layer in saved.backbone._flatten_layers()} == {"float32"}
    high = saved.predict(x, verbose=0)
    assert low.dtype == high.dtype == np.float32
    np.testing.assert_allclose(low, high, atol=0.05)
    saved.save_to_preset(str(tmp_path / "preset"))
    again = MultimodalClassifier.from_preset(str(tmp_path / "preset"))
    np.testing.assert_array_equal(again.predict(x, verbose=0), high)


def test_a_mixed_model_survives_saving(tmp_path):
    task, _ = train("mixed_bfloat16", epochs=1, modalities=("text",))
    x, _ = examples(("text",))
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    assert again.backbone.compute_dtype == "bfloat16"
    np.testing.assert_array_equal(again.predict(x, verbose=0), task.predict(x, verbose=0))


class Killed(Exception):
    """Stands for a process that ends."""


class KillAt(keras.callbacks.Callback):
    """Raises after so many batches."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_train_batch_end(self, batch, logs=None):
        self.batches -= 1
        if self.batches < 0:
            raise Killed


@pytest.mark.large
def test_the_loss_scale_survives_an_interruption(tmp_path):
    whole, _ = train("mixed_float16", modalities=("text",))
    scale = whole.optimizer
    assert int(scale.step_counter) == 2 * STEPS  # no step was left out
    with pytest.raises(Killed):
        kill = [lambda phase: KillAt(STEPS + 1)]
        train("mixed_float16", 2, Checkpoints(str(tmp_path)), kill, ("text",))
    task, _ = train("mixed_float16", 2, Checkpoints(str(tmp_path)), (), ("text",))
    for ours, theirs in (
        (task.get_weights(), whole.get_weights()),
        (task.optimizer.variables, scale.variables),
    ):
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("gpus", "flags", "expected"),
    [
        ([(9, 0), (8, 0)], (), "mixed_bfloat16"),
        ([(9, 0), (7, 5)], ("avx512_bf16",), "mixed_float16"),
        ([(6, 1)], ("avx512_bf16",), "float32"),
        ([(0, 0)], (), "float32"),
        ([], ("avx2", "avx512_bf16"), "mixed_bfloat16"),
        ([], ("amx_bf16",), "mixed_bfloat16"),
        ([], ("avx2", "avx512f"), "float32"),
    ],
)
def test_auto_takes_what_the_weakest_device_computes_in_hardware(gpus, flags, expected):
    assert choose("auto", gpus, flags)[0] == expected


def test_jax_on_a_cpu_takes_float32_but_its_gpu_counts_as_any():
    assert choose("auto", [], ("avx512_bf16",), "jax")[0] == "float32"
    assert choose("auto", [(9, 0)], ("avx512_bf16",), "jax")[0] == "mixed_bfloat16"


def test_what_is_asked_for_is_taken():
    assert choose("mixed_float16", [], ()) == ("mixed_float16", "as asked")
    with pytest.raises(
        ValueError, match=r"Unknown precision 'bfloat16'\. Did you mean '.*bfloat16'"
    ):
        choose("bfloat16", [], ())
