"""How much a prediction needs each unit of a network."""

import numpy as np
import tensorflow as tf

CRITERIA = {
    "taylor": "how much the loss would change without a unit, to first order",
    "l1": "how large the weights are that make a unit",
}


def magnitudes(groups):
    """The mean absolute value of the weights that make each unit: needs no data.

    Args:
        groups: list of `UnitGroup`.

    Returns:
        A list of float arrays `(size,)`, a group each.

    Reference:
        Li et al. 2017, "Pruning filters for efficient convnets", section 3.1.
    """
    found = []
    for group in groups:
        made = [
            _by_unit(each, np.abs(np.asarray(each.variable)), group.size)
            for each in group.slices
            if not each.reads and len(each.variable.shape) > 1  # kernels, not biases and norms
        ]
        found.append(np.concatenate(made, axis=1).mean(axis=1))
    return found


def taylor_importances(task, groups, batches):
    """How much the loss would change if what each unit gives were 0, estimated from its gradient.

    Of the weights w that read a unit, with gradients g of the loss of a batch, the sum of g w is to first
    order what the loss loses with the unit. The importance is the mean of its square over the
    batches. TensorFlow only.

    Args:
        task: a compiled task, whose loss counts. It computes as in inference.
        groups: list of `UnitGroup` of it.
        batches: iterable of `(x, y, sample_weight)` of model inputs, labels and weights.

    Returns:
        A list of float arrays `(size,)`, a group each.

    Reference:
        Molchanov et al. 2019, "Importance estimation for neural network pruning", equation 8, for the
        weights that read a unit; of heads Michel et al. 2019, "Are sixteen heads really better than
        one?", equation 2.
    """
    slices = [each for group in groups for each in group.slices if each.reads]
    variables = [each.variable.value for each in slices]

    @tf.function(autograph=False, reduce_retracing=True)
    def differentiate(x, y, sample_weight):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = task.compute_loss(x, y, task(x, training=False), sample_weight, training=False)
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return [g * v for g, v in zip(gradients, variables, strict=True)]

    sums, count = [np.zeros(group.size) for group in groups], 0
    for batch in batches:
        products = iter(differentiate(*task.preprocess_samples(*batch)))
        for total, group in zip(sums, groups, strict=True):
            changes = [
                _by_unit(each, np.asarray(next(products), np.float64), group.size).sum(axis=1)
                for each in group.slices
                if each.reads
            ]
            total += np.sum(changes, axis=0) ** 2
        count += 1
    return [total / count for total in sums]


def _by_unit(part, values, size):
    """The values of a slice by unit: `(size, values per unit)`."""
    return np.moveaxis(values, part.axis, 0).reshape(size, -1)
