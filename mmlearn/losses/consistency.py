"""The modalities should agree."""

import itertools

import keras
from keras import ops


def consistency(predictions):
    """How far the predictions of the modalities are apart, per example.

    Args:
        predictions: list of two or more tensors `(batch_size, num_classes)`, probabilities.

    Returns:
        float tensor `(batch_size,)`: the squared difference, averaged over classes and pairs.

    Example:

    >>> import numpy as np
    >>> np.asarray(consistency([np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]])])).tolist()
    [0.5]
    """
    pairs = itertools.combinations(predictions, 2)
    distances = [ops.mean(ops.square(a - b), axis=-1) for a, b in pairs]
    return ops.mean(ops.stack(distances, axis=0), axis=0)


@keras.saving.register_keras_serializable(package="mmlearn")
class ConsistencyLoss(keras.losses.Loss):
    """The mean of the model output `consistency`, which is computed inside the graph.

    `y_true` is ignored: agreement needs no label. Weighted by lambda_3 in the total loss.
    """

    def call(self, y_true, y_pred):
        return y_pred
