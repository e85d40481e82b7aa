"""Tests over examples: by hand, exactly where that is possible, and where nothing is to be found."""

import itertools

import numpy as np
import pytest

from mmlearn.evaluation.paired import mcnemar, paired_bootstrap, paired_permutation


def accuracy(labels, values):
    return np.mean((values >= 0.5) == (labels > 0))


def test_mcnemar_is_the_sign_test():
    # 8 against 2: twice P(X >= 8) of ten coins = 2 (45 + 10 + 1) / 1024.
    first, second = (
        np.repeat([True, False, True], [8, 2, 5]),
        np.repeat([False, True, True], [8, 2, 5]),
    )
    assert mcnemar(first, second) == {
        "first_only": 8,
        "second_only": 2,
        "p": pytest.approx(112 / 1024),
    }
    assert mcnemar(first, first)["p"] == 1.0


def test_permutation_approaches_all_exchanges():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (8, 1))
    first, second = np.abs(labels - 0.3 * random.random((8, 1))), random.random((8, 1))

    def metric(labels, values):
        return -np.abs(labels - values).mean()

    found = metric(labels, first) - metric(labels, second)
    exchanged = []
    for kept in itertools.product([True, False], repeat=8):
        kept = np.array(kept)[:, None]
        one, other = np.where(kept, first, second), np.where(kept, second, first)
        exchanged.append(metric(labels, one) - metric(labels, other))
    exact = np.mean(np.abs(exchanged) >= abs(found) - 1e-12)
    result = paired_permutation(labels, first, second, metric, num_resamples=4000)
    assert result["difference"] == pytest.approx(found)
    assert result["p"] == pytest.approx(exact, abs=0.02)


def test_groups_are_exchanged_together():
    # Ten copies of two groups, of which the first predictor wins one: nothing is certain.
    labels = np.ones((20, 1), int)
    groups = np.repeat([0, 1], 10)
    first, second = np.repeat([[1.0], [0.9]], 10, axis=0), np.repeat([[0.0], [0.9]], 10, axis=0)
    alone = paired_permutation(labels, first, second, accuracy, num_resamples=200)
    together = paired_permutation(labels, first, second, accuracy, groups, num_resamples=200)
    assert alone["p"] < 0.05
    assert together["p"] > 0.9


def test_bootstrap_compares_any_of_the_metrics():
    random = np.random.default_rng(0)
    labels = (random.random((150, 2)) < 0.4).astype(int)
    first, second = 0.4 * labels + 0.6 * random.random((2, 150, 2))
    for metric in (None, "micro_F1"):
        same = paired_bootstrap("multi_label", labels, first, first, metric, num_resamples=50)
        assert same == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    found = paired_bootstrap("multi_label", labels, first, 1 - first, num_resamples=200)
    assert found["low"] > 0
    assert found["p"] == pytest.approx(1 / 201)
    # The same predictions, of which one is cut where nothing is predicted.
    cut = paired_bootstrap(
        "multi_label", labels, first, first, "micro_F1", None, (0.4, 1.1), num_resamples=50
    )
    assert cut["difference"] > 0.5
    assert paired_bootstrap("multi_label", labels, first, second, num_resamples=200)["p"] > 0.05
