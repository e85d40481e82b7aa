"""Logits that Keras remembers."""


def remembered_logits(probabilities):
    """The logits of which a layer made probabilities, if Keras has kept them.

    It does for the tensor that a sigmoid or softmax returns, so that cross-entropy has a gradient
    where the probability is rounded to 0 or 1. Any further op loses them.

    Args:
        probabilities: tensor.

    Returns:
        A tensor of the same shape, or `None`.
    """
    return getattr(probabilities, "_keras_logits", None)
