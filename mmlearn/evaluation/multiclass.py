"""Metrics of classification where one class is true, over arrays, on top of scikit-learn."""

import numpy as np
from sklearn import metrics

from mmlearn.evaluation.calibration import expected_calibration_error, top_label
from mmlearn.evaluation.classification import (
    check_scores,
    per_class_auc,
    per_class_average_precision,
)


def multiclass_metrics(labels, probabilities):
    """Scores the probabilities of classes of which one is true.

    The likeliest class is what is predicted, the first of equal ones.

    Args:
        labels: int array `(num_examples, num_classes)`, 1 for the true class, else 0. An example without a
            true class does not count.
        probabilities: float array of the same shape.

    Returns:
        A dict of floats in [0, 1]: `top_1_accuracy` and, with more than five classes,
        `top_5_accuracy`; `macro_F1`, `macro_precision` and `macro_recall` (also called balanced
        accuracy), over the classes that occur; `micro_F1`, which is `top_1_accuracy` here; `mAP` and
        `AUC`, each class against the rest, over the classes that occur; `ECE` of the likeliest
        class, and `Brier`, a sum over the classes, see `mmlearn.evaluation.calibration`; and the
        counts `num_examples`, `num_classes` (that occur) and `num_labels` (1).

    Raises:
        ValueError: when the shapes differ, a probability is no number, an example has several true
            classes, or none has any.

    Example:

    >>> labels, probabilities = np.eye(2, dtype=int), np.array([[0.9, 0.1], [0.6, 0.4]])
    >>> multiclass_metrics(labels, probabilities)["top_1_accuracy"]
    0.5
    """
    labels, probabilities = check_scores(labels, probabilities)
    is_true = labels > 0
    if (is_true.sum(1) > 1).any():
        row = int((is_true.sum(1) > 1).argmax())
        raise ValueError(
            f"`labels` must have one true class per example. Received: {int(is_true[row].sum())} in row "
            f"{row}. Fix: a head of the kind multi_label."
        )
    rows = is_true.any(1)
    if not rows.any():
        raise ValueError("No example has a true class, so nothing can be measured.")
    is_true, probabilities = is_true[rows], probabilities[rows]
    truth, predicted = is_true.argmax(1), probabilities.argmax(1)
    counted = np.flatnonzero(is_true.any(0))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, predicted, labels=counted, average="macro", zero_division=0
    )
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    in_order = np.take_along_axis(is_true, ranked, axis=1)
    is_right, confidences = top_label(is_true, probabilities)
    aucs = per_class_auc(is_true.astype(int), probabilities)
    found = {"top_1_accuracy": float(is_right.mean())}
    if labels.shape[1] > 5:
        found["top_5_accuracy"] = float(in_order[:, :5].any(1).mean())
    average_precisions = per_class_average_precision(is_true.astype(int), probabilities)
    return {
        **found,
        "macro_F1": float(f1),
        "micro_F1": float(is_right.mean()),
        "mAP": float(np.nanmean(average_precisions)),
        "AUC": float("nan") if np.isnan(aucs).all() else float(np.nanmean(aucs)),
        "macro_precision": float(precision),
        "macro_recall": float(recall),
        "ECE": expected_calibration_error(is_right, confidences),
        "Brier": float(((probabilities - is_true) ** 2).sum(1).mean()),
        "num_examples": len(is_true),
        "num_classes": len(counted),
        "num_labels": 1.0,
    }
