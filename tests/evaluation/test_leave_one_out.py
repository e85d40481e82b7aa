"""What is lost without a modality is what is predicted when it is absent."""

import numpy as np
import pytest
import tensorflow as tf

from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.evaluation.leave_one_out import leave_one_out
from tests import toys


def test_without_a_modality_is_as_if_it_were_absent():
    task = toys.classifier()
    x, y = toys.examples(7)
    y[0], y[1] = 0, 1  # every class has a positive and a negative
    scores, without = leave_one_out(task, tf.data.Dataset.from_tensor_slices((x, y)).batch(3))
    assert set(scores) == {"without_images", "without_text"}
    for absent, there in (("images", "text"), ("text", "images")):
        expected = multilabel_metrics(y, task.predict({there: x[there]}, verbose=0))
        assert scores[f"without_{absent}"] == pytest.approx(expected, abs=1e-5)
        values, known = without[f"without_{absent}"]
        assert multilabel_metrics(y[known], values) == scores[f"without_{absent}"]


def test_a_single_modality_cannot_be_left_out():
    task = toys.classifier(("text",), fusion="concat")
    x, y = toys.examples(2)
    dataset = tf.data.Dataset.from_tensor_slices(({"text": x["text"]}, np.asarray(y))).batch(2)
    assert leave_one_out(task, dataset) == ({}, {})


@pytest.mark.parametrize(
    "fusion", ["cross_attention", pytest.param("late", marks=pytest.mark.large)]
)
def test_rows_that_have_nothing_else_do_not_count(fusion):
    task = toys.classifier(fusion=fusion)
    x, y = toys.examples(8)
    x["images"] = [*x["images"][:5], None, None, None]
    y[:5] = y[0] = 1, 0, 1  # so that classes have positives among the first
    inputs = {n: np.asarray(v) for n, v in task.preprocessor(task.preprocessor.read_raw(x)).items()}
    scores, without = leave_one_out(task, tf.data.Dataset.from_tensor_slices((inputs, y)).batch(3))
    assert scores["without_images"]["num_examples"] == 8
    assert scores["without_text"]["num_examples"] == without["without_text"][1].sum() == 5
    first = {n: v[:5] for n, v in inputs.items()}
    alone, _ = leave_one_out(task, tf.data.Dataset.from_tensor_slices((first, y[:5])).batch(5))
    assert scores["without_text"] == pytest.approx(alone["without_text"], nan_ok=True)
