"""The likeliest class of all that a task predicts, without keeping thousands of probabilities."""

import numpy as np
from keras import ops

from mmlearn.models.compiled import compile_function


def likeliest(task, dataset):
    """Runs a classifier over a dataset, whole and without each of its modalities.

    What an encoder computes is computed once. A modality that is taken away is declared absent, so that
    its learned missing token stands in.

    Args:
        task: `MultimodalClassifier`.
        dataset: dataset of `(x, ...)`, raw or of model inputs.

    Returns:
        A dict of row to the column of the likeliest class, int `(num_examples,)`, and one of row to its
        probability, float. Rows are `model`; with two modalities or more, `{modality}`, what its own head
        says, and `without_{modality}`.
    """
    backbone = task.backbone
    modalities = backbone.modalities

    def predict(x):
        features, masks = backbone.encode(x, training=False)
        alone = task.predict_alone(features, masks, training=False)
        presence = {m: x[f"{m}_present"] for m in modalities}

        def fused(presence):
            outputs = backbone.fuse(features, masks, presence, training=False)
            return task.predict_fused(outputs, alone, training=False)

        rows = {"model": fused(presence), **alone}
        if len(modalities) > 1:
            for modality in modalities:
                absent = ops.zeros_like(presence[modality])
                rows[f"without_{modality}"] = fused({**presence, modality: absent})
        return {
            name: (ops.argmax(values, axis=1), ops.max(values, axis=1))
            for name, values in rows.items()
        }

    run, found = compile_function(predict, task), {}
    for x in dataset.map(lambda x, *_: task.preprocess_samples(x)):
        for name, (columns, values) in run(x).items():
            found.setdefault(name, []).append((np.asarray(columns), np.asarray(values)))
    columns, probabilities = {}, {}
    for name, parts in found.items():
        columns[name], probabilities[name] = map(np.concatenate, zip(*parts, strict=True))
    return columns, probabilities
