"""The modalities should agree."""

import itertools

import keras
from keras import ops

from mmlearn.losses.contrastive import image_text_contrast
from mmlearn.losses.logits import remembered_logits

CONSISTENCIES = ("squared_difference", "kl", "cosine", "contrastive")


def consistency(predictions, kind="squared_difference", activation="sigmoid"):
    """How far the predictions of the modalities are apart, per example: the mean over their pairs.

    The documents ask for a loss that "ensures coherent cross-modal representations" and give no
    formula; the squared difference of the predictions is the default. What compares representations
    themselves is `consistency_contrast`.

    Args:
        predictions: list of two or more tensors `(batch_size, num_classes)`, probabilities.
        kind: `"squared_difference"`, averaged over the classes; `"kl"`, the Kullback-Leibler
            divergence, the mean of both directions: for sigmoids of the two outcomes of each class,
            averaged over the classes, for softmax of the classes; or `"cosine"`, one minus the
            cosine of the vectors of predictions.
        activation: `"sigmoid"` or `"softmax"`, as the predictions have. Only `"kl"` asks for it.

    Returns:
        float tensor `(batch_size,)`, 0 where the predictions are the same.

    Raises:
        ValueError: when the kind is none of predictions.

    Example:

    >>> import numpy as np
    >>> first, second = np.array([[0.8, 0.5]]), np.array([[0.2, 0.5]])
    >>> [round(float(consistency([first, second], kind)[0]), 4) for kind in ("squared_difference", "kl")]
    [0.18, 0.4159]

    Reference:
        Kullback and Leibler 1951, "On information and sufficiency", equation 2.6 (the sum of both
        directions).
    """
    if kind not in _DISTANCES:
        raise ValueError(
            f"`kind` must be one of {', '.join(_DISTANCES)}. Received: kind={kind!r}. Fix: one of "
            "these; 'contrastive' compares representations and not predictions."
        )
    distances = [
        _DISTANCES[kind](first, second, activation)
        for first, second in itertools.combinations(predictions, 2)
    ]
    return ops.mean(ops.stack(distances, axis=0), axis=0)


def _squared_difference(first, second, activation):
    return ops.mean(ops.square(first - second), axis=-1)


def _divergence(first, second, activation):
    # Both directions together are a product of two differences, which is 0 where one of them is: no
    # probability of 0 needs a case of its own.
    difference = first - second
    if activation == "sigmoid":
        return ops.mean(difference * (_log_odds(first) - _log_odds(second)), axis=-1) / 2
    return ops.sum(difference * (_log(first) - _log(second)), axis=-1) / 2


def _log_odds(probabilities):
    logits = remembered_logits(probabilities)
    if logits is not None:
        return logits
    epsilon = keras.config.epsilon()
    p = ops.clip(probabilities, epsilon, 1 - epsilon)
    return ops.log(p) - ops.log(1 - p)


def _log(probabilities):
    logits = remembered_logits(probabilities)
    if logits is not None:
        return ops.log_softmax(logits, axis=-1)
    return ops.log(ops.maximum(probabilities, keras.config.epsilon()))


def _cosine(first, second, activation):
    # Half the squared distance of the unit vectors is one minus their cosine, and exactly 0 where
    # they are the same.
    difference = ops.normalize(first, axis=-1) - ops.normalize(second, axis=-1)
    return ops.sum(ops.square(difference), axis=-1) / 2


_DISTANCES = {"squared_difference": _squared_difference, "kl": _divergence, "cosine": _cosine}


def consistency_contrast(embeddings, rows, all_embeddings, all_rows, scale):
    """How hard it is to find an example's other modalities in a batch: the mean over their pairs.

    Args:
        embeddings: list of two or more float tensors `(batch_size, dim)`, L2-normalised, one per
            modality.
        rows: int tensor `(batch_size,)`, unique among all rows.
        all_embeddings: list of float tensors `(num_keys, dim)`, what the examples are compared with,
            themselves among them: on several replicas, the whole batch.
        all_rows: int tensor `(num_keys,)` and bool tensor `(num_keys, num_modalities)`, a tuple: their
            rows, and which modalities they have. What is absent is no negative.
        scale: float. Cosines are multiplied by it; the inverse of a temperature.

    Returns:
        float tensor `(batch_size,)`.

    Example:

    >>> import numpy as np
    >>> same, rows = np.eye(2, dtype="float32"), np.arange(2)
    >>> keys = (rows, np.ones((2, 2), bool))
    >>> loss = consistency_contrast([same, same], rows, [same, same], keys, scale=1.0)
    >>> [round(float(value), 4) for value in loss]
    [0.3133, 0.3133]

    Reference:
        Radford et al. 2021, "Learning transferable visual models from natural language
        supervision", figure 3.
    """
    numbers, present = all_rows
    losses = []
    for i, j in itertools.combinations(range(len(embeddings)), 2):
        both = ops.logical_and(present[:, i], present[:, j])
        losses.append(
            image_text_contrast(
                embeddings[i],
                embeddings[j],
                (rows, rows),
                all_embeddings[i],
                all_embeddings[j],
                (numbers, numbers, both),
                scale,
            )
        )
    return ops.mean(ops.stack(losses, axis=0), axis=0)


@keras.saving.register_keras_serializable(package="mmlearn")
class ConsistencyLoss(keras.losses.Loss):
    """The mean of the model output `consistency`, which is computed inside the graph.

    `y_true` is ignored: agreement needs no label. Weighted by lambda_3 in the total loss.
    """

    def call(self, y_true, y_pred):
        return y_pred
