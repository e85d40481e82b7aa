"""What the folds of a cross-validation say together: pure functions over their metrics."""

import numpy as np
from scipy import stats

from mmlearn.evaluation.scores import score


def fold_interval(values, test_ratio, confidence=0.95):
    """Mean of a metric over folds, and how far it can be trusted.

    The plain interval takes the folds for independent. They are not: any two of k folds share
    (k - 2) / (k - 1) of their training data, so that it is too narrow. The corrected one
    adds what they share to the variance, by a rule of thumb that is rather too wide than too narrow.

    Args:
        values: list of floats, one per fold, at least two.
        test_ratio: float. Examples that a fold is validated on, over those that it is trained on.
        confidence: float in (0, 1).

    Returns:
        A dict of floats: `mean`; `standard_deviation` (of a fold, with k - 1); `low` and `high`,
        Student's t with variance s² / k; `corrected_low` and `corrected_high`, likewise with
        s² (1 / k + test_ratio).

    Reference:
        Nadeau and Bengio, "Inference for the Generalization Error", 2003, section 3.

    Example:

    >>> interval = fold_interval([0.7, 0.8, 0.9], test_ratio=0.5)
    >>> {name: round(value, 3) for name, value in interval.items()}
    {'mean': 0.8, 'standard_deviation': 0.1, 'low': 0.552, 'high': 1.048, 'corrected_low': 0.407, 'corrected_high': 1.193}
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        raise ValueError(f"`values` must be of at least two folds. Received: {len(values)}.")
    mean, deviation = values.mean(), values.std(ddof=1)
    reach = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * deviation
    plain = reach * np.sqrt(1 / len(values))
    corrected = reach * np.sqrt(1 / len(values) + test_ratio)
    interval = {
        "mean": mean,
        "standard_deviation": deviation,
        "low": mean - plain,
        "high": mean + plain,
        "corrected_low": mean - corrected,
        "corrected_high": mean + corrected,
    }
    return {name: float(value) for name, value in interval.items()}


def summarize_folds(metrics, confidence=0.95):
    """Summarises the metrics of all folds, which together validate on every example once.

    Args:
        metrics: list with the metrics of each fold, as `evaluate` returns them.
        confidence: float in (0, 1).

    Returns:
        A dict of row, of those that all folds have, to dict of metric name to what `fold_interval`
        returns, with the values of the single folds as `folds`.
    """
    counts = np.array([fold["fused"]["num_examples"] for fold in metrics])
    test_ratio = float(np.mean(counts / (counts.sum() - counts)))
    summary = {}
    for row, own in metrics[0].items():
        if not all(row in fold for fold in metrics):  # of a modality that no example of a fold has
            continue
        summary[row] = {}
        for name in own:
            if not name.startswith("num_"):
                values = [fold[row][name] for fold in metrics]
                interval = fold_interval(values, test_ratio, confidence)
                summary[row][name] = {"folds": values, **interval}
    return summary


def pooled_metrics(predictions, prior, kind="multi_label"):
    """Scores the predictions of all folds as if they were of one model.

    Rankings by several models are mixed here, so where their probabilities are not on one scale,
    mAP and AUC are lower than the mean of the folds.

    Args:
        predictions: dict of arrays, those of the folds one after the other: what `evaluate` returns of
            a task with one head.
        prior: float array `(num_examples, num_columns)`. For each example, the share of each
            label, or the mean of each target, in the training data of its fold.
        kind: str, of the head: `"multi_label"`, `"multi_class"` or `"regression"`.

    Returns:
        A dict of row to metrics, as `evaluate` returns: the model's own rows, and `prior` or `mean`.

    Reference:
        Forman and Scholz, "Apples-to-Apples in Cross-Validation Studies", 2010.
    """
    labels, scores = predictions["labels"], {}
    baseline = "mean" if kind == "regression" else "prior"
    present = {
        name.removesuffix("_present"): known
        for name, known in predictions.items()
        if name.endswith("_present")
    }
    for name in ("fused", *present):
        if name in predictions:
            known = present.get(name, slice(None))
            scores[name] = score(kind, labels[known], predictions[name][known])
    return {**scores, baseline: score(kind, labels, prior)}
