"""The learned variances by which the losses of a task are weighted."""

import keras
from keras import ops


class LossWeights(keras.layers.Layer):
    """Holds s = log(sigma²) of each output, 0 at first, and reports the weight exp(-s) of each.

    In the metrics, `"{output}_weight"` is the mean over an epoch; 1 for an output whose s is not in
    use. An optimizer that moves every weight by about its rate moves these as slowly: give the part
    `loss_weights` a higher one (`TrainingPhase.part_rates`) where training is short.

    Args:
        names: list of str, the outputs.

    Attributes:
        learned: tuple of str, the outputs whose s is in use.

    Reference:
        See `mmlearn.losses.uncertainty`.
    """

    def __init__(self, names):
        super().__init__(dtype="float32", name="loss_weights")
        self.names = tuple(names)
        self.learned = ()
        self.log_variances = self.add_weight(
            shape=(len(self.names),), initializer="zeros", name="log_variances"
        )
        self.trackers = [keras.metrics.Mean(name=f"{name}_weight") for name in self.names]
        self.built = True

    def reader(self, name):
        """Returns a function without arguments to the s of an output."""
        place = self.names.index(name)
        return lambda: ops.convert_to_tensor(self.log_variances)[place]

    def take(self, other):
        """Takes the s of the outputs that another layer of this kind has too."""
        known = dict(zip(other.names, other.get_weights()[0], strict=True))
        self.log_variances.assign([known.get(name, 0.0) for name in self.names])

    def note(self):
        """Adds the weights, as they are, to the metrics."""
        weights = ops.exp(-ops.convert_to_tensor(self.log_variances))
        for place, (name, tracker) in enumerate(zip(self.names, self.trackers, strict=True)):
            tracker.update_state(weights[place] if name in self.learned else 1.0)
