"""Calibration by hand, against scikit-learn, and on probabilities that are known to be wrong."""

import numpy as np
import pytest
from scipy import optimize, special
from sklearn import metrics
from sklearn.calibration import calibration_curve

from mmlearn.evaluation.calibration import (
    apply_temperatures,
    calibration_bins,
    calibration_metrics,
    expected_calibration_error,
    fit_temperatures,
)
from mmlearn.layers.divide_logits import divide_logits


@pytest.fixture(scope="module")
def honest():
    """Probabilities of two labels, and labels that are true as often as they say."""
    random = np.random.default_rng(0)
    probabilities = random.random((4000, 2))
    return (random.random(probabilities.shape) < probabilities).astype(int), probabilities


def test_bins_are_those_of_scikit_learn(honest):
    labels, probabilities = honest
    share, confidence = calibration_curve(labels[:, 0], probabilities[:, 0], n_bins=10)
    bins = calibration_bins(labels[:, 0], probabilities[:, 0], 10)
    np.testing.assert_allclose(bins["share"], share, atol=1e-9)
    np.testing.assert_allclose(bins["confidence"], confidence, atol=1e-9)
    assert bins["count"].sum() == 4000


def test_bins_of_equal_mass_have_as_many_each():
    values = np.array([0.01, 0.02, 0.03, 0.04, 0.5, 0.99])
    bins = calibration_bins(values > 0.3, values, 3, by="mass")
    assert bins["count"].tolist() == [2, 2, 2]
    assert bins["share"].tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(bins["confidence"], [0.015, 0.035, 0.745])


def test_error_by_hand():
    truth = np.array([True, False, True, True, False])
    values = np.array([0.9, 0.9, 0.8, 0.0, 1.0])
    # Four bins: [0, 1/4] has the 0.0, (3/4, 1] the rest: mean 0.9, of which half is true.
    assert expected_calibration_error(truth, values, 4) == pytest.approx((1 * 1.0 + 4 * 0.4) / 5)
    # Two halves by rank: 0.0 0.8 0.9 (all but the last two) and 0.9 1.0.
    halves = (3 * abs(1.7 / 3 - 1) + 2 * abs(0.95 - 0)) / 5
    assert expected_calibration_error(truth, values, 2, "mass") == pytest.approx(halves)


def test_honest_probabilities_have_nearly_none_and_others_have(honest):
    labels, probabilities = honest
    assert calibration_metrics(labels, probabilities)["ECE"] < 0.015
    certain = apply_temperatures(probabilities, 0.3)
    found = calibration_metrics(labels, certain)
    assert all(found[name] > 0.1 for name in ("ECE", "ECE_equal_mass", "class_ECE"))


def test_metrics_equal_scikit_learn(honest):
    labels, probabilities = honest
    found = calibration_metrics(labels, probabilities)
    flat = labels.ravel(), probabilities.ravel()
    assert found["Brier"] == pytest.approx(metrics.brier_score_loss(*flat), abs=1e-9)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(*flat), abs=1e-9)
    own = [expected_calibration_error(labels[:, c], probabilities[:, c]) for c in (0, 1)]
    assert found["class_ECE"] == pytest.approx(np.mean(own), abs=1e-9)
    unknown = labels.copy()
    unknown[:, 1] = -1
    alone = calibration_metrics(labels[:, :1], probabilities[:, :1])
    assert calibration_metrics(unknown, probabilities) == pytest.approx(alone)


def test_of_one_true_class_the_likeliest_counts():
    labels = np.eye(3, dtype=int)[[0, 1, 2]]
    probabilities = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    found = calibration_metrics(labels, probabilities, "multi_class")
    assert found["ECE"] == pytest.approx((0.3 + 0.6 + 0.2) / 3)
    assert found["log_loss"] == pytest.approx(metrics.log_loss([0, 1, 2], probabilities), abs=1e-9)
    squares = (0.09 + 0.04 + 0.01) + (0.36 + 0.49 + 0.01) + (0.01 + 0.01 + 0.04)
    assert found["Brier"] == pytest.approx(squares / 3)


def test_temperatures_are_found_again(honest):
    labels, probabilities = honest
    wrong = apply_temperatures(probabilities, np.array([0.4, 2.5]))
    found = fit_temperatures(labels, wrong)
    # What was divided by 0.4 must be divided by 2.5.
    np.testing.assert_allclose(found, [2.5, 0.4], rtol=0.08)
    np.testing.assert_allclose(fit_temperatures(labels, probabilities), 1, rtol=0.08)
    before, after = (
        calibration_metrics(labels, v) for v in (wrong, apply_temperatures(wrong, found))
    )
    assert after["ECE"] < before["ECE"] / 3
    # One for all, of two that are wrong in opposite ways, is in between.
    together = fit_temperatures(labels, wrong, per_class=False)
    assert together[0] == together[1]
    assert 0.4 < together[0] < 2.5


def test_the_fit_is_the_likeliest(honest):
    labels, probabilities = (values[:300] for values in honest)

    def loss(temperature):
        return metrics.log_loss(labels[:, 0], apply_temperatures(probabilities, temperature)[:, 0])

    best = optimize.minimize_scalar(loss, bounds=(0.2, 5), method="bounded").x
    assert fit_temperatures(labels, probabilities)[0] == pytest.approx(best, abs=1e-4)


def test_one_true_class_has_one_temperature_and_keeps_its_likeliest():
    random = np.random.default_rng(1)
    logits = random.normal(size=(3000, 4)) * 2
    truth = (special.softmax(logits, axis=1).cumsum(1) < random.random((3000, 1))).sum(1)
    labels, wrong = np.eye(4, dtype=int)[truth], special.softmax(logits * 2, axis=1)
    found = fit_temperatures(labels, wrong, "multi_class")
    np.testing.assert_allclose(found, 2.0, rtol=0.08)
    mended = apply_temperatures(wrong, found, "multi_class")
    np.testing.assert_allclose(mended.sum(1), 1)
    np.testing.assert_array_equal(mended.argmax(1), wrong.argmax(1))


def test_a_rare_class_takes_the_temperature_of_all(honest):
    labels, probabilities = (values.copy() for values in honest)
    wrong = apply_temperatures(probabilities, np.array([0.4, 2.5]))
    labels[9:, 1] = 0  # at most nine positives
    found = fit_temperatures(labels, wrong)
    assert found[1] == fit_temperatures(labels, wrong, per_class=False)[1]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("kind", "activation"), [("multi_label", "sigmoid"), ("multi_class", "softmax")]
)
def test_the_layer_computes_the_same(kind, activation):
    random = np.random.default_rng(2)
    values = random.random((20, 3)).astype("float32")
    values[0] = 0.0, 1.0, 0.5
    values = values if kind == "multi_label" else values / values.sum(1, keepdims=True)
    temperatures = np.array([0.5, 1.0, 3.0])
    np.testing.assert_allclose(
        np.asarray(divide_logits(values, temperatures, activation)),
        apply_temperatures(values, temperatures, kind),
        atol=2e-6,
    )


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match=r"`by` must be 'width' or 'mass'\. Received: by='size'"):
        calibration_bins(np.ones(1), np.ones(1), by="size")
    with pytest.raises(ValueError, match="There is no prediction"):
        calibration_bins(np.ones(0), np.ones(0))
    with pytest.raises(ValueError, match="No label is true"):
        fit_temperatures(np.zeros((2, 1)), np.full((2, 1), 0.5))
