"""Weights of the modalities, adaptive or fixed, for the fusions that have them."""

import numbers

from keras import layers, ops


class WeightedFusion(layers.Layer):
    """Weighs the pooled modalities: alpha = softmax(MLP([V; T])). Base class.

    With one modality there is nothing to weigh, no layer is made, and the weight is 1.

    Attributes:
        modality_weights: dict of modality to float, for weights that are the same for every example, or
            `None`, for those above.
    """

    modality_weights = None

    def build_weights(self, features_shape):
        """Makes the hidden layer and the logits, or takes the weights that are fixed."""
        modalities = list(features_shape)
        hidden_dim, num_modalities = features_shape[modalities[0]][-1], len(modalities)
        self.fixed = None
        if num_modalities == 1:
            return
        if self.modality_weights is not None:
            self.fixed = tuple(shares_of(self.modality_weights, modalities))
            return
        self.weight_hidden = layers.Dense(
            hidden_dim, activation="relu", dtype=self.dtype_policy, name="weight_hidden"
        )
        self.weight_hidden.build((None, hidden_dim * num_modalities))
        self.weight_logits = layers.Dense(
            num_modalities, dtype=self.dtype_policy, name="weight_logits"
        )
        self.weight_logits.build((None, hidden_dim))

    def weigh(self, pooled):
        """Returns the weights `(batch_size, num_modalities)` of a list of pooled modalities."""
        ones = ops.ones_like(pooled[0][:, :1])
        if len(pooled) == 1:
            return ones
        if self.fixed is not None:
            return ones * ops.convert_to_tensor([self.fixed], ones.dtype)
        hidden = self.weight_hidden(ops.concatenate(pooled, axis=-1))
        return ops.softmax(self.weight_logits(hidden), axis=-1)


def check_weights(weights):
    """Returns the fixed weights of modalities as a dict of floats, or `None` where there are none.

    Args:
        weights: dict of modality to positive number, or `None`.

    Raises:
        ValueError: when they are something else.
    """
    if weights is None:
        return None
    if isinstance(weights, dict) and all(map(_is_weight, weights.values())):
        return {modality: float(weight) for modality, weight in weights.items()}
    raise ValueError(
        "`modality_weights` must be a dict of modality to a number above 0. "
        f"Received: modality_weights={weights!r}. "
        'Fix: such as {"images": 1, "text": 1.5}, or leave it out for weights that are learned.'
    )


def _is_weight(value):
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and 0 < value < float("inf")


def shares_of(weights, modalities):
    """What each modality has of the sum of their weights.

    Args:
        weights: dict of modality to float. Those of other modalities do not count.
        modalities: list of str.

    Returns:
        A list of floats that sum to 1.

    Raises:
        ValueError: when a modality has no weight.

    Example:

    >>> shares_of({"images": 1.0, "text": 3.0}, ["images", "text"])
    [0.25, 0.75]
    """
    missing = [modality for modality in modalities if modality not in weights]
    if missing:
        raise ValueError(
            f"`modality_weights` must have a weight of every modality, and has none of {missing[0]!r}. "
            f"Received: modality_weights={dict(weights)}. Fix: add it."
        )
    total = sum(weights[modality] for modality in modalities)
    return [weights[modality] / total for modality in modalities]


def weighted_sum(pooled, weights):
    """The sum of pooled modalities `(batch_size, dim)` times their weights."""
    return ops.sum(ops.stack(pooled, axis=1) * weights[..., None], axis=1)
