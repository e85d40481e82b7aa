"""Mean average precision over labels, while training."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mmlearn")
class MeanAveragePrecision(keras.metrics.Metric):
    """Macro mean average precision of multi-label probabilities, over labels with a positive.

    Scores are counted in bins, so memory does not grow with the data and replicas can be summed.
    Scores in one bin count as tied; with the default 2,000 bins over the logit of the score, the
    value differs from scikit-learn's exact one by less than 0.002 for scores that use the range from
    0 to 1, and by more where all are alike. Final figures come from `mmlearn.evaluation`, which is
    exact. A negative label is unknown, and does not count.

    Args:
        num_classes: int.
        num_bins: int. Bins per class.
        **kwargs: of `keras.metrics.Metric`.

    Reference:
        Everingham et al., "The PASCAL Visual Object Classes Challenge", 2010, section 4.2, as the
        sum over thresholds of (recall step) x precision.
    """

    _LOGIT_RANGE = 16.0  # probabilities beyond 1 - 1e-7 are not told apart in float32

    def __init__(self, num_classes, num_bins=2000, name="mean_average_precision", **kwargs):
        super().__init__(name=name, **kwargs)
        self.num_classes, self.num_bins = num_classes, num_bins
        shape = (num_classes * num_bins,)
        self.positives = self.add_weight(shape=shape, initializer="zeros", name="positives")
        self.totals = self.add_weight(shape=shape, initializer="zeros", name="totals")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.clip(ops.cast(y_pred, "float32"), 1e-7, 1 - 1e-7)
        y_true = ops.cast(y_true, "float32")
        weights = ops.cast(ops.logical_not(y_true < 0), "float32")
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        position = ops.log(y_pred / (1 - y_pred)) / (2 * self._LOGIT_RANGE) + 0.5
        bins = ops.cast(ops.clip(position, 0.0, 1.0) * (self.num_bins - 1), "int32")
        # One flat histogram: class * num_bins + bin.
        cells = ops.reshape(bins + ops.arange(self.num_classes) * self.num_bins, (-1,))
        self.totals.assign_add(self._histogram(cells, weights))
        self.positives.assign_add(self._histogram(cells, weights * y_true))

    def _histogram(self, cells, weights):
        size = self.num_classes * self.num_bins
        return ops.segment_sum(ops.reshape(weights, (-1,)), cells, num_segments=size)

    def result(self):
        shape = (self.num_classes, self.num_bins)
        positives = ops.flip(ops.reshape(self.positives, shape), axis=1)  # best scores first
        found = ops.cumsum(positives, axis=1)
        returned = ops.cumsum(ops.flip(ops.reshape(self.totals, shape), axis=1), axis=1)
        precision = found / ops.maximum(returned, 1e-12)
        all_positives = found[:, -1]
        average = ops.sum(precision * positives, axis=1) / ops.maximum(all_positives, 1e-12)
        counted = ops.cast(all_positives > 0, "float32")
        return ops.sum(average * counted) / ops.maximum(ops.sum(counted), 1.0)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "num_bins": self.num_bins,
        }
