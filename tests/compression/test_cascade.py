"""A cascade answers as its first modality or as the full model does, row by row."""

import numpy as np
import pytest

from mmlearn.compression.cascade import Cascade
from mmlearn.evaluation.cascade import confidence
from tests import toys


@pytest.fixture(scope="module")
def task():
    return toys.classifier()


@pytest.fixture
def inputs(task):
    x, _ = toys.examples(6)
    x["text"][2] = ""
    return task.read_inputs(x)


@pytest.mark.large
def test_each_row_is_answered_by_one_of_the_two(task, inputs):
    outputs = task.predict_on_batch(inputs)
    first, full = outputs["text_classes"], outputs["classes"]
    sure = confidence("multi_label", first)
    cascade = Cascade(task, "text", threshold=float(np.sort(sure[[0, 1, 3, 4, 5]])[2]))
    answers, is_early = cascade.predict(inputs)
    assert is_early.sum() == 3
    assert not is_early[2]  # without a text, the text does not answer
    np.testing.assert_array_equal(is_early, (sure >= cascade.threshold) & (np.arange(6) != 2))
    np.testing.assert_allclose(answers[is_early], first[is_early], atol=1e-6)
    np.testing.assert_allclose(answers[~is_early], full[~is_early], atol=1e-6)
    cascade.threshold = np.inf
    np.testing.assert_allclose(cascade.predict(inputs)[0], full, atol=1e-6)


def test_a_fusion_that_averages_predictions_has_them_all(inputs):
    task = toys.classifier(fusion="late")
    expected = task.predict_on_batch(inputs)["classes"]
    answers, _ = Cascade(task, "images", threshold=np.inf).predict(inputs)
    np.testing.assert_allclose(answers, expected, atol=1e-6)


def test_one_modality_alone_has_no_cascade():
    with pytest.raises(ValueError, match=r"no head of 'images' alone. Fix: a model of several"):
        Cascade(toys.classifier(("images",)), "images", 0.5)


def test_numbers_have_no_confidence():
    with pytest.raises(ValueError, match=r"a regressor does not say how sure it is. Fix"):
        confidence("regression", np.ones((2, 1)))
    assert confidence("multi_class", np.array([[0.2, 0.8]])).tolist() == [0.8]
