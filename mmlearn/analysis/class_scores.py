"""What gradients are taken of: the score of one class, from the features of the encoders."""

import keras
from keras import ops

from mmlearn.losses.logits import remembered_logits

SMALLEST = 1e-7  # probability


def check_gradients(what):
    """Refuses a Keras backend on which this cannot be computed.

    Args:
        what: str. For the message.

    Raises:
        ValueError: when Keras does not run on TensorFlow.
    """
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            f"{what} needs gradients by TensorFlow. Received: Keras on {keras.config.backend()}. Fix: "
            "KERAS_BACKEND=tensorflow; a saved model runs on each."
        )


def scores_of(task, features, masks, inputs, columns, modality=None):
    """The score of a class of each example before the probability is made of it.

    Args:
        task: a task whose main output is of classes or numbers.
        features: dict of modality to `(batch_size, length, dim)`, as `backbone.encode` returns.
        masks: dict of modality to bool `(batch_size, length)`.
        inputs: dict of model inputs, of which it is read which modalities are there.
        columns: int array `(batch_size,)`, each example's class.
        modality: str, to ask the head of that modality alone, or `None` for the main output.

    Returns:
        float tensor `(batch_size,)`: the logit of a class, or the number itself.
    """
    alone = task.predict_alone(features, masks, training=False)
    if modality is not None and modality in alone:
        predicted = alone[modality]
    else:
        presence = {m: inputs[f"{m}_present"] for m in task.backbone.modalities}
        outputs = task.backbone.fuse(features, masks, presence, training=False)
        predicted = task.predict_fused(outputs, alone, training=False)
    head = task.described[task.main_output]
    if not head.is_regression:
        logits = remembered_logits(predicted)
        if logits is None:  # of an average of probabilities
            p = ops.clip(predicted, SMALLEST, 1 - SMALLEST)
            logits = ops.log(p) - (ops.log(1 - p) if head.activation == "sigmoid" else 0.0)
        predicted = logits
    return ops.take_along_axis(predicted, ops.convert_to_tensor(columns)[:, None], axis=1)[:, 0]
