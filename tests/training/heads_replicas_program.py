"""Trains contrast and learned weights on one device and on two replicas, in a process of its own.

    python -m tests.training.heads_replicas_program

Prints a JSON object of the differences; see `tests.training.replicas_program`.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from mmlearn import Head, MultimodalMultiTask
from mmlearn.training import distribution
from tests.models.test_multimodal_regressor import backbone, inputs

SIZES = [8, 8, 7, 8, 5] * 2  # the replicas get 4 and 3 rows of 7
HEADS = [
    Head("scene", "multi_class", ("indoor", "outdoor"), 8),
    Head("price", "regression", ("a",), 8),
]


def batches():
    """Batches in which some examples lack a text, with weights."""
    x = inputs(sum(SIZES))
    x["text_present"][::3] = 0
    random = np.random.default_rng(6)
    y = np.hstack(
        [np.eye(2)[random.integers(0, 2, len(x["text_present"]))], x["images_features"][:, 0, :1]]
    )
    weights = np.linspace(0.5, 1.5, len(y)).astype("float32")
    start = 0
    for size in SIZES:
        rows = slice(start, start + size)
        yield {k: v[rows] for k, v in x.items()}, y[rows].astype("float32"), weights[rows]
        start += size


def train(strategy=None):
    """Returns the trained task and the metrics of the epoch."""
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(5)
        task = MultimodalMultiTask(backbone(), HEADS, dropout=0.0, consistency="contrastive")
        task.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss_weights="uncertainty")
        signature = tf.nest.map_structure(
            lambda v: tf.TensorSpec((None, *v.shape[1:]), v.dtype), next(batches())
        )
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
        before = task.get_weights()
        metrics = task.fit(dataset, epochs=1, verbose=0).history
    moved = [np.abs(a - b).max() for a, b in zip(before, task.get_weights(), strict=True)]
    return task, metrics, float(max(moved))


def main():
    """Compares."""
    replicas = distribution.make_strategy("mirrored", num_replicas=2)
    one, metrics, moved = train()
    two, same, _ = train(replicas)
    pairs = zip(one.get_weights(), two.get_weights(), strict=True)
    report = {
        "moved": moved,
        "log_variances": float(np.abs(one.heads["loss_weights"].get_weights()[0]).min()),
        "weights": max(float(np.abs(a - b).max()) for a, b in pairs),
        "metrics": max(abs(metrics[name][0] - same[name][0]) for name in metrics),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
