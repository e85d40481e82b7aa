"""Metrics of multi-label classification, over arrays, on top of scikit-learn."""

import numpy as np
from sklearn import metrics

from mmlearn.evaluation.calibration import expected_calibration_error


def multilabel_metrics(labels, probabilities, threshold=0.5):
    """Scores multi-label probabilities.

    With 80 labels of which three are true, accuracy rewards predicting nothing (see `accuracies`): it
    is among these to be seen beside that of the trivial baselines, not to be judged by.

    Args:
        labels: int array `(num_examples, num_classes)`, 0 or 1; or -1, which is unknown and does not
            count.
        probabilities: float array of the same shape, in [0, 1].
        threshold: float, or `(num_classes,)` of each class. A class is predicted when its probability
            is at least this.

    Returns:
        A dict of floats in [0, 1]: `mAP` and `AUC`, macro over the classes where they are defined
        (with a positive; for AUC also with a negative); `macro_F1`, `macro_precision` and
        `macro_recall` over the classes with a positive; `micro_F1`, `micro_precision`,
        `micro_recall` and `micro_AP` of all labels in one; those of `accuracies`; `ECE` and `Brier`
        of all labels in one, see `mmlearn.evaluation.calibration`; and the counts `num_examples`,
        `num_classes` (with a positive) and `num_labels` (true ones per example, a mean). What is
        not predicted at all has the precision 0.

    Raises:
        ValueError: when the shapes differ, a probability is no number, or no class has a positive.

    Example:

    >>> import numpy as np
    >>> labels = np.array([[1, 0], [0, 1], [1, 1]])
    >>> multilabel_metrics(labels, labels * 0.8 + 0.1)["mAP"]
    1.0
    """
    labels, probabilities = check_scores(labels, probabilities)
    average_precisions = per_class_average_precision(labels, probabilities)
    counted = ~np.isnan(average_precisions)
    if not counted.any():
        raise ValueError("No class has a positive label, so nothing can be measured.")
    is_known, is_true = labels >= 0, labels > 0
    predicted = (probabilities >= threshold) & is_known
    aucs = per_class_auc(labels, probabilities)
    aucs = aucs[~np.isnan(aucs)]
    # By hand: of a single column, scikit-learn would also score the negatives.
    hits, num_true, num_predicted = (is_true & predicted).sum(0), is_true.sum(0), predicted.sum(0)
    known_true, known_scores = is_true[is_known], probabilities[is_known]
    return {
        "mAP": float(average_precisions[counted].mean()),
        "macro_F1": float(np.mean(2 * hits[counted] / (num_true + num_predicted)[counted])),
        "micro_F1": float(2 * hits.sum() / (num_true.sum() + num_predicted.sum())),
        "AUC": float(np.mean(aucs)) if len(aucs) else float("nan"),
        **accuracies(labels, probabilities, threshold),
        "macro_precision": float(np.mean(_ratio(hits, num_predicted)[counted])),
        "macro_recall": float(np.mean(hits[counted] / num_true[counted])),
        "micro_precision": float(_ratio(hits.sum(), num_predicted.sum())),
        "micro_recall": float(hits.sum() / num_true.sum()),
        "micro_AP": float(metrics.average_precision_score(known_true, known_scores)),
        "ECE": expected_calibration_error(known_true, known_scores),
        "Brier": float(np.mean((known_scores - known_true) ** 2)),
        "num_examples": len(labels),
        "num_classes": int(counted.sum()),
        "num_labels": float(is_true.sum() / len(labels)),
    }


def check_scores(labels, probabilities):
    """Checks labels and probabilities.

    Args:
        labels: array `(num_examples, num_classes)`.
        probabilities: array of the same shape.

    Returns:
        Both as arrays, the probabilities in float64.

    Raises:
        ValueError: when the shapes differ or a probability is no number.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if labels.shape != probabilities.shape or labels.ndim != 2:
        raise ValueError(
            "`labels` and `probabilities` must have one shape (num_examples, num_classes). "
            f"Received: {labels.shape} and {probabilities.shape}."
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("`probabilities` holds NaN or infinity. Fix: the model has diverged.")
    return labels, probabilities


def accuracies(labels, probabilities, threshold=0.5):
    """All that may be called "accuracy" of several labels, each named for what it is.

    What Keras makes of `metrics=["accuracy"]` is chosen by the shape of the outputs alone: of two or
    more columns `CategoricalAccuracy`, also where they are sigmoids.

    Args:
        labels: int array `(num_examples, num_classes)`, 0 or 1; or -1, which is unknown.
        probabilities: float array of the same shape.
        threshold: float, or `(num_classes,)`.

    Returns:
        A dict of `binary_accuracy`, the share of the known labels that are predicted right;
        `categorical_accuracy`, the share of the examples whose likeliest class is the first of the
        true ones, in the order of the columns; `subset_accuracy`, whose known labels are all
        predicted right; `top_1_accuracy`, whose likeliest class is any true one, and, with more than
        five classes, `top_5_accuracy`, that have a true one among the five likeliest; and
        `Jaccard`, the labels that are both true and predicted over those that are either, the mean
        over the examples, 1 where there is neither.

    Example:

    >>> import numpy as np
    >>> found = accuracies(np.array([[1, 0, 1, 0]]), np.zeros((1, 4)))
    >>> found["binary_accuracy"], found["categorical_accuracy"], found["subset_accuracy"]
    (0.5, 1.0, 0.0)
    """
    is_known, is_true = labels >= 0, labels > 0
    predicted = probabilities >= threshold
    is_right = predicted == is_true
    both, either = (is_true & predicted).sum(1), ((is_true | predicted) & is_known).sum(1)
    ranked = np.argsort(-np.where(is_known, probabilities, -np.inf), axis=1, kind="stable")
    in_order = np.take_along_axis(is_true, ranked, axis=1)
    found = {
        "binary_accuracy": float(is_right[is_known].mean()),
        "categorical_accuracy": float((is_true.argmax(1) == probabilities.argmax(1)).mean()),
        "subset_accuracy": float((is_right | ~is_known).all(1).mean()),
        "top_1_accuracy": float(in_order[:, 0].mean()),
    }
    if labels.shape[1] > 5:
        found["top_5_accuracy"] = float(in_order[:, :5].any(1).mean())
    found["Jaccard"] = float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())
    return found


def per_class_auc(labels, probabilities):
    """Area under the ROC curve of each class, NaN where it has no positive or no negative.

    Args:
        labels: int array `(num_examples, num_classes)`; -1 is unknown and does not count.
        probabilities: float array of the same shape.

    Returns:
        float array `(num_classes,)`.
    """
    found = np.full(labels.shape[1], np.nan)
    for c in np.flatnonzero((labels > 0).any(0) & (labels == 0).any(0)):
        known = labels[:, c] >= 0
        found[c] = metrics.roc_auc_score(labels[known, c] > 0, probabilities[known, c])
    return found


def _ratio(hits, counts):
    return np.where(counts > 0, hits / np.maximum(counts, 1), 0.0)


def per_class_average_precision(labels, probabilities):
    """Average precision of each class, NaN where it has no positive.

    Args:
        labels: int array `(num_examples, num_classes)`; -1 is unknown and does not count.
        probabilities: float array of the same shape.

    Returns:
        float array `(num_classes,)`.
    """
    is_known, is_true = labels >= 0, labels > 0
    return np.array(
        [
            metrics.average_precision_score(
                is_true[is_known[:, c], c], probabilities[is_known[:, c], c]
            )
            if is_true[:, c].any()
            else np.nan
            for c in range(labels.shape[1])
        ]
    )


def trivial_baselines(num_examples, prior, kind="multi_label"):
    """What can be predicted without looking.

    Args:
        num_examples: int.
        prior: float array `(num_columns,)`, the share of each label, or the mean of each target, in the
            training split.
        kind: str, of the head: `"multi_label"`, `"multi_class"` or `"regression"`.

    Returns:
        A dict of arrays `(num_examples, num_columns)`: of labels, `prior` and, before it, `nothing` (all
        probabilities 0) or, where one class is true, `most_frequent` (that class); of numbers,
        `mean`.
    """
    prior = np.tile(np.asarray(prior, np.float32), (num_examples, 1))
    if kind == "regression":
        return {"mean": prior}
    if kind == "multi_class":
        most = np.zeros_like(prior)
        most[:, prior[0].argmax() if num_examples else 0] = 1
        return {"most_frequent": most, "prior": prior}
    return {"nothing": np.zeros_like(prior), "prior": prior}
