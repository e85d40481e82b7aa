"""Runs a task over a dataset and scores every prediction it makes, baselines beside it."""

import numpy as np

from mmlearn.evaluation.classification import multilabel_metrics, trivial_baselines


def evaluate(task, dataset, prior, oracles=None):
    """Scores a classifier on a dataset.

    Args:
        task: `MultimodalClassifier`.
        dataset: dataset of `(x, y, ...)` in a fixed order, raw or of model inputs.
        prior: float array `(num_classes,)`, the share of each label in the training split.
        oracles: dict of name to probabilities `(num_examples, num_classes)`, or `None`.

    Returns:
        `metrics`, a dict of row (`fused`, each modality, `nothing`, `prior`, `oracle_{name}`) to
        its metrics (see `multilabel_metrics`), a modality's own over the examples that have it; and
        `predictions`, a dict of `labels`, of each modality's and the fused probabilities, and of
        `{modality}_present`, bool `(num_examples,)`.

    Raises:
        ValueError: when the number of classes of data and task differ.
    """
    dataset = dataset.map(lambda x, y, *_: (task.preprocess_samples(x), y))
    labels, present = [], {modality: [] for modality in task.backbone.modalities}
    for x, y in dataset:
        labels.append(y.numpy())
        for modality in present:
            present[modality].append(x[f"{modality}_present"].numpy() == 1)
    labels = np.concatenate(labels).astype(int)
    if labels.shape[1] != task.num_classes:
        raise ValueError(
            f"The data has {labels.shape[1]} classes, but the model knows {task.num_classes}. "
            "Fix: evaluate on data with the labels that the model was trained on."
        )
    present = {modality: np.concatenate(values) for modality, values in present.items()}
    outputs = task.predict_outputs(dataset.map(lambda x, y: x), verbose=0)
    predictions = {"fused": outputs[task.main_output]}
    for modality in task.backbone.modalities:
        if f"{modality}_{task.main_output}" in outputs:
            predictions[modality] = outputs[f"{modality}_{task.main_output}"]
    rows = {**predictions, **trivial_baselines(len(labels), prior)}
    rows.update({f"oracle_{name}": values for name, values in (oracles or {}).items()})
    scores = {}
    for name, values in rows.items():
        known = present.get(name, slice(None))
        scores[name] = multilabel_metrics(labels[known], values[known])
    present = {f"{modality}_present": values for modality, values in present.items()}
    return scores, {"labels": labels, **predictions, **present}
