"""The losses of numbers, by name, in units in which all targets count alike."""

import keras
from keras import ops

LOSSES = {
    "mean_squared_error": keras.losses.MeanSquaredError,
    "mean_absolute_error": keras.losses.MeanAbsoluteError,
    "huber": keras.losses.Huber,
}


@keras.saving.register_keras_serializable(package="mmlearn")
class StandardizedLoss(keras.losses.Loss):
    """A loss of numbers, each divided by the standard deviation of its target.

    A price in cents weighs then no more than the same in euros, nor than a rating beside it.

    Args:
        loss: a `keras.losses.Loss` of differences that is a mean over the targets.
        scales: list of positive floats, one per target.
        **kwargs: of `keras.losses.Loss`.

    Shapes:
        Targets and predictions `(batch_size, num_targets)`, in their own units; the loss per example
        `(batch_size,)`.

    Example:

    >>> loss = StandardizedLoss(keras.losses.MeanSquaredError(), scales=[100.0, 1.0])
    >>> float(loss([[300.0, 2.0]], [[100.0, 4.0]]))
    4.0
    """

    def __init__(self, loss, scales, name="standardized", **kwargs):
        super().__init__(name=name, **kwargs)
        scales = [float(scale) for scale in scales]
        if not all(0 < scale < float("inf") for scale in scales):
            raise ValueError(f"`scales` must be positive numbers. Received: scales={scales}.")
        self.loss = loss
        self.scales = scales

    def call(self, y_true, y_pred):
        y_pred = ops.convert_to_tensor(y_pred)
        # The difference first: far from 0, quotients would lose digits of it.
        error = ops.cast(y_true, y_pred.dtype) - y_pred
        error = error / ops.convert_to_tensor(self.scales, y_pred.dtype)
        return self.loss.call(error, ops.zeros_like(error))

    def get_config(self):
        return {
            **super().get_config(),
            "loss": keras.saving.serialize_keras_object(self.loss),
            "scales": self.scales,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


def get(name, scales):
    """Makes a loss of numbers.

    Args:
        name: `"mean_squared_error"`, `"mean_absolute_error"` (outliers count less) or `"huber"` (the
            square of errors below one standard deviation, and the distance above).
        scales: list of floats, the standard deviation of each target.

    Returns:
        A `keras.losses.Loss`.

    Raises:
        ValueError: when the name is unknown.

    Example:

    >>> get("huber", scales=[2.0]).loss.name
    'huber_loss'

    Reference:
        Huber 1964, "Robust estimation of a location parameter", section 4.
    """
    if name not in LOSSES:
        raise ValueError(f"Unknown loss of numbers {name!r}. Known: {', '.join(LOSSES)}.")
    return StandardizedLoss(LOSSES[name](), scales)
