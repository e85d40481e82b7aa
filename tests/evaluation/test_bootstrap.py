"""Paired intervals: nothing from nothing, something from something."""

import numpy as np
import pytest

from mmlearn.evaluation.bootstrap import paired_map_interval
from mmlearn.evaluation.classification import per_class_average_precision


@pytest.fixture(scope="module")
def data():
    """Labels, predictions that know them, and predictions that do not."""
    random = np.random.default_rng(0)
    labels = (random.random((120, 3)) < 0.4).astype(int)
    noise = random.random((2, *labels.shape))
    return labels, 0.5 * labels + 0.5 * noise[0], noise[1]


def test_identical_predictions_differ_by_nothing(data):
    labels, good, _ = data
    assert paired_map_interval(labels, good, good, num_resamples=20) == {
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
    }


def test_better_predictions_are_better_beyond_chance(data):
    labels, good, bad = data
    interval = paired_map_interval(labels, good, bad, num_resamples=100)
    expected = np.mean(
        per_class_average_precision(labels, good) - per_class_average_precision(labels, bad)
    )
    assert interval["difference"] == pytest.approx(expected, abs=1e-12)
    assert 0 < interval["low"] < interval["difference"] < interval["high"]


def test_swapping_the_models_mirrors_the_interval(data):
    labels, good, bad = data
    there = paired_map_interval(labels, good, bad, num_resamples=50)
    back = paired_map_interval(labels, bad, good, num_resamples=50)
    assert back["difference"] == pytest.approx(-there["difference"])
    assert (back["low"], back["high"]) == pytest.approx((-there["high"], -there["low"]))


def test_a_higher_confidence_is_wider(data):
    narrow, wide = (
        paired_map_interval(*data, num_resamples=100, confidence=confidence)
        for confidence in (0.5, 0.99)
    )
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]


def test_the_seed_decides_the_resamples(data):
    first, same, other = (
        paired_map_interval(*data, num_resamples=30, seed=seed) for seed in (1, 1, 2)
    )
    assert first == same
    assert first["low"] != other["low"]
    assert first["difference"] == other["difference"]


def test_a_rare_class_may_be_missing_from_a_resample(data):
    labels, good, bad = data
    labels = labels.copy()
    labels[:, 0] = 0
    labels[0, 0] = 1
    interval = paired_map_interval(labels, good, bad, num_resamples=50)
    assert np.isfinite(list(interval.values())).all()
