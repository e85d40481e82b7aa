"""The losses of classes, by name and by the activation of the head."""

import keras

from mmlearn.losses.asymmetric import AsymmetricLoss
from mmlearn.losses.known_labels import KnownLabels

LOSSES = {
    "cross_entropy": {
        "sigmoid": keras.losses.BinaryCrossentropy,
        "softmax": keras.losses.CategoricalCrossentropy,
    },
    "focal": {
        "sigmoid": keras.losses.BinaryFocalCrossentropy,
        "softmax": keras.losses.CategoricalFocalCrossentropy,
    },
    "asymmetric": {"sigmoid": AsymmetricLoss},
}


def get(name, activation, label_smoothing=0.0):
    """Makes a loss of probabilities.

    Args:
        name: `"cross_entropy"`, `"focal"` (rare and hard ones count more) or `"asymmetric"`.
        activation: `"sigmoid"` or `"softmax"`, as the head has.
        label_smoothing: float in [0, 1). How far targets are moved from 0 and 1 to the middle.

    Returns:
        A `keras.losses.Loss`.

    Raises:
        ValueError: when the name is unknown or there is no such loss for the activation.

    Example:

    >>> get("focal", "sigmoid").name
    'binary_focal_crossentropy'

    Reference:
        Lin et al. 2017, "Focal loss for dense object detection", equation 5; Szegedy et al. 2016,
        "Rethinking the inception architecture", section 7 (label smoothing).
    """
    if name not in LOSSES:
        raise ValueError(f"Unknown loss {name!r}. Known: {', '.join(LOSSES)}.")
    if activation not in LOSSES[name]:
        raise ValueError(
            f"The loss {name!r} is for examples with several labels, and the head has {activation}. "
            "Fix: 'cross_entropy' or 'focal'."
        )
    return LOSSES[name][activation](label_smoothing=label_smoothing)


def known_only(loss, activation):
    """Makes a loss of classes leave out labels that are not known, which are negative.

    Args:
        loss: a `keras.losses.Loss`, as `get` makes it.
        activation: `"sigmoid"` or `"softmax"`, as the head has. Of a softmax, exactly one class is
            true, so that every label is known.
    """
    return KnownLabels(loss) if activation == "sigmoid" else loss
