"""Trains a toy with unknown labels and a teacher on one device and on two replicas.

    python -m tests.training.continual_program

Prints a JSON object of the differences, in a process of its own, as `replicas_program` does.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from mmlearn.training import distribution
from mmlearn.training.continual import continual_learner, with_classes
from mmlearn.training.optimizers import SGD
from tests.training.replicas_program import SHORT, batches, build, difference


def train(strategy=None, weight=0.5):
    """Returns the classifier and the metrics of the epoch."""
    with (strategy or tf.distribute.get_strategy()).scope():
        earlier = build()
        names = [*earlier.label_names, "lamp", "table"]
        task = with_classes(earlier, names)
        for encoder in task.backbone.encoders.values():
            distribution.synchronize_batch_norm(encoder)
        for layer in task._flatten_layers():  # copies have the rates of the config again
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        teacher = earlier.with_dtype("float32") if weight else None
        learner = continual_learner(task, teacher, weight)
        learner.compile(SGD(0.05, momentum=0.9, global_clipnorm=0.5))

        def with_unknown():
            for x, y, sample_weight in batches(sizes=SHORT):
                unknown = np.full_like(y, -1)
                yield x, np.concatenate([unknown, y[:, :2]], axis=1), sample_weight

        signature = tf.nest.map_structure(
            lambda v: tf.TensorSpec((None, *v.shape[1:]), v.dtype), next(with_unknown())
        )
        dataset = tf.data.Dataset.from_generator(with_unknown, output_signature=signature)
        metrics = learner.fit(dataset, epochs=1, verbose=0).history
    return task, metrics


def main():
    """Compares."""
    replicas = distribution.make_strategy("mirrored", num_replicas=2)
    one = train()
    report = {
        "replicas": difference(one, train(replicas)),
        "without_teacher": difference(one, train(weight=0.0)),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
