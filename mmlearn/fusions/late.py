"""Late fusion: each modality predicts for itself, and the predictions are averaged."""

import keras

from mmlearn.fusions.fusion import pool, what_is_averaged
from mmlearn.fusions.weighted_fusion import WeightedFusion, check_weights, weighted_sum


@keras.saving.register_keras_serializable(package="mmlearn")
class LateFusion(WeightedFusion):
    """Weighs what the modalities predict each for itself.

    The weights are softmax(MLP([V; T])) of the pooled modalities, or fixed. The task averages the
    auxiliary heads' predictions with them, and has no other head; a modality that is absent has weight
    0, and the others' weights then sum to 1. The fused features are the average of the pooled modalities by
    the weights as they were, for what needs a vector. With one modality there is nothing to average:
    the task classifies the fused features.

    Args:
        average: `"probabilities"` or `"logits"`, see `mmlearn.fusions.fusion.average_predictions`.
        modality_weights: dict of modality to positive number, for weights that are the same for every
            example, as far as they have the modalities; or `None` for those above. Where examples are
            few, what a modality predicts for those that it was trained on says little of how far to
            trust it: better weights are those that are best in cross-validation. Equal ones of logits
            are the product rule.
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Returns:
        A dict of `modality_weights (batch_size, num_modalities)` and `fused_features (batch_size,
        hidden_dim)`.

    Example:

    >>> import numpy as np
    >>> features = {"images": np.ones((2, 9, 8)), "text": np.ones((2, 5, 8))}
    >>> masks = {"images": np.ones((2, 9), bool), "text": np.ones((2, 5), bool)}
    >>> tuple(LateFusion()(features, masks)["modality_weights"].shape)
    (2, 2)

    Reference:
        Jacobs et al., "Adaptive mixtures of local experts", 1991, section 1 (a gating network that
        weighs predictions); Kittler et al., "On combining classifiers", 1998, section 2 (the product
        rule and the sum rule).
    """

    combines = "predictions"

    def __init__(self, average="probabilities", modality_weights=None, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.average, self.modality_weights = average, check_weights(modality_weights)
        what_is_averaged(self)

    def build(self, features_shape, masks_shape=None):
        self.build_weights(features_shape)

    def call(self, features, masks, training=None):
        pooled = pool(features, masks)
        weights = self.weigh(pooled)
        return {"fused_features": weighted_sum(pooled, weights), "modality_weights": weights}

    def get_config(self):
        own = {"average": self.average, "modality_weights": self.modality_weights}
        return {**super().get_config(), **own}
