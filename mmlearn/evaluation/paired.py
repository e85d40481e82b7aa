"""Whether one predictor is better than another on the same examples: tests over examples."""

import numpy as np
from scipy import stats

from mmlearn.evaluation.intervals import NUM_RESAMPLES, difference, draw
from mmlearn.evaluation.scores import MAIN


def mcnemar(first_is_right, second_is_right):
    """McNemar's exact test of which of two predictors is right where the other one is wrong.

    Args:
        first_is_right: bool array `(num_examples,)`. The examples must be independent.
        second_is_right: likewise.

    Returns:
        A dict of `first_only` and `second_only` (how often one alone is right) and `p`, of two sides.

    Reference:
        McNemar 1947, "Note on the sampling error of the difference between correlated proportions or
        percentages"; the exact form is the sign test, a binomial test of one half.

    Example:

    >>> mcnemar([True] * 5 + [False], [False] * 5 + [False])
    {'first_only': 5, 'second_only': 0, 'p': 0.0625}
    """
    first, second = np.asarray(first_is_right, bool), np.asarray(second_is_right, bool)
    only = int((first & ~second).sum()), int((second & ~first).sum())
    p = stats.binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
    return {"first_only": only[0], "second_only": only[1], "p": float(p)}


def paired_bootstrap(
    kind,
    labels,
    first,
    second,
    metric=None,
    groups=None,
    thresholds=None,
    num_resamples=NUM_RESAMPLES,
    seed=0,
):
    """How much higher a metric of one predictor is, with its interval, by resampling both alike.

    Args:
        kind: str, of the head: `"multi_label"`, `"multi_class"` or `"regression"`.
        labels: array `(num_examples, num_columns)`.
        first: float array of the same shape, what the one predicts.
        second: likewise, the other one.
        metric: str, one of those that `mmlearn.evaluation.weighted` has of the kind; by default the main one.
        groups: int array `(num_examples,)`, or `None`. Examples of a group are resampled together.
        thresholds: pair of thresholds of the two, each float or `(num_columns,)`; by default 0.5.
        num_resamples: int.
        seed: int.

    Returns:
        What `mmlearn.evaluation.intervals.difference` returns.
    """
    own = dict(zip(("first", "second"), thresholds or (0.5, 0.5), strict=True))
    rows = {"first": np.asarray(first, np.float64), "second": np.asarray(second, np.float64)}
    drawn = draw(kind, np.asarray(labels), rows, groups, own, num_resamples, seed)
    metric = metric or MAIN[kind]
    return difference(drawn["first"][metric], drawn["second"][metric])


def paired_permutation(labels, first, second, metric, groups=None, num_resamples=999, seed=0):
    """Tests a difference in any metric by exchanging the two predictors' answers at random.

    If they were equally good, each answer could as well be of the other one.

    Args:
        labels: array `(num_examples, num_columns)`.
        first: float array of the same shape, what the one predicts.
        second: likewise, the other one.
        metric: function from labels and predictions to a float.
        groups: int array `(num_examples,)`, or `None`. Examples of a group are exchanged together.
        num_resamples: int.
        seed: int.

    Returns:
        A dict of floats: `difference` (first minus second) and `p`, the share of the exchanges, and of
        what was found, that differ as much, of two sides.

    Reference:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 15.
    """
    labels, first, second = (np.asarray(values) for values in (labels, first, second))
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    different, members = np.unique(groups, return_inverse=True)
    found = metric(labels, first) - metric(labels, second)
    random, extreme = np.random.default_rng(seed), 1
    for _ in range(num_resamples):
        kept = (random.random(len(different)) < 0.5)[members].reshape(-1, *[1] * (first.ndim - 1))
        one, other = np.where(kept, first, second), np.where(kept, second, first)
        drawn = metric(labels, one) - metric(labels, other)
        # Rounding must not make the same exchange less extreme than itself.
        extreme += abs(drawn) >= abs(found) - 1e-12
    return {"difference": float(found), "p": float(extreme / (1 + num_resamples))}
