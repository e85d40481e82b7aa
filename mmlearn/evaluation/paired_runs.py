"""What the same experiment with several seeds says: means, intervals, paired tests. Over arrays."""

import numpy as np
from scipy import stats


def mean_interval(values, confidence=0.95):
    """Mean of a metric over seeds, with Student's interval.

    Args:
        values: list of floats, one per seed.
        confidence: float in (0, 1).

    Returns:
        A dict of `mean`, `standard_deviation` (of a seed, with n - 1), `low` and `high`; the last three are
        `None` where there is one seed, which says nothing of others.

    Example:

    >>> {name: round(value, 3) for name, value in mean_interval([0.7, 0.8, 0.9]).items()}
    {'mean': 0.8, 'standard_deviation': 0.1, 'low': 0.552, 'high': 1.048}
    """
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return {"mean": mean, "standard_deviation": None, "low": None, "high": None}
    deviation = float(values.std(ddof=1))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * deviation
    reach /= np.sqrt(len(values))
    return {
        "mean": mean,
        "standard_deviation": deviation,
        "low": float(mean - reach),
        "high": float(mean + reach),
    }


def paired_test(values, reference, confidence=0.95):
    """How much higher a metric is than that of a reference with the same seeds.

    Seeds are paired: both begin with the same weights where they have the same parts, and see the
    same data in the same order. The test is two-sided, and takes differences for normally distributed.

    Args:
        values: list of floats, one per seed.
        reference: list of floats, of the same seeds in the same order.
        confidence: float in (0, 1).

    Returns:
        What `mean_interval` returns of the differences, and `p`, the p-value of a paired t-test; `None`
        where there is one seed, or all differences are equal.

    Raises:
        ValueError: when there are not as many of both.

    Reference:
        Student, "The Probable Error of a Mean", 1908. Demsar, "Statistical Comparisons of Classifiers over
        Multiple Data Sets", 2006, section 3.1.1, on its assumptions.

    Example:

    >>> found = paired_test([0.81, 0.83, 0.82], [0.80, 0.81, 0.79])
    >>> {name: round(value, 3) for name, value in found.items()}
    {'mean': 0.02, 'standard_deviation': 0.01, 'low': -0.005, 'high': 0.045, 'p': 0.074}
    """
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if values.shape != reference.shape:
        raise ValueError(
            "`values` and `reference` must be of the same seeds. "
            f"Received: {len(values)} and {len(reference)} of them."
        )
    differences = values - reference
    found = mean_interval(differences, confidence)
    # scipy warns of equal differences, whose t is no number or infinite by rounding alone.
    is_flat = len(values) < 2 or np.ptp(differences) <= 1e-12
    p = None if is_flat else float(stats.ttest_rel(values, reference).pvalue)
    return {**found, "p": p}
