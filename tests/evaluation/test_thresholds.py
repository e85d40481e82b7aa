"""The threshold with the highest F1, among all there are."""

import numpy as np
import pytest

from mmlearn.evaluation.thresholds import tune_thresholds


def f1(labels, predicted):
    return 2 * (labels & predicted).sum() / (labels.sum() + predicted.sum())


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    labels = (random.random((90, 3)) < [0.1, 0.3, 0.6]).astype(int)
    return labels, (random.random(labels.shape) * 0.8 + 0.2 * labels).round(2)


def test_no_other_threshold_has_a_higher_f1(data):
    labels, values = data
    found = tune_thresholds(labels, values)
    for c in range(3):
        every = [f1(labels[:, c], values[:, c] >= t) for t in np.linspace(0, 1, 201)]
        own = f1(labels[:, c], values[:, c] >= found[c])
        assert own == pytest.approx(max(every), abs=1e-12)


def test_one_for_all_has_the_highest_micro_f1(data):
    labels, values = data
    found = tune_thresholds(labels, values, per_class=False)
    assert len(set(found)) == 1
    flat = labels.ravel(), values.ravel()
    every = [f1(flat[0], flat[1] >= t) for t in np.linspace(0, 1, 201)]
    assert f1(flat[0], flat[1] >= found[0]) == pytest.approx(max(every), abs=1e-12)


def test_a_class_with_few_positives_takes_the_one_of_all(data):
    labels, values = data
    labels = labels.copy()
    labels[np.flatnonzero(labels[:, 0])[4:], 0] = 0
    found = tune_thresholds(labels, values)
    assert found[0] == tune_thresholds(labels, values, per_class=False)[0]
    assert len(set(found)) == 3


def test_unknown_labels_do_not_count(data):
    labels, values = data
    unknown = np.vstack([labels, np.full((20, 3), -1)])
    found = tune_thresholds(unknown, np.vstack([values, np.full((20, 3), 0.99)]))
    np.testing.assert_array_equal(found, tune_thresholds(labels, values))


def test_without_a_true_label_there_is_nothing_to_tune_on():
    with pytest.raises(ValueError, match="No label is true"):
        tune_thresholds(np.zeros((2, 2)), np.ones((2, 2)))
