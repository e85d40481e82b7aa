"""Metrics of multi-label classification, over arrays, on top of scikit-learn."""

import numpy as np
from sklearn import metrics


def multilabel_metrics(labels, probabilities, threshold=0.5):
    """Scores multi-label probabilities.

    With 80 labels of which three are true, "accuracy" rewards predicting nothing (0.95 on COCO),
    so it is not among these.

    Args:
        labels: int array `(num_examples, num_classes)`, 0 or 1; or -1, which is unknown and does not
            count.
        probabilities: float array of the same shape, in [0, 1].
        threshold: float. A class is predicted when its probability is at least this.

    Returns:
        A dict of floats in [0, 1]: `mAP` and `AUC`, macro over the classes where they are defined
        (with a positive; for AUC also with a negative); `macro_F1` over the classes with a
        positive; `micro_F1`; and the counts `num_examples` and `num_classes` (with a positive).

    Raises:
        ValueError: when the shapes differ, a probability is no number, or no class has a positive.

    Example:

    >>> import numpy as np
    >>> labels = np.array([[1, 0], [0, 1], [1, 1]])
    >>> multilabel_metrics(labels, labels * 0.8 + 0.1)["mAP"]
    1.0
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if labels.shape != probabilities.shape or labels.ndim != 2:
        raise ValueError(
            "`labels` and `probabilities` must have one shape (num_examples, num_classes). "
            f"Received: {labels.shape} and {probabilities.shape}."
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("`probabilities` holds NaN or infinity. Fix: the model has diverged.")
    average_precisions = per_class_average_precision(labels, probabilities)
    counted = ~np.isnan(average_precisions)
    if not counted.any():
        raise ValueError("No class has a positive label, so nothing can be measured.")
    is_known, is_true = labels >= 0, labels > 0
    predicted = (probabilities >= threshold) & is_known
    aucs = [
        metrics.roc_auc_score(is_true[is_known[:, c], c], probabilities[is_known[:, c], c])
        for c in np.flatnonzero(counted & (labels == 0).any(0))
    ]
    # By hand: of a single column, scikit-learn would also score the negatives.
    hits, either = (is_true & predicted).sum(0), is_true.sum(0) + predicted.sum(0)
    return {
        "mAP": float(average_precisions[counted].mean()),
        "macro_F1": float(np.mean(2 * hits[counted] / either[counted])),
        "micro_F1": float(2 * hits.sum() / either.sum()),
        "AUC": float(np.mean(aucs)) if aucs else float("nan"),
        "num_examples": len(labels),
        "num_classes": int(counted.sum()),
    }


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


def trivial_baselines(num_examples, prior):
    """What can be predicted without looking.

    Args:
        num_examples: int.
        prior: float array `(num_classes,)`, the share of each label in the training split.

    Returns:
        A dict of `nothing` (all probabilities 0) and `prior`, arrays `(num_examples, num_classes)`.
    """
    prior = np.tile(np.asarray(prior, np.float32), (num_examples, 1))
    return {"nothing": np.zeros_like(prior), "prior": prior}
