"""Scores of single examples, computed by hand."""

import numpy as np
import pytest

from mmlearn.evaluation.example_scores import example_scores
from mmlearn.models.head import Head


def test_likelihood_of_several_labels_is_the_mean_over_the_known_ones():
    head = Head("classes", "multi_label", ("a", "b", "c"))
    labels = np.array([[1, 0, -1], [-1, -1, -1], [0, 0, 1]])
    probabilities = np.array([[0.8, 0.4, 0.1], [0.5, 0.5, 0.5], [0.0, 1.0, 0.5]])
    found = example_scores(head, labels, probabilities)
    assert found[0] == pytest.approx((np.log(0.8) + np.log(0.6)) / 2, abs=1e-12)
    assert np.isnan(found[1])
    # A certain mistake costs log(1e-6), not infinity.
    expected = (np.log(1 - 1e-6) + np.log(1e-6) + np.log(0.5)) / 3
    assert found[2] == pytest.approx(expected, abs=1e-9)


def test_likelihood_of_exactly_one_class_is_that_of_the_true_one():
    head = Head("classes", "multi_class", ("a", "b", "c"))
    found = example_scores(head, np.array([[0, 1, 0]]), np.array([[0.2, 0.7, 0.1]]))
    assert found == pytest.approx([np.log(0.7)], abs=1e-12)


def test_numbers_count_in_standard_deviations():
    head = Head("values", "regression", ("price", "stars"), None, (0.0, 0.0), (10.0, 2.0))
    found = example_scores(head, np.array([[20.0, 4.0]]), np.array([[40.0, 3.0]]))
    assert found == pytest.approx([-(4.0 + 0.25) / 2], abs=1e-12)
