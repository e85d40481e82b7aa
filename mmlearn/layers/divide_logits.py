"""Temperatures on probabilities."""

from keras import ops

SMALLEST = 1e-7  # distance from 0 and 1, beyond which float32 knows no logit


def divide_logits(probabilities, temperatures, activation="sigmoid"):
    """Divides the logits behind probabilities by temperatures, whatever they were computed from.

    Args:
        probabilities: float tensor `(batch_size, num_classes)`.
        temperatures: floats `(num_classes,)`. Above 1, probabilities move away from certainty.
        activation: `"sigmoid"`, of independent probabilities, or `"softmax"`, which sum to 1.

    Returns:
        float tensor of the same shape.

    Reference:
        Guo et al. 2017, "On calibration of modern neural networks", section 4.2.

    Example:

    >>> import numpy as np
    >>> np.asarray(divide_logits(np.array([[0.8]], "float32"), [2.0])).round(4).tolist()
    [[0.666700005531311]]
    """
    temperatures = ops.convert_to_tensor(temperatures, probabilities.dtype)
    values = ops.clip(probabilities, SMALLEST, 1 - SMALLEST)
    if activation == "softmax":
        return ops.softmax(ops.log(values) / temperatures, axis=-1)
    return ops.sigmoid((ops.log(values) - ops.log1p(-values)) / temperatures)
