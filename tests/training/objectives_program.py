"""Trains objectives without labels on one device and on two replicas, in a process of its own.

    python -m tests.training.objectives_program FOLDER

Prints a JSON object of the differences, as `tests.training.replicas_program` does for labels.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from data_prep.sources.shapes import ShapesSource
from mmlearn.training import distribution, objectives
from mmlearn.training.data import SourceData
from mmlearn.training.optimizers import SGD
from mmlearn.training.phase import TrainingPhase
from tests.training import replicas_program

# A batch of 5 gives the replicas 3 and 2 rows, one of 1 leaves the second one none.
SIZES = [8, 8, 5, 8, 1, 7, 8, 1]


def build(source, objective):
    """The objective's task on a toy without dropout, and its data."""
    task = replicas_program.build()
    phase = TrainingPhase("alone", 1, objective=objective)
    return objectives.prepare(task, phase, SourceData(source, task.preprocessor, 8))


def batches(data):
    """The batches, of these sizes; two photos come with two texts."""
    found = [x for x, _, _ in data.validation().as_numpy_iterator()]
    x = {name: np.concatenate([batch[name] for batch in found]) for name in found[0]}
    if "pair" in x:
        x["pair"] = np.stack([np.arange(len(x["pair"])), x["pair"][:, 1]], axis=1)
        x["pair"][[1, 9], 1] = x["pair"][[0, 8], 1]
    start = 0
    for size in SIZES:
        rows = slice(start, start + size)
        yield {name: values[rows] for name, values in x.items()}, np.zeros((size, 1), np.float32)
        start += size


def train(source, objective, strategy=None):
    """Returns the weights before and after, and the losses."""
    with (strategy or tf.distribute.get_strategy()).scope():
        learner, data = build(source, objective)
        before = {v.path: v.numpy() for v in learner.weights}
        learner.compile(SGD(0.05, momentum=0.9, global_clipnorm=0.5, weight_decay=0.01))
        signature = tf.nest.map_structure(
            lambda v: tf.TensorSpec((None, *v.shape[1:]), v.dtype), next(batches(data))
        )
        dataset = tf.data.Dataset.from_generator(lambda: batches(data), output_signature=signature)
        logs = learner.fit(dataset, validation_data=dataset, epochs=1, verbose=0).history
    return before, {v.path: v.numpy() for v in learner.weights}, logs


def main():
    """Compares."""
    replicas = distribution.make_strategy("mirrored", num_replicas=2)
    source = ShapesSource(sys.argv[1], num_train=8, num_val=sum(SIZES))
    report = {}
    for objective in sorted(set(objectives.OBJECTIVES) - {objectives.LABELS}):
        keras.utils.clear_session()
        before, one, logs = train(source, objective)
        keras.utils.clear_session()
        _, two, logs_of_two = train(source, objective, replicas)
        assert one.keys() == two.keys()
        report[objective] = {
            "moved": max(float(np.abs(one[path] - before[path]).max()) for path in one),
            "weights": max(float(np.abs(one[path] - two[path]).max()) for path in one),
            "losses": max(abs(logs[name][0] - logs_of_two[name][0]) for name in logs),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
