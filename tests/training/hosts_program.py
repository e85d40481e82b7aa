"""Trains the same toy on one device, or as one of several hosts, in a process of its own.

    python -m tests.training.hosts_program KIND FOLDER [--die-at STEP]

With `TF_CONFIG` it is the host that is named there. KIND is `sgd` or `adamw`, for 20 steps of which
some are uneven; `resume`, two epochs of whole batches with checkpoints in `FOLDER/checkpoints`; or
`nan`, where one label is none. `--die-at` ends the process by SIGKILL after so many steps. Writes
`FOLDER/result.npz` and `FOLDER/result.json` (the chief also `FOLDER/preset`); ends with code 3 and a
line when another host is lost.
"""

import argparse
import json
import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from mmlearn.training.checkpoints import Checkpoints
from mmlearn.training.data import TrainingData
from mmlearn.training.distribution import Host, find_host, make_strategy
from mmlearn.training.hosts import Hosts, lost_hosts_named, make_trainer
from mmlearn.training.optimizers import SGD, AdamW
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests import toys
from tests.training.replicas_program import SIZES, build

WHOLE = [8] * 6  # batches of the runs that are resumed
PHASES = (
    TrainingPhase(
        "tune",
        2,
        optimizer="sgd",
        learning_rate=1e-2,
        clip_norm=0.5,
        ema_momentum=0.8,
        restore_best=True,
    ),
)
OPTIMIZERS = {
    "sgd": lambda: SGD(0.05, momentum=0.9, global_clipnorm=0.5, weight_decay=0.01),
    "adamw": lambda: AdamW(1e-3, global_clipnorm=0.5),
}


class DieAt(keras.callbacks.Callback):
    """Ends the process without a word after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def shares(sizes, host, seed=0, broken=None):
    """The batches of one host: each `count`-th row, as `build_dataset(shard=...)` gives them."""
    x, y = toys.examples(sum(sizes), seed)
    x = {name: np.asarray(values) for name, values in toys.preprocessor()(x).items()}
    y, weights = y.astype("float32"), np.linspace(0.5, 1.5, len(y)).astype("float32")
    if broken is not None:
        y[broken] = np.nan
    ids = np.array([f"photo-{row}" for row in range(len(y))])
    start = 0
    for size in sizes:
        rows = np.arange(start, start + size)[host.index :: host.count]
        yield ids[rows], ({k: v[rows] for k, v in x.items()}, y[rows], weights[rows])
        start += size


def dataset(sizes, host, with_ids=False, **kwargs):
    """A dataset of `shares`."""
    first = next(iter(shares(sizes, host, **kwargs)))
    signature = tf.nest.map_structure(
        lambda v: tf.TensorSpec((None, *v.shape[1:]), tf.as_dtype(v.dtype)), first
    )
    batches = tf.data.Dataset.from_generator(
        lambda: shares(sizes, host, **kwargs), output_signature=signature
    )
    # Else Keras finds the end by an error, after it has counted one more batch in some metrics.
    batches = batches.apply(tf.data.experimental.assert_cardinality(len(sizes)))
    return batches if with_ids else batches.map(lambda ids, batch: batch)


def train_steps(kind, hosts):
    """The steps of `SIZES`, validated; returns the task and its metrics."""
    with hosts.strategy.scope():
        task = build(synchronized=hosts.host.count > 1)
        task.compile(OPTIMIZERS[kind]())
        task.optimizer.build(task.trainable_variables)
        history = keras.callbacks.History()
        make_trainer(task).fit(
            dataset(SIZES, hosts.host).repeat(),
            validation_data=dataset([4, 1], hosts.host, seed=2),
            epochs=1,
            steps_per_epoch=len(SIZES),
            callbacks=[history],
            verbose=0,
        )
    return task, {name: values[-1] for name, values in history.history.items()}


def train_phases(hosts, folder, die_at=None, broken=None):
    """Phases with checkpoints; returns the task and its records."""
    tf.config.experimental.enable_op_determinism()

    def build_batches(start=(0, 0), with_ids=False):
        host = Host() if with_ids else hosts.host
        batches = dataset(WHOLE, host, with_ids, broken=broken).repeat()
        return batches.skip(start[0] * len(WHOLE) + start[1])

    with hosts.strategy.scope():
        task = build(synchronized=hosts.host.count > 1)
        records = run_phases(
            task,
            PHASES,
            TrainingData(build_batches, len(WHOLE)),
            dataset([4, 1], hosts.host, seed=2),
            Checkpoints(os.path.join(folder, "checkpoints")) if hosts.host.is_chief else None,
            checkpoint_seconds=0.0,
            callbacks=[lambda phase: DieAt(die_at)] if die_at else [],
        )
    return task, records


def main():
    """Trains and writes the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("folder")
    parser.add_argument("--die-at", type=int)
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    several = "TF_CONFIG" in os.environ
    strategy = "multi_worker" if several else "none"
    with lost_hosts_named(find_host(strategy)):
        hosts = Hosts(make_strategy(strategy))
        if options.kind in OPTIMIZERS:
            task, report = train_steps(options.kind, hosts)
        else:
            broken = 8 * 2 + 5 if options.kind == "nan" else None  # the third batch, host 1
            task, report = train_phases(hosts, options.folder, options.die_at, broken)
        x, _ = toys.examples(8, seed=1)
        memory = task(task.preprocessor(x), training=False)["classes"].numpy()
        if hosts.host.is_chief:
            copy = task.with_dtype("float32") if several else task
            copy.save_to_preset(os.path.join(options.folder, "preset"))
        hosts.wait()
    weights = {f"{place:03d} {v.path}": v.numpy() for place, v in enumerate(task.weights)}
    np.savez(os.path.join(options.folder, "result.npz"), memory=memory, **weights)
    with open(os.path.join(options.folder, "result.json"), "w") as file:
        json.dump(report, file)


if __name__ == "__main__":
    try:
        main()
    except (ConnectionError, FloatingPointError) as error:
        print(error, file=sys.stderr)
        sys.exit(3)
