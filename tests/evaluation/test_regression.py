"""Metrics of numbers against hand-computed ones."""

import numpy as np
import pytest

from mmlearn.evaluation.regression import regression_metrics

TARGETS = np.array([[1.0, 10.0], [3.0, 20.0], [5.0, 60.0]])
VALUES = np.array([[2.0, 10.0], [3.0, 26.0], [3.0, 52.0]])


def test_scores_are_means_over_the_targets():
    error = VALUES - TARGETS
    variance = ((TARGETS - TARGETS.mean(axis=0)) ** 2).sum(axis=0)
    assert regression_metrics(TARGETS, VALUES) == pytest.approx(
        {
            "MAE": np.abs(error).mean(),
            "RMSE": np.sqrt((error**2).mean(axis=0)).mean(),
            "R2": (1 - (error**2).sum(axis=0) / variance).mean(),
            "num_examples": 3,
        }
    )


def test_the_mean_explains_nothing_and_a_target_that_never_changes_does_not_count():
    mean = np.tile(TARGETS.mean(axis=0), (3, 1))
    assert regression_metrics(TARGETS, mean)["R2"] == pytest.approx(0.0)
    constant, shifted = np.full((3, 1), 7.0), np.full((3, 1), 8.0)
    both = regression_metrics(np.hstack([TARGETS, constant]), np.hstack([VALUES, shifted]))
    assert both["R2"] == pytest.approx(regression_metrics(TARGETS, VALUES)["R2"])
    assert np.isnan(regression_metrics(constant, shifted)["R2"])


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match=r"one shape.*\(3, 2\) and \(3, 1\)"):
        regression_metrics(TARGETS, VALUES[:, :1])
    with pytest.raises(ValueError, match="NaN or infinity"):
        regression_metrics(TARGETS, VALUES * np.nan)
