"""Intervals: the quantiles of what scikit-learn says of the same resamples, and what they are for."""

import numpy as np
import pytest
from sklearn import metrics

from mmlearn.evaluation.intervals import difference, draw, interval, resample


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    labels = (random.random((120, 3)) < 0.4).astype(int)
    noise = random.random((2, *labels.shape))
    return labels, {"good": 0.3 * labels + 0.7 * noise[0], "bad": noise[1]}


def test_resamples_are_as_large_as_the_data_and_as_varied_as_they_should_be():
    weights = resample(50, num_resamples=400)
    assert (weights.sum(axis=0) == 50).all()
    # A share of (1 - 1/n)^n is left out.
    assert np.mean(weights == 0) == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    assert (resample(50, num_resamples=400, seed=1) != weights).any()


def test_examples_of_a_group_come_together():
    groups = np.repeat([5, 1, 9], [4, 1, 2])
    weights = resample(7, groups, num_resamples=30)
    for group in np.unique(groups):
        own = weights[groups == group]
        assert (own == own[0]).all()
    assert (weights[[0, 4, 5]].sum(axis=0) == 3).all()


def test_captions_of_one_image_are_not_five_examples():
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 5)
    labels = (random.random((60, 2)) < 0.5).astype(int)[groups]
    values = (0.3 * labels + random.random((60, 2))[groups]) / 1.3
    widths = []
    for own in (None, groups):
        found = interval(draw("multi_label", labels, {"a": values}, own)["a"]["mAP"])
        widths.append(found["high"] - found["low"])
    # By the square root of five, but for the randomness of both.
    assert widths[1] / widths[0] == pytest.approx(5**0.5, rel=0.2)


def test_equals_the_quantiles_of_scikit_learn(data):
    labels, rows = data
    values = draw("multi_label", labels, rows, num_resamples=40)["good"]["mAP"]
    weights = resample(len(labels), num_resamples=40, seed=[0, 0])
    drawn = [
        metrics.average_precision_score(labels, rows["good"], average="macro", sample_weight=own)
        for own in weights.T
    ]
    value = metrics.average_precision_score(labels, rows["good"], average="macro")
    np.testing.assert_allclose(values, [value, *drawn], rtol=0, atol=1e-9)
    low, high = 2 * value - np.quantile(drawn, [0.975, 0.025])
    assert interval(values) == pytest.approx({"low": low, "high": high}, abs=1e-9)


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(2)
    hits = 0
    for trial in range(200):
        errors = random.normal(0, 2, size=(150, 1))  # of a mean absolute value 2 sqrt(2 / pi)
        rows = {"a": errors}
        values = draw("regression", np.zeros_like(errors), rows, None, None, 200, trial)["a"]["MAE"]
        found = interval(values)
        hits += found["low"] <= 2 * (2 / np.pi) ** 0.5 <= found["high"]
    assert 0.9 <= hits / 200 <= 0.99


def test_a_metric_stays_within_its_limits():
    drawn = np.array([0.98, 0.9, 0.97, 0.99])
    assert interval(drawn)["high"] > 1
    assert interval(drawn, limits=(0, 1))["high"] == 1.0


def test_what_is_unknown_has_no_interval():
    assert np.isnan(list(interval(np.array([np.nan, 0.5])).values())).all()


def test_a_clear_difference_is_clear_and_none_is_none(data):
    labels, rows = data
    drawn = draw("multi_label", labels, {**rows, "same": rows["good"]})
    good, bad, same = (drawn[name]["mAP"] for name in ("good", "bad", "same"))
    found = difference(good, bad)
    assert found["difference"] == pytest.approx(good[0] - bad[0])
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["p"] < 0.01
    assert difference(good, same) == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    back = difference(bad, good)
    assert (back["low"], back["high"]) == pytest.approx((-found["high"], -found["low"]))


def test_pairing_makes_a_small_difference_certain(data):
    labels, rows = data
    worse = 0.9 * rows["good"] + 0.1 * rows["bad"]
    drawn = draw("multi_label", labels, {"a": rows["good"], "b": worse})
    paired = difference(drawn["a"]["mAP"], drawn["b"]["mAP"])
    other = draw("multi_label", labels, {"b": worse}, seed=7)["b"]["mAP"]
    unpaired = difference(drawn["a"]["mAP"], other)
    assert paired["high"] - paired["low"] < 0.5 * (unpaired["high"] - unpaired["low"])
