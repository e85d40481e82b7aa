"""Another domain is compared over what both data sets have."""

from types import SimpleNamespace

import numpy as np
import pytest

from mmlearn.experiments.robustness import compare_domains
from mmlearn.models.head import Head


def task_of(*heads):
    return SimpleNamespace(described={head.name: head for head in heads}, main_output=heads[0].name)


TASK = task_of(Head("classes", "multi_label", ("a", "b", "c")))


def test_only_classes_with_a_positive_in_both_count():
    labels = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]])
    right = labels * 0.8 + 0.1
    # The other data say nothing about b, and have no c; a is ranked second of four.
    other = np.array([[1, -1, 0], [0, -1, 0], [0, -1, 0], [0, -1, 0]])
    second = np.array([[0.5, 0, 0], [0.9, 0, 0], [0.1, 0, 0], [0.2, 0, 0]])
    found = compare_domains(TASK, (labels, right), (other, second), num_resamples=50)
    assert found["num_columns"] == 1
    assert found["own"]["score"]["value"] == 1.0
    assert found["own"]["chance"] == 0.5
    assert found["other"]["score"]["value"] == 0.5
    assert found["other"]["chance"] == 0.25
    assert found["relative"]["value"] == 0.5
    assert found["relative"]["low"] <= 0.5 <= found["relative"]["high"]


def test_without_a_common_class_there_is_nothing_to_compare():
    labels = np.array([[1, 0, 0]])
    with pytest.raises(ValueError, match=r"No class has a positive in both.*Fix: --domain.source"):
        compare_domains(TASK, (labels, labels), (labels[:, ::-1], labels))


def test_numbers_are_compared_by_r2_with_the_mean_as_chance():
    task = task_of(Head("values", "regression", ("price",)))
    targets = np.array([[1.0], [3.0], [5.0]])
    found = compare_domains(task, (targets, targets), (targets + 2, targets), num_resamples=20)
    assert found["score"] == "R2"
    assert found["own"]["score"]["value"] == 1.0
    assert found["other"]["score"]["value"] == pytest.approx(1 - 12 / 8)
    assert found["other"]["chance"] == 0.0
