"""R² that keeps its digits where targets are far from 0."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class StandardizedR2Score(keras.metrics.R2Score):
    """The share of the targets' variance that is explained, a mean over the targets.

    Keras sums squares in float32: of targets of 1,000 plus or minus 1, the difference of two sums of a
    million each has no right digit. R² is the same in any unit, so it is taken of standardised numbers.

    Args:
        means: list of floats, the mean of each target in training.
        deviations: list of floats, the standard deviations.
        **kwargs: of `keras.metrics.R2Score`.

    Example:

    >>> score = StandardizedR2Score(means=[1000.0], deviations=[1.0])
    >>> score.update_state([[999.0], [1000.0], [1001.0]], [[999.5], [1000.0], [1000.5]])
    >>> float(score.result())
    0.75
    """

    def __init__(self, means, deviations, name="r2", **kwargs):
        super().__init__(name=name, **kwargs)
        self.means, self.deviations = tuple(map(float, means)), tuple(map(float, deviations))

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = self._standardize(y_true), self._standardize(y_pred)
        super().update_state(y_true, y_pred, sample_weight=sample_weight)

    def _standardize(self, y):
        y = ops.cast(y, "float32")
        return (y - ops.convert_to_tensor(self.means, "float32")) / ops.convert_to_tensor(
            self.deviations, "float32"
        )

    def get_config(self):
        config = {"means": list(self.means), "deviations": list(self.deviations)}
        return {**super().get_config(), **config}
