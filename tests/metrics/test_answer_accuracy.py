import numpy as np
import pytest

from mmlearn.metrics.answer_accuracy import AnswerAccuracy


def test_it_is_the_weighted_target_of_the_likeliest_answer():
    random = np.random.default_rng(0)
    targets = random.choice([0, 1 / 3, 2 / 3, 1], (90, 7))
    predicted, weights = random.random((90, 7)), random.uniform(0.5, 2.0, 90)
    metric = AnswerAccuracy()
    for rows in (slice(0, 40), slice(40, None)):
        metric.update_state(targets[rows], predicted[rows], sample_weight=weights[rows])
    of_best = [row[best] for row, best in zip(targets, predicted.argmax(axis=1), strict=True)]
    assert float(metric.result()) == pytest.approx(np.average(of_best, weights=weights), abs=1e-6)
    metric.reset_state()
    metric.update_state(targets, predicted)
    assert float(metric.result()) == pytest.approx(np.mean(of_best), abs=1e-6)


def test_it_is_rebuilt_from_its_config():
    assert AnswerAccuracy.from_config(AnswerAccuracy().get_config()).name == "accuracy"
