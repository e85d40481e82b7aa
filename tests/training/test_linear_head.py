"""Shots are drawn class by class; heads are scikit-learn's, folded into raw features."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmlearn.training.linear_head import draw_shots, fit_linear_head


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    features = random.normal(3, [0.5, 1, 2, 4, 8], (60, 5))
    labels = features[:, :3] + random.normal(size=(60, 3)) > 3
    return features, labels


@pytest.mark.parametrize("shots", [1, 2, 7])
@pytest.mark.parametrize("seed", range(5))
def test_each_class_gets_its_shots_or_all_that_it_has(shots, seed):
    labels = np.random.default_rng(seed).random((200, 6)) < [0.5, 0.3, 0.1, 0.1, 0.02, 0.0]
    rows = draw_shots(labels, shots, seed)
    assert (np.diff(rows) > 0).all()
    assert (labels[rows].sum(0) >= np.minimum(shots, labels.sum(0))).all()
    assert len(rows) <= np.minimum(shots, labels.sum(0)).sum()  # none is there for nothing


def test_an_example_of_several_classes_counts_for_all_of_them():
    labels = np.zeros((50, 2), bool)
    labels[:, 0] = True
    labels[[3, 30], 1] = True
    assert draw_shots(labels, 2).tolist() == [3, 30]


def test_draws_depend_on_the_seed_alone():
    labels = np.eye(4, dtype=bool)[np.arange(80) % 4]
    first, again, other = (draw_shots(labels, 3, seed) for seed in (1, 1, 2))
    assert len(first) == 12
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_a_head_per_class_is_that_of_scikit_learn(data):
    features, labels = data
    head = fit_linear_head(features, labels)
    for c in range(3):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / 5, tol=1e-8))
        expected = model.fit(features, labels[:, c]).predict_proba(features)[:, 1]
        np.testing.assert_allclose(head.predict(features)[:, c], expected, atol=1e-5)


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2)])
def test_a_multinomial_head_is_that_of_scikit_learn(data, classes):
    features, labels = data
    which = np.array(classes)[labels[:, classes].argmax(1)]
    head = fit_linear_head(features, np.eye(4, dtype=bool)[which], "softmax")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / 5, tol=1e-8))
    expected = np.zeros((60, 4))
    expected[:, classes] = model.fit(features, which).predict_proba(features)
    np.testing.assert_allclose(head.predict(features), expected, atol=1e-5)


def test_the_weights_of_the_layer_compute_the_same_in_float32(data):
    features, labels = data
    head = fit_linear_head(features, labels)
    kernel, bias = head.weights()
    assert kernel.dtype == bias.dtype == np.float32
    probabilities = 1 / (1 + np.exp(-(features.astype(np.float32) @ kernel + bias)))
    np.testing.assert_allclose(probabilities, head.predict(features), atol=1e-5)


def test_a_class_that_does_not_vary_gets_constant_odds(data):
    features, labels = data
    labels = np.stack([labels[:, 0], np.ones(60, bool), np.zeros(60, bool)], axis=1)
    probabilities = fit_linear_head(features, labels).predict(features)
    assert np.ptp(probabilities[:, 0]) > 0.1
    np.testing.assert_allclose(probabilities[:, 1], 60.5 / 61)
    np.testing.assert_allclose(probabilities[:, 2], 0.5 / 61)
    one = np.eye(3, dtype=bool)[np.ones(60, int)]
    probabilities = fit_linear_head(features, one, "softmax").predict(features)
    np.testing.assert_allclose(probabilities, one, atol=1e-9)


def test_features_that_hardly_vary_among_the_shots_are_not_blown_up(data):
    features, labels = data
    still = np.column_stack([features, np.full(60, 2.0)])
    nearly = still.copy()
    nearly[0, -1] += 1e-9
    for given in (still, nearly):
        head = fit_linear_head(given, labels)
        elsewhere = given.copy()
        elsewhere[:, -1] += 0.1
        np.testing.assert_allclose(head.predict(elsewhere), head.predict(given), atol=1e-6)
    constant = fit_linear_head(np.ones((60, 2)), labels)  # nothing varies: the shares
    expected = (labels.sum(0) + 0.0) / 60
    np.testing.assert_allclose(constant.predict(np.ones((1, 2)))[0], expected, atol=1e-3)
