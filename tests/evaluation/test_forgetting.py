"""What is forgotten, by hand."""

import numpy as np
import pytest

from mmlearn.evaluation.forgetting import measure_forgetting
from mmlearn.evaluation.paired import paired_bootstrap

LABELS = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]] * 5)


def test_a_case_by_hand():
    labels = np.array([[1, 1, 0], [0, 0, 0], [1, -1, 0], [0, 1, -1]])
    before = np.array([[0.9, 0.9, 0.1], [0.2, 0.1, 0.2], [0.8, 0.5, 0.3], [0.1, 0.8, 0.4]])
    # Class 0 now finds its positives at ranks 1 and 3; class 1, known of three, at ranks 2 and 3.
    after = np.array([[0.9, 0.5, 0.1], [0.8, 0.9, 0.2], [0.3, 1.0, 0.3], [0.1, 0.2, 0.4]])
    found = measure_forgetting(labels, before, after, ["dog", "cat", "sofa"])
    dog, cat = (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2
    assert found["classes"] == {
        "dog": {"before": 1.0, "after": pytest.approx(dog)},
        "cat": {"before": 1.0, "after": pytest.approx(cat)},
    }
    assert (found["num_examples"], found["num_classes"]) == (4, 2)
    assert found["before"] == 1.0
    assert found["after"] == pytest.approx((dog + cat) / 2)
    transfer = found["backward_transfer"]
    assert transfer["difference"] == pytest.approx((dog + cat) / 2 - 1)
    assert transfer["low"] <= transfer["difference"] < 0


def test_the_interval_is_the_paired_one_and_learning_is_positive():
    random = np.random.default_rng(0)
    good, bad = LABELS + random.normal(size=(2, *LABELS.shape)) * [[[0.3]], [[2.0]]]
    found = measure_forgetting(LABELS, bad, good, ["a", "b", "c"])["backward_transfer"]
    kept = (each[:, :2] for each in (LABELS, good, bad))
    assert found == pytest.approx(paired_bootstrap("multi_label", *kept))
    assert found["low"] > 0


def test_nothing_to_measure_is_an_error():
    nothing = np.full((3, 2), -1)
    with pytest.raises(ValueError, match="No class has a positive label"):
        measure_forgetting(nothing, nothing, nothing, ["a", "b"])
