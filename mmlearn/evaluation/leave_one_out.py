"""What a fused prediction is worth when a modality is taken away."""

import numpy as np
from keras import ops

from mmlearn.evaluation.scores import score
from mmlearn.models.compiled import compile_function


def leave_one_out(task, dataset):
    """Scores the fused predictions of a task without each of its modalities in turn.

    The modality is declared absent, so that its learned missing token stands in, for all examples that
    have another one; the others do not count. What an encoder computes is computed once.

    Args:
        task: `MultimodalClassifier`, `MultimodalRegressor` or `MultimodalMultiTask`.
        dataset: dataset of `(x, y, ...)`, raw or of model inputs.

    Returns:
        A dict of `"without_{modality}"` to metrics, see `score`, and one of the same names to the
        predictions `(num_examples, num_columns)` and which examples count, bool `(num_examples,)`. Of
        several heads, with the name of the head before it; empty for a model of one modality.

    Reference:
        Covert et al., "Explaining by removing", 2021, section 4.
    """
    backbone = task.backbone
    modalities = backbone.modalities
    if len(modalities) < 2:
        return {}, {}

    def predict(x):
        features, masks = backbone.encode(x, training=False)
        alone = {n: task.predict_alone(features, masks, n, training=False) for n in task.described}
        presence = {m: x[f"{m}_present"] for m in modalities}
        found = {name: [] for name in task.described}
        for modality in modalities:
            without = {**presence, modality: ops.zeros_like(presence[modality])}
            fused = backbone.fuse(features, masks, without, training=False)
            for name, predictions in found.items():
                own = task.predict_fused(fused, alone[name], name, training=False)
                predictions.append(own)
        has_other = [
            ops.any(ops.stack([presence[m] == 1 for m in modalities if m != modality]), axis=0)
            for modality in modalities
        ]
        found = {name: ops.stack(predictions) for name, predictions in found.items()}
        return ops.stack(has_other), found

    run = compile_function(predict, task)
    labels, counted, found = [], [], {name: [] for name in task.described}
    for x, y in dataset.map(lambda x, y, *_: (task.preprocess_samples(x), y)):
        labels.append(np.asarray(y))
        has_other, predicted = run(x)
        counted.append(np.asarray(has_other))
        for name, predictions in predicted.items():
            found[name].append(np.asarray(predictions))
    labels, counted = np.concatenate(labels), np.concatenate(counted, axis=1)
    scores, without = {}, {}
    for name, columns in task.columns.items():
        head, own = task.described[name], labels[:, columns]
        predictions = np.concatenate(found[name], axis=1)
        for modality, rows, values in zip(modalities, counted, predictions, strict=True):
            if rows.any():
                row = task.own_name(f"without_{modality}", head)
                scores[row] = score(head.kind, own[rows], values[rows], head.thresholds)
                without[row] = values, rows
    return scores, without
