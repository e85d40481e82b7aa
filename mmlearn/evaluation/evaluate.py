"""Runs a task over a dataset and scores every prediction it makes, baselines beside it."""

import numpy as np

from mmlearn.evaluation.classification import trivial_baselines
from mmlearn.evaluation.scores import score


def evaluate(task, dataset, prior, oracles=None, baselines=None):
    """Scores a task on a dataset.

    Args:
        task: `MultimodalClassifier`, `MultimodalRegressor` or `MultimodalMultiTask`.
        dataset: dataset of `(x, y, ...)` in a fixed order, raw or of model inputs.
        prior: float array `(num_columns,)`, the share of each label, or the mean of each target, in the
            training split.
        oracles: dict of name to probabilities `(num_examples, num_columns)`, or `None`.
        baselines: likewise, what is to be beaten besides `trivial_baselines`, such as that of
            `keyword_match`.

    Returns:
        `metrics`, a dict of row (`fused`, each modality; `nothing` and `prior`, of one true class
        `most_frequent` and `prior`, of numbers `mean`; the names of `baselines`; `oracle_{name}`)
        to its metrics (see `score`), a modality's own over the examples that have it, if there
        are any; and `predictions`, a dict of `labels`, of each modality's and the fused predictions,
        and of `{modality}_present`, bool `(num_examples,)`. Of several heads, each row and prediction
        has the name of the head before it, `objects_fused`. `describe` says more of the same.

    Raises:
        ValueError: when the number of columns of data and task differ.
    """
    kept = predict(task, dataset)
    scores = {}
    for head, own, rows in predicted_rows(task, kept, prior, oracles, baselines):
        for name, (values, known) in rows.items():
            threshold = head.thresholds if name == "fused" else None
            found = score(head.kind, own[known], values[known], threshold)
            scores[task.own_name(name, head)] = found
    return scores, kept


def predict(task, dataset):
    """Predicts with all heads, in one pass; the second one, which reads the labels, runs no model.

    Args:
        task: as in `evaluate`.
        dataset: likewise.

    Returns:
        The `predictions` of `evaluate`.

    Raises:
        ValueError: when the number of columns of data and task differ.
    """
    dataset = dataset.map(lambda x, y, *_: (task.preprocess_samples(x), y))
    labels, present = [], {modality: [] for modality in task.backbone.modalities}
    for x, y in dataset:
        labels.append(y.numpy())
        for modality in present:
            present[modality].append(x[f"{modality}_present"].numpy() == 1)
    labels = np.concatenate(labels)
    if labels.shape[1] != len(task.label_names):
        raise ValueError(
            f"The data has {labels.shape[1]} columns of labels, but the model knows "
            f"{len(task.label_names)}. "
            "Fix: evaluate on data with the labels that the model was trained on."
        )
    kept = {}
    for modality, values in present.items():
        kept[f"{modality}_present"] = np.concatenate(values)
    outputs = task.predict_outputs(dataset.map(lambda x, y: x), verbose=0)
    for name, columns in task.columns.items():
        head = task.described[name]
        own = labels[:, columns] if head.is_regression else labels[:, columns].astype(int)
        kept[task.own_name("labels", head)] = own
        kept[task.own_name("fused", head)] = outputs[head.name]
        for modality in task.backbone.modalities:
            if f"{modality}_{head.name}" in outputs:
                kept[task.own_name(modality, head)] = outputs[f"{modality}_{head.name}"]
    return kept


def predicted_rows(task, predictions, prior, oracles=None, baselines=None):
    """What there is to compare of each head: its own predictions, the modalities' and the baselines.

    Args:
        task: as in `evaluate`.
        predictions: dict, as `evaluate` returns.
        prior: as in `evaluate`, likewise the others.
        oracles: likewise.
        baselines: likewise.

    Yields:
        The `Head`, its labels `(num_examples, num_columns)`, and a dict of row to its predictions, of the
        same shape, and bool `(num_examples,)`, which of them count. Rows of which none does are
        left out.
    """
    modalities = task.backbone.modalities
    for name, columns in task.columns.items():
        head = task.described[name]
        labels = predictions[task.own_name("labels", head)]
        everything = np.ones(len(labels), bool)
        rows = {"fused": (predictions[task.own_name("fused", head)], everything)}
        for modality in modalities:
            known = predictions[f"{modality}_present"]
            if task.own_name(modality, head) in predictions and known.any():
                rows[modality] = predictions[task.own_name(modality, head)], known
        others = trivial_baselines(len(labels), np.asarray(prior)[columns], head.kind)
        if not head.is_regression:
            others.update({name: each[:, columns] for name, each in (baselines or {}).items()})
        for name, each in (oracles or {}).items():
            others[f"oracle_{name}"] = each[:, columns]
        rows.update({name: (values, everything) for name, values in others.items()})
        yield head, labels, rows
