"""Metrics of weighted examples are those of scikit-learn with `sample_weight`."""

import numpy as np
import pytest
from sklearn import metrics

from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.evaluation.intervals import resample
from mmlearn.evaluation.multiclass import multiclass_metrics
from mmlearn.evaluation.regression import regression_metrics
from mmlearn.evaluation.scores import score_name, weighted_score
from mmlearn.evaluation.weighted import (
    weighted_average_precision,
    weighted_multiclass,
    weighted_multilabel,
    weighted_regression,
)

COUNT, RESAMPLES = 80, 12


@pytest.fixture(scope="module")
def random():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def weights():
    return resample(COUNT, num_resamples=RESAMPLES, seed=3)


def multilabel(random, num_classes=4):
    labels = (random.random((COUNT, num_classes)) < 0.3).astype(int)
    # In tenths, so that many are equal.
    return labels, np.clip(random.random(labels.shape).round(1) * 0.7 + 0.2 * labels, 0, 1)


def expected(score, weights):
    return np.array([score(weights[:, column]) for column in range(weights.shape[1])])


def test_average_precision_with_ties_and_fractions_of_weights(random):
    labels, scores = multilabel(random, 1)
    weights = random.random((COUNT, 5)) * (random.random((COUNT, 5)) < 0.6)
    found = weighted_average_precision(labels[:, 0] > 0, scores[:, 0], weights)
    np.testing.assert_allclose(
        found,
        expected(
            lambda w: metrics.average_precision_score(labels, scores, sample_weight=w), weights
        ),
        rtol=0,
        atol=1e-9,
    )


def test_average_precision_without_a_positive_is_unknown():
    labels, scores, weights = np.array([True, False]), np.array([0.5, 0.4]), np.eye(2)
    assert weighted_average_precision(labels, scores, weights)[0] == 1.0
    assert np.isnan(weighted_average_precision(labels, scores, weights)[1])
    assert np.isnan(weighted_average_precision(~labels & labels, scores, weights)).all()


def test_several_labels_equal_scikit_learn(random, weights):
    labels, values = multilabel(random)
    predicted = values >= 0.4
    found = weighted_multilabel(labels, values, weights, threshold=0.4)
    for name, score in (
        (
            "mAP",
            lambda w: metrics.average_precision_score(
                labels, values, average="macro", sample_weight=w
            ),
        ),
        (
            "macro_F1",
            lambda w: metrics.f1_score(labels, predicted, average="macro", sample_weight=w),
        ),
        (
            "micro_F1",
            lambda w: metrics.f1_score(labels, predicted, average="micro", sample_weight=w),
        ),
    ):
        np.testing.assert_allclose(found[name], expected(score, weights), rtol=0, atol=1e-9)


def test_one_true_class_equals_scikit_learn(random, weights):
    truth = random.integers(0, 3, COUNT)
    labels = np.eye(3, dtype=int)[truth]
    values = random.random((COUNT, 3)) + 0.5 * labels
    predicted = values.argmax(1)
    found = weighted_multiclass(labels, values, weights)
    for name, score in (
        ("top_1_accuracy", lambda w: metrics.accuracy_score(truth, predicted, sample_weight=w)),
        (
            "macro_F1",
            lambda w: metrics.f1_score(truth, predicted, average="macro", sample_weight=w),
        ),
        (
            "mAP",
            lambda w: metrics.average_precision_score(
                labels, values, average="macro", sample_weight=w
            ),
        ),
    ):
        np.testing.assert_allclose(found[name], expected(score, weights), rtol=0, atol=1e-9)


def test_numbers_equal_scikit_learn(random, weights):
    targets = random.normal(100, 1, size=(COUNT, 2))
    values = targets + random.normal(size=targets.shape)
    found = weighted_regression(targets, values, weights)
    for name, score in (
        ("MAE", metrics.mean_absolute_error),
        ("RMSE", metrics.root_mean_squared_error),
        ("R2", metrics.r2_score),
    ):
        own = expected(lambda w, s=score: s(targets, values, sample_weight=w), weights)
        np.testing.assert_allclose(found[name], own, rtol=0, atol=1e-9)


def test_equal_weights_give_the_metrics_themselves(random):
    labels, values = multilabel(random)
    labels[:5, 1], labels[3:9, 2] = -1, -1  # unknown
    targets = random.normal(size=(COUNT, 2))
    truth = np.eye(4, dtype=int)[random.integers(0, 4, COUNT)]
    for found, whole in (
        (
            weighted_multilabel(labels, values, np.ones((COUNT, 1))),
            multilabel_metrics(labels, values),
        ),
        (
            weighted_multiclass(truth, values, np.ones((COUNT, 1))),
            multiclass_metrics(truth, values),
        ),
        (
            weighted_regression(targets, values[:, :2], np.ones((COUNT, 1))),
            regression_metrics(targets, values[:, :2]),
        ),
    ):
        for name, each in found.items():
            assert each[0] == pytest.approx(whole[name], abs=1e-9), name


def test_a_resample_is_scored_as_its_examples_are():
    """Each as often as it counts: with ties, unknown labels, and targets that do not change in it."""
    random = np.random.default_rng(0)
    labels = random.choice([-1, 0, 1], (60, 7), p=[0.1, 0.6, 0.3])
    labels[:, 5] = np.minimum(labels[:, 5], 0)  # a class without a positive
    probabilities = random.random((60, 7)).round(1)
    targets = random.normal(5, 2, (60, 3))
    targets[2:, 1] = 4.0  # changes by two examples alone
    targets[:, 2] = 4.0
    values = targets + random.normal(size=targets.shape)
    weights = random.multinomial(60, np.full(60, 1 / 60), 5).T
    weights[:2, 0] = 0
    for own in weights.T:
        rows = np.repeat(np.arange(60), own)
        for kind, truth, predicted, score in (
            ("multi_label", labels, probabilities, multilabel_metrics),
            ("regression", targets, values, regression_metrics),
        ):
            found = weighted_score(kind, truth, predicted, own[:, None].astype(float))
            expected = score(truth[rows], predicted[rows])[score_name(kind)]
            assert found[0] == pytest.approx(expected, abs=1e-10)
    nothing = weighted_score(
        "multi_label", np.array([[1], [0]]), np.eye(2)[:, :1], np.eye(2)[:, 1:]
    )
    assert np.isnan(nothing).all()
