"""Losses that are weighted by what the model learns of their noise."""

import keras
from keras import ops


def by_uncertainty(loss, log_variance):
    """Weighs a loss by a learned variance: `exp(-s) loss + s / 2` with s = log(sigma²).

    The logarithm of a likelihood: a Gaussian's for a squared error, and for a cross-entropy that of
    a softmax whose logits are divided by sigma², nearly. For a Gaussian the paper has 1/2 before the
    first term; that only changes what s is called, by log(2), and neither where the minimum is nor
    what it weighs the other losses against. For a given loss the best variance is twice the loss, so
    that a noisy output weighs little.

    Args:
        loss: float tensor of any shape.
        log_variance: scalar tensor, s.

    Returns:
        A tensor like `loss`. It may be negative.

    Example:

    >>> round(float(by_uncertainty(0.5, 0.0)), 4)
    0.5

    Reference:
        Kendall, Gal and Cipolla 2018, "Multi-task learning using uncertainty to weigh losses for
        scene geometry and semantics", equations 7 and 10.
    """
    return ops.exp(-log_variance) * loss + log_variance / 2


@keras.saving.register_keras_serializable(package="mmlearn")
class UncertaintyLoss(keras.losses.Loss):
    """A loss weighted by a learned variance, see `by_uncertainty`.

    It is computed per example, so that weights of examples, replicas and parts of a batch count for
    both of its terms alike: an output that most examples lack learns its variance from the others.

    Args:
        loss: a `keras.losses.Loss` or what `keras.losses.get` takes.
        get_log_variance: function without arguments to a scalar tensor. Not saved: who loads the loss
            sets it again.
        **kwargs: of `keras.losses.Loss`.

    Shapes:
        Those of the loss; the loss per example `(batch_size,)`.

    Example:

    >>> loss = UncertaintyLoss("mean_squared_error", lambda: 1.0)
    >>> round(float(loss([[1.0]], [[3.0]])), 4)  # 4 / e + 1 / 2
    1.9715
    """

    def __init__(self, loss, get_log_variance=None, name="uncertainty", **kwargs):
        super().__init__(name=name, **kwargs)
        self.loss = keras.losses.get(loss)
        self.get_log_variance = get_log_variance

    def call(self, y_true, y_pred):
        compute = getattr(self.loss, "call", self.loss)
        return by_uncertainty(compute(y_true, y_pred), self.get_log_variance())

    def get_config(self):
        return {**super().get_config(), "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
