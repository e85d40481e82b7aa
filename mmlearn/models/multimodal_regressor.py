"""Regression of one or more numbers from any subset of modalities."""

import keras

from mmlearn.models.head import Head
from mmlearn.models.prediction_task import PredictionTask


@keras.saving.register_keras_serializable(package="mmlearn")
class MultimodalRegressor(PredictionTask):
    """Predicts numbers from fused features, with an auxiliary head per modality.

    Outputs: `values (batch_size, num_targets)` from the fused features; with two or more modalities
    `"{modality}_values"` from each encoder's pooled output and `consistency (batch_size,)`, how far
    those are apart. All values are in the targets' own units. The heads predict standardised ones, and
    losses and agreement are computed of these, so that targets of different scale weigh alike.

    Args:
        backbone: `MultimodalBackbone`.
        num_targets: int.
        preprocessor: `MultimodalPreprocessor`, or `None` for model inputs only.
        target_names: list of str, or `None` for `"0"`, `"1"`, ...
        means: list of floats, the mean of each target over the training examples; 0 by default.
        deviations: list of floats, the standard deviations; 1 by default.
        hidden_dim: int. Size of the head's hidden layer, or `None` for none: a linear head.
        dropout: float in [0, 1). Rate in the heads.
        consistency: `"squared_difference"` or `"contrastive"`, see `mmlearn.losses.consistency`.
        learned_weights: bool. Whether it has the variances by which losses can be weighted, which
            `compile(loss_weights="uncertainty")` also adds.
        **kwargs: of `keras.Model`.

    Example:

    >>> import numpy as np
    >>> from mmlearn import MultimodalBackbone, encoders, fusions
    >>> backbone = MultimodalBackbone(
    ...     {m: encoders.Features(length=2, dim=4) for m in ("images", "text")},
    ...     fusions.get("concat"),
    ...     hidden_dim=8,
    ... )
    >>> prices = np.array([[10.0], [30.0]])
    >>> regressor = MultimodalRegressor(
    ...     backbone, 1, means=prices.mean(axis=0), deviations=prices.std(axis=0)
    ... )
    >>> sorted(regressor.output)
    ['consistency', 'images_values', 'text_values', 'values']
    """

    def __init__(
        self,
        backbone,
        num_targets,
        preprocessor=None,
        target_names=None,
        means=None,
        deviations=None,
        hidden_dim=256,
        dropout=0.1,
        consistency="squared_difference",
        learned_weights=False,
        _share=None,
        **kwargs,
    ):
        names = [str(i) for i in range(num_targets)] if target_names is None else target_names
        if len(names) != num_targets:
            raise ValueError(
                "`target_names` must have one name per target. "
                f"Received: {len(names)} names, num_targets={num_targets}."
            )
        head = Head("values", "regression", names, hidden_dim, means, deviations)
        self.num_targets = num_targets
        self.means, self.deviations = list(head.means), list(head.deviations)
        self.hidden_dim = hidden_dim
        super().__init__(
            backbone,
            [head],
            preprocessor,
            dropout,
            consistency,
            learned_weights,
            _share,
            **kwargs,
        )

    @property
    def target_names(self):
        """The names of the targets: list of str."""
        return self.label_names

    def _own_config(self):
        names = ("num_targets", "target_names", "means", "deviations", "hidden_dim")
        return {**{name: getattr(self, name) for name in names}, **super()._own_config()}
