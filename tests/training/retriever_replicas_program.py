"""Trains embeddings on one device and on two replicas, whole and in parts, in a process of its own.

    python -m tests.training.retriever_replicas_program

Prints a JSON object of the differences; see `tests.training.replicas_program`.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from mmlearn import ImageTextRetriever, MultimodalBackbone, encoders, fusions
from mmlearn.training import distribution

SIZES = [8, 8, 7, 8, 5]  # the replicas get 4 and 3 rows of 7


def batches():
    """Batches in which some examples lack a text and some are of one group, with weights."""
    random, count = np.random.default_rng(3), sum(SIZES)
    x = {"group": random.integers(0, 6, count)}
    for modality in ("images", "text"):
        x[f"{modality}_features"] = random.normal(size=(count, 3, 6)).astype("float32")
        x[f"{modality}_mask"] = np.ones((count, 3), "int32")
        x[f"{modality}_present"] = np.ones(count, "int32")
    x["text_present"][::5] = 0
    weights = np.linspace(0.5, 1.5, count).astype("float32")
    start = 0
    for size in SIZES:
        rows = slice(start, start + size)
        yield {k: v[rows] for k, v in x.items()}, np.zeros((size, 1), "float32"), weights[rows]
        start += size


def train(strategy=None, parts=1):
    """Returns the trained weights, the loss of the epoch, and how far weights moved."""
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(5)
        backbone = MultimodalBackbone(
            {m: encoders.Features(3, 6, name=f"{m}_encoder") for m in ("images", "text")},
            fusions.get("concat"),
            hidden_dim=8,
        )
        task = ImageTextRetriever(backbone, None, 8, projection_dim=8, dropout=0.0)
        task.set_trainable(["encoders", "head"])
        task.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            loss_weights={"contrast": 1.0},
            micro_batches=parts,
        )
        signature = tf.nest.map_structure(
            lambda v: tf.TensorSpec((None, *v.shape[1:]), v.dtype), next(batches())
        )
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
        before = task.get_weights()
        loss = task.fit(dataset, epochs=1, verbose=0).history["loss"][0]
    moved = [np.abs(a - b).max() for a, b in zip(before, task.get_weights(), strict=True)]
    return task.get_weights(), loss, float(max(moved))


def main():
    """Compares."""
    replicas = distribution.make_strategy("mirrored", num_replicas=2)
    one, loss, moved = train()
    report = {"moved": moved}
    for name, arguments in {
        "replicas": (replicas, 1),
        "parts": (None, 3),
        "replicas and parts": (replicas, 2),
    }.items():
        other, same, _ = train(*arguments)
        weights = max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))
        report[name] = {"weights": weights, "loss": abs(loss - same)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
