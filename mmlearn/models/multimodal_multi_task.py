"""Several predictions at once from the same fused features."""

import dataclasses

import keras

from mmlearn.models.head import Head
from mmlearn.models.prediction_task import PredictionTask

_TAKEN = ("dropout", "loss_weights", "main", "auxiliary", "grounding")


@keras.saving.register_keras_serializable(package="mmlearn")
class MultimodalMultiTask(PredictionTask):
    """Several heads on one backbone, such as objects (any number), scene (one) and price (a number).

    Outputs, for each head: `name (batch_size, num_columns)` from the fused features; with two or
    more modalities `"{modality}_{name}"` from each encoder's pooled output and `"{name}_consistency
    (batch_size,)"`, how far those are apart (with `consistency="contrastive"` one `consistency`, of
    the features). The labels are one matrix, the columns of the first head, then those of the next;
    `predict` returns a dict of head name to array.

    Args:
        backbone: `MultimodalBackbone`.
        heads: list of `Head`, or of dicts of the same.
        preprocessor: `MultimodalPreprocessor`, or `None` for model inputs only.
        dropout: float in [0, 1). Rate in the heads.
        consistency: `"squared_difference"` or `"contrastive"`, and where no head predicts numbers also
            `"kl"` or `"cosine"`; see `mmlearn.losses.consistency`.
        learned_weights: bool. Whether it has the variances by which losses can be weighted, which
            `compile(loss_weights="uncertainty")` also adds.
        **kwargs: of `keras.Model`.

    Example:

    >>> import numpy as np
    >>> from mmlearn import Head, MultimodalBackbone, encoders, fusions
    >>> backbone = MultimodalBackbone(
    ...     {m: encoders.Features(length=2, dim=4) for m in ("images", "text")},
    ...     fusions.get("concat"),
    ...     hidden_dim=8,
    ... )
    >>> task = MultimodalMultiTask(
    ...     backbone,
    ...     [
    ...         Head("objects", "multi_label", ("dog", "cat", "sofa")),
    ...         Head("scene", "multi_class", ("indoor", "outdoor")),
    ...         Head("price", "regression", ("euros",), means=(20.0,), deviations=(10.0,)),
    ...     ],
    ... )
    >>> [name for name in task.output if "price" in name]
    ['price', 'images_price', 'text_price', 'price_consistency']
    >>> x = {
    ...     name: np.ones((2, *value.shape[1:]), value.dtype) for name, value in task.input.items()
    ... }
    >>> {name: values.shape for name, values in task.predict(x, verbose=0).items()}
    {'objects': (2, 3), 'scene': (2, 2), 'price': (2, 1)}

    Reference:
        Caruana 1997, "Multitask learning", section 2 (outputs that share a representation).
    """

    def __init__(
        self,
        backbone,
        heads,
        preprocessor=None,
        dropout=0.1,
        consistency="squared_difference",
        learned_weights=False,
        _share=None,
        **kwargs,
    ):
        heads = [Head(**head) if isinstance(head, dict) else head for head in heads]
        _check(heads, backbone.modalities)
        super().__init__(
            backbone,
            heads,
            preprocessor,
            dropout,
            consistency,
            learned_weights,
            _share,
            **kwargs,
        )

    def own_name(self, what, head):
        return f"{head.name}_{what}"  # of a single head as well: a list of heads may grow

    def predict(self, x, batch_size=None, **kwargs):
        """Returns the predictions from fused features, see `MultimodalTask.predict`.

        Args:
            x: as there.
            batch_size: as there.
            **kwargs: as there.

        Returns:
            dict of head name to numpy array `(num_examples, num_columns)`.
        """
        outputs = self.predict_outputs(x, batch_size, **kwargs)
        return {name: outputs[name] for name in self.described}

    def _own_config(self):
        return {**self._config_of(self.described.values()), **super()._own_config()}

    def _config_of(self, heads):
        configs = [dataclasses.asdict(head) for head in heads]
        for config in configs:
            for name in ("temperatures", "thresholds"):
                if config[name] is None:  # so that configs without are as they always were
                    del config[name]
        return {"heads": configs}


def _check(heads, modalities):
    names = [head.name for head in heads]
    outputs = [
        output
        for name in names
        for output in (
            *(name, f"{name}_consistency"),
            *(f"{name}_{layer}" for layer in ("hidden", "units", "share")),
            *(f"{modality}_{name}" for modality in modalities),
        )
    ]
    is_taken = set(outputs) & set(_TAKEN) or any(name.endswith("consistency") for name in names)
    if not names or len(set(outputs)) < len(outputs) or is_taken:
        raise ValueError(
            "`heads` must be one or more with different names, that are those of no other output. "
            f"Received: {', '.join(map(repr, names)) or 'none'}. Fix: other names; "
            f"{', '.join(_TAKEN)} and what ends in consistency are taken."
        )
