"""Trains the same toy on one device and on two replicas, in a process of its own.

    python -m tests.training.replicas_program

Prints a JSON object of the differences. Two replicas on a CPU must be made before TensorFlow runs
its first op, so this cannot happen in the process of the tests.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalClassifier, fusions
from mmlearn.training import distribution
from mmlearn.training.optimizers import SGD, AdamW
from tests import toys

# 20 steps; a batch of 7 gives the replicas 4 and 3 rows, one of 1 leaves the second one none.
SIZES = [8, 8, 8, 7] * 4 + [8, 8, 8, 1]
# Fewer steps, more replicas without rows: where the input of a ReLU comes within rounding of zero, the
# weights part by 1e-4, which in 20 steps of this optimizer happens once.
SHORT = [8, 8, 1, 1, 8, 1]


def build(synchronized=True):
    """A toy without dropout, since the replicas draw other masks than one device.

    Synchronised or not, batch normalisation is the same on one device; but the kernels differ, and
    so do the last digits.
    """
    keras.utils.set_random_seed(5)
    encoders = {modality: toys.encoder(modality) for modality in ("images", "text")}
    if synchronized:
        encoders = {m: distribution.synchronize_batch_norm(e) for m, e in encoders.items()}
    for layer in encoders["text"]._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    backbone = MultimodalBackbone(
        encoders,
        fusions.get("cross_attention", num_heads=2, dropout=0.0),
        hidden_dim=16,
        dropout=0.0,
        modality_dropout=0.0,
    )
    return MultimodalClassifier(
        backbone, toys.NUM_CLASSES, preprocessor=toys.preprocessor(), hidden_dim=8, dropout=0.0
    )


def batches(permuted=False, sizes=SIZES):
    """The batches, of these sizes; permuted, the rows of each come in reverse."""
    x, y = toys.examples(sum(sizes))
    x = {name: np.asarray(values) for name, values in toys.preprocessor()(x).items()}
    weights = np.linspace(0.5, 1.5, len(y)).astype("float32")
    start = 0
    for size in sizes:
        rows = np.arange(start, start + size)[:: -1 if permuted else 1]
        yield {k: v[rows] for k, v in x.items()}, y[rows].astype("float32"), weights[rows]
        start += size


def train(optimizer, strategy=None, permuted=False, synchronized=True, sizes=SIZES):
    """Returns the trained task and the metrics of the last epoch."""
    with (strategy or tf.distribute.get_strategy()).scope():
        task = build(synchronized)
        task.compile(optimizer())
        signature = tf.nest.map_structure(
            lambda v: tf.TensorSpec((None, *v.shape[1:]), v.dtype), next(batches())
        )
        dataset = tf.data.Dataset.from_generator(
            lambda: batches(permuted, sizes), output_signature=signature
        )
        metrics = task.fit(dataset, epochs=1, verbose=0).history
    return task, metrics


def difference(first, second):
    """Largest differences of weights, of statistics, of predictions and of metrics."""
    (a, metrics_a), (b, metrics_b) = first, second
    found = {"weights": 0.0, "statistics": 0.0}
    for one, two in zip(a.weights, b.weights, strict=True):
        kind = "statistics" if "moving_" in one.path else "weights"
        found[kind] = max(found[kind], float(np.abs(one.numpy() - two.numpy()).max()))
    x, _ = toys.examples(8, seed=1)
    with tf.distribute.get_strategy().scope():
        found["predictions"] = float(
            np.abs(a.predict(x, verbose=0) - b.predict(x, verbose=0)).max()
        )
    pairs = [(metrics_a[name][-1], metrics_b[name][-1]) for name in metrics_a]
    found["metrics"] = max(abs(one - two) for one, two in pairs)
    return found


def main():
    """Compares."""
    replicas = distribution.make_strategy("mirrored", num_replicas=2)

    def sgd():
        return SGD(0.05, momentum=0.9, global_clipnorm=0.5, weight_decay=0.01)

    def keras_sgd():
        return keras.optimizers.SGD(0.05, momentum=0.9, clipnorm=0.1)

    def adamw():
        return AdamW(1e-3, global_clipnorm=0.5)

    one = train(sgd)
    report = {
        "moved": difference((build(), one[1]), one)["weights"],
        "sgd": difference(one, train(sgd, replicas)),
        "kernels": difference(one, train(sgd, synchronized=False)),
        "clipnorm": difference(
            train(keras_sgd, sizes=SHORT), train(keras_sgd, replicas, sizes=SHORT)
        ),
    }
    one = train(adamw)
    report["adamw"] = difference(one, train(adamw, replicas))
    report["adamw_permuted"] = difference(one, train(adamw, permuted=True))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
