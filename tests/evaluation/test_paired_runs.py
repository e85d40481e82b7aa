"""Means and tests over seeds, against scipy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from mmlearn.evaluation.paired_runs import mean_interval, paired_test

FULL, OTHER = [0.981, 0.979, 0.980, 0.978, 0.982], [0.975, 0.976, 0.971, 0.974, 0.977]


def test_interval_is_students():
    found = mean_interval(FULL)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(FULL), scale=stats.sem(FULL))
    assert found["low"] == pytest.approx(low, abs=1e-12)
    assert found["high"] == pytest.approx(high, abs=1e-12)


def test_paired_test_by_hand():
    found = paired_test(OTHER, FULL)
    differences = [a - b for a, b in zip(OTHER, FULL, strict=True)]
    mean = sum(differences) / 5
    deviation = math.sqrt(sum((d - mean) ** 2 for d in differences) / 4)
    t = mean / (deviation / math.sqrt(5))
    assert found["mean"] == pytest.approx(mean)
    assert found["p"] == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert found["p"] == pytest.approx(stats.ttest_rel(OTHER, FULL).pvalue, abs=1e-12)
    assert found["low"] == pytest.approx(mean - stats.t.ppf(0.975, 4) * deviation / math.sqrt(5))


def test_one_seed_or_equal_differences_have_no_test():
    one = paired_test([0.9], [0.8])
    assert one["mean"] == pytest.approx(0.1)
    assert (one["low"], one["high"], one["p"]) == (None, None, None)
    assert paired_test([0.9, 0.8], [0.8, 0.7])["p"] is None
    assert paired_test(FULL, FULL)["p"] is None


def test_seeds_must_be_the_same():
    with pytest.raises(ValueError, match=r"same seeds.*2 and 5"):
        paired_test([0.9, 0.8], FULL)
