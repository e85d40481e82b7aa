"""Trains on the Keras backend of the process; `test_jax.py` compares what backends leave.

python -m tests.training.jax_program same | resume | refuse FOLDER
"""

import contextlib
import io
import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

from data_prep.sources.shapes import ShapesSource
from mmlearn import MultimodalClassifier
from mmlearn.cli.main import main
from mmlearn.training.contribution import ContributionMonitor
from mmlearn.training.data import TrainingData
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests import toys
from tests.training.test_resume import STEPS, KillAt, Killed, train

BATCH = 4
# The same parts twice, at another rate: what was compiled for the first must not serve the second.
PHASES = (
    TrainingPhase("slow", 1, optimizer="sgd", learning_rate=1e-2, clip_norm=0.5),
    TrainingPhase("fast", 2, optimizer="sgd", learning_rate=1e-1, clip_norm=0.5, ema_momentum=0.5),
    TrainingPhase("adam", 1, ("fusion", "head"), learning_rate=1e-2, layer_decay=0.5),
)


class Losses(keras.callbacks.Callback):
    """Notes the mean loss after each step."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(float(logs["loss"]))


def batches(task, raw, labels):
    """Examples that were converted once, since each backend reads them from here."""
    x = {name: np.asarray(value) for name, value in task.preprocessor(raw).items()}
    return tf.data.Dataset.from_tensor_slices((x, labels.astype("float32"))).batch(BATCH)


def train_the_same(folder):
    """Trains the preset in a folder, without anything random, and leaves all numbers there.

    Args:
        folder: str, with a `preset`. Gets a file and a preset named after the backend.
    """
    backend = keras.config.backend()
    task = MultimodalClassifier.from_preset(os.path.join(folder, "preset"))
    for layer in task._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    raw, labels = toys.examples(3 * BATCH)
    results = {"before": task.predict(raw, verbose=0)}
    dataset = batches(task, raw, labels)
    losses = []
    monitor = ContributionMonitor(dataset, task, tell=lambda line: None)

    def build(start=(0, 0), with_ids=False):
        return dataset.repeat().skip(3 * start[0] + start[1])

    records = run_phases(
        task,
        PHASES,
        TrainingData(build, 3),
        dataset,
        callbacks=[monitor.for_phase, lambda phase: Losses(losses)],
    )
    results["losses"] = losses
    for number, record in enumerate(records):
        for name, values in record["history"].items():
            results[f"{number}/{name}"] = values
    results["after"] = task.predict(raw, verbose=0)
    results["weights"] = np.concatenate([np.ravel(weight) for weight in task.get_weights()])
    explanation = task.explain({name: values[:2] for name, values in raw.items()})
    results["explained"] = explanation["attention_scores"]["text_to_images"]
    task.save_to_preset(os.path.join(folder, backend))
    task.compile(keras.optimizers.SGD(0.1))
    x, y = {name: values[:BATCH] for name, values in raw.items()}, labels[:BATCH]
    results["on_batch"] = [task.test_on_batch(x, y)[0], task.train_on_batch(x, y)[0]]
    task.save(os.path.join(folder, f"{backend}.keras"))
    np.savez(os.path.join(folder, f"{backend}.npz"), **results)


def resume(folder):
    """Interrupts training in several places; says how far the ends are from an uninterrupted one."""
    source = ShapesSource(os.path.join(folder, "shapes"), num_train=4 * STEPS + 1, num_val=5)
    whole, expected = train(source, None)
    weights, report = whole.get_weights(), {}
    kills = {"within an epoch": {"batches": STEPS + 1}, "in the second phase": {"batches": 8}}
    kills["before the end of a phase"] = {"validations": 1}
    for number, (name, kill) in enumerate(kills.items()):
        checkpoints = os.path.join(folder, str(number))
        with contextlib.suppress(Killed):
            train(source, checkpoints, KillAt(**kill))
            raise AssertionError(name)
        task, records = train(source, checkpoints)
        pairs = zip(task.get_weights(), weights, strict=True)
        different = sum(not np.array_equal(got, want) for got, want in pairs)
        report[name] = {"different": different, "same_history": records == expected}
    return report


def refuse(folder):
    """Asks for what only TensorFlow does; returns exit codes and what is said."""
    flags = {
        "replicas": ("--training.num-replicas", "2"),
        "hosts": ("--training.strategy", "multi_worker"),
        "micro-batches": ("--training.phases.2.micro-batches", "2"),
    }
    root = ("--data.root", os.path.join(folder, "shapes"), "--output", os.path.join(folder, "out"))
    report = {}
    for name, words in flags.items():
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(
                ["train", *root, "--data.options", "num_train=64", "num_val=8", "seed=0", *words]
            )
        report[name] = [code, said.getvalue()]
    return report


if __name__ == "__main__":
    work = {"same": train_the_same, "resume": resume, "refuse": refuse}[sys.argv[1]]
    print(json.dumps(work(sys.argv[2])))
