"""Labels that are not known teach nothing."""

import keras
from keras import ops

from mmlearn.losses.logits import remembered_logits


@keras.saving.register_keras_serializable(package="mmlearn")
class KnownLabels(keras.losses.Loss):
    """A loss of sigmoids over the classes of which an example's label is known.

    A negative label is unknown. It gets no gradient, and the mean over the classes is one over
    those that are known: with none, the loss is 0.

    A NaN would mark the same, but marks broken labels already.

    Args:
        loss: a `keras.losses.Loss` that is a mean over the classes, such as binary cross-entropy.
        **kwargs: of `keras.losses.Loss`.

    Shapes:
        Targets and probabilities `(batch_size, num_classes)`; the loss per example `(batch_size,)`.

    Example:

    >>> loss = KnownLabels(keras.losses.BinaryCrossentropy())
    >>> round(float(loss([[1.0, -1.0]], [[0.5, 0.9]])), 4)
    0.6931
    """

    def __init__(self, loss, name="known_labels", **kwargs):
        super().__init__(name=name, **kwargs)
        self.loss = loss

    def call(self, y_true, y_pred):
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.cast(y_true, y_pred.dtype)
        is_unknown = y_true < 0  # not `>= 0`: a NaN must come through and stop the training
        # With an axis more, the mean over classes is one over a single class: the loss of each.
        known = ops.where(is_unknown, 0.0, y_true)
        by_class, logits = y_pred[..., None], remembered_logits(y_pred)
        if logits is not None:
            by_class._keras_logits = logits[..., None]
        each = self.loss.call(known[..., None], by_class)
        each = ops.where(is_unknown, 0.0, each)
        count = ops.sum(ops.cast(ops.logical_not(is_unknown), each.dtype), axis=-1)
        return ops.sum(each, axis=-1) / ops.maximum(count, 1)

    def get_config(self):
        return {**super().get_config(), "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
