"""Asymmetric loss for many labels of which few are true."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class AsymmetricLoss(keras.losses.Loss):
    """Binary cross-entropy that forgives what is easily seen to be absent.

    `L = -y (1 - p)^g+ log(p) - (1 - y) p_m^g- log(1 - p_m)` with `p_m = max(p - margin, 0)`, the
    mean over the classes.

    Args:
        positive_focus: float, g+. How much less a true label counts the surer the model is of it.
        negative_focus: float, g-. Likewise for a label that is not there.
        margin: float in [0, 1). Absent labels with a smaller probability than this cost nothing.
        label_smoothing: float in [0, 1). How far targets are moved towards 0.5.
        **kwargs: of `keras.losses.Loss`.

    Shapes:
        Targets and probabilities `(batch_size, num_classes)`; the loss per example `(batch_size,)`.

    Example:

    >>> loss = AsymmetricLoss(positive_focus=0, negative_focus=0, margin=0)
    >>> round(float(loss([[1.0, 0.0]], [[0.5, 0.5]])), 4)
    0.6931

    Reference:
        Ridnik et al. 2021, "Asymmetric loss for multi-label classification", equations 4 to 7.
    """

    def __init__(
        self,
        positive_focus=0.0,
        negative_focus=4.0,
        margin=0.05,
        label_smoothing=0.0,
        name="asymmetric",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if not 0 <= margin < 1:
            raise ValueError(f"`margin` must be in [0, 1). Received: margin={margin}.")
        if min(positive_focus, negative_focus) < 0:
            raise ValueError(
                "`positive_focus` and `negative_focus` must not be negative. "
                f"Received: {positive_focus}, {negative_focus}."
            )
        self.positive_focus = positive_focus
        self.negative_focus = negative_focus
        self.margin = margin
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        p = ops.convert_to_tensor(y_pred)
        y = ops.cast(y_true, p.dtype)
        y = y * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        epsilon = keras.config.epsilon()
        shifted = ops.maximum(p - self.margin, 0)
        # At 0, logarithms and powers below 1 have no gradient: both stay away from it.
        absent, present = ops.maximum(1 - p, epsilon), ops.maximum(shifted, epsilon)
        positive = ops.power(absent, self.positive_focus) * ops.log(ops.maximum(p, epsilon))
        negative = ops.power(present, self.negative_focus)
        negative = negative * ops.log(ops.maximum(1 - shifted, epsilon))
        return -ops.mean(y * positive + (1 - y) * negative, axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "positive_focus": self.positive_focus,
            "negative_focus": self.negative_focus,
            "margin": self.margin,
            "label_smoothing": self.label_smoothing,
        }
