"""How good the likeliest answer is, while training."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class AnswerAccuracy(keras.metrics.Mean):
    """The mean target of the likeliest answer, where targets say how many people gave each.

    With targets min(n / 3, 1) of n of ten people it is the accuracy without leaving anyone out, at most
    0.1 above the official one, which `mmlearn.evaluation.vqa` computes from the answers themselves.

    Args:
        **kwargs: of `keras.metrics.Metric`.

    Example:

    >>> metric = AnswerAccuracy()
    >>> metric.update_state([[0.0, 1.0], [0.3, 0.0]], [[0.2, 0.9], [0.6, 0.5]])
    >>> round(float(metric.result()), 4)
    0.65

    Reference:
        Antol et al., "VQA: Visual Question Answering", 2015, section 3.
    """

    def __init__(self, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        best = ops.expand_dims(ops.argmax(y_pred, axis=-1), -1)
        of_best = ops.take_along_axis(ops.cast(y_true, "float32"), best, axis=-1)
        super().update_state(of_best[..., 0], sample_weight=sample_weight)
