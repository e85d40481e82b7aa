"""A cascade: one modality alone answers first, and the full model only where that is not sure."""

import numpy as np

from mmlearn.evaluation.cascade import confidence
from mmlearn.models.compiled import compile_function


class Cascade:
    """Answers with the head of one modality, and of rows in which that is not sure, with everything.

    What the first encoder has computed is used again, so that a row that is not answered early costs what
    it always does, and one small head. Rows without that modality go to the full model.

    Args:
        task: a classifier (`PredictionTask`) of two or more modalities.
        first: str. The modality that answers first.
        threshold: float. Least confidence of an early answer, see `mmlearn.evaluation.cascade`.

    Raises:
        ValueError: when the task has no head of that modality alone, or predicts numbers.

    Reference:
        Viola and Jones 2001, "Rapid object detection using a boosted cascade of simple features";
        Teerapittayanon et al. 2016, "BranchyNet" (early exits by confidence).

    Example:

    >>> from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
    >>> parts = {m: encoders.Features(length=4, dim=8, name=f"{m}_encoder") for m in ("audio", "text")}
    >>> task = MultimodalClassifier(MultimodalBackbone(parts, fusions.get("concat"), 16), 2)
    >>> inputs = {name: np.ones((3, *x.shape[1:]), x.dtype) for name, x in task.input.items()}
    >>> predictions, is_early = Cascade(task, "text", threshold=0.0).predict(inputs)
    >>> predictions.shape, is_early.tolist()
    ((3, 2), [True, True, True])
    """

    def __init__(self, task, first, threshold):
        self.task, self.first, self.threshold = task, first, threshold
        head, backbone = task.described[task.main_output], task.backbone
        if f"{first}_{head.name}" not in task.heads:
            raise ValueError(
                f"The model has no head of {first!r} alone. Fix: a model of several modalities, one of "
                f"{', '.join(backbone.modalities)}."
            )
        self.kind = head.kind
        self._own = [*backbone.encoders[first].model_inputs(first)]

        def begin(inputs):
            features, masks = backbone.encode(inputs, training=False)
            alone = task.predict_alone(features, masks, head.name, training=False)
            return alone[first], features, masks

        def finish(inputs, features, masks):
            others, other_masks = backbone.encode(inputs, training=False)
            features, masks = {**features, **others}, {**masks, **other_masks}
            alone = task.predict_alone(features, masks, head.name, training=False)
            presence = {m: inputs[f"{m}_present"] for m in backbone.modalities}
            outputs = backbone.fuse(features, masks, presence, training=False)
            return task.predict_fused(outputs, alone, head.name, training=False)

        self._begin, self._finish = (compile_function(f, task) for f in (begin, finish))

    def answer_first(self, inputs):
        """The first answers alone, for every row: float array `(batch_size, num_classes)`."""
        return np.array(self._run_first(inputs)[0])

    def _run_first(self, inputs):
        return self._begin({name: inputs[name] for name in self._own})

    def predict(self, inputs):
        """Answers a batch.

        Args:
            inputs: dict of arrays, the model inputs of all modalities.

        Returns:
            float array `(batch_size, num_classes)`, and which rows were answered early: bool array
            `(batch_size,)`.
        """
        first, features, masks = self._run_first(inputs)
        answers = np.array(first)
        present = np.asarray(inputs[f"{self.first}_present"]) == 1
        is_early = present & (confidence(self.kind, answers) >= self.threshold)
        rest = np.flatnonzero(~is_early)
        if len(rest):

            def take(values):
                # As it is, where nothing is left out.
                return values if len(rest) == len(is_early) else np.asarray(values)[rest]

            others = {n: take(v) for n, v in inputs.items() if n not in self._own}
            features, masks = ({self.first: take(v[self.first])} for v in (features, masks))
            answers[rest] = np.asarray(self._finish(others, features, masks))
        return answers, is_early
