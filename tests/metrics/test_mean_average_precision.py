"""The streaming metric against scikit-learn's exact one."""

import keras
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mmlearn.metrics.mean_average_precision import MeanAveragePrecision


def scores(count=500, num_classes=5, seed=0, shift=0):
    """Labels, and probabilities that know something of them; `shift` moves their logits."""
    random = np.random.default_rng(seed)
    labels = (random.random((count, num_classes)) < 0.2).astype("float32")
    logits = 3 * random.normal(size=labels.shape) + 3 * labels + shift
    return labels, (1 / (1 + np.exp(-logits))).astype("float32")


def exact(labels, probabilities):
    columns = [c for c in range(labels.shape[1]) if labels[:, c].any()]
    return np.mean([average_precision_score(labels[:, c], probabilities[:, c]) for c in columns])


def measure(labels, probabilities, sample_weight=None, **kwargs):
    metric = MeanAveragePrecision(labels.shape[1], **kwargs)
    metric.update_state(labels, probabilities, sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("seed", range(4))
def test_differs_little_from_scikit_learn(seed):
    labels, probabilities = scores(seed=seed)
    assert measure(labels, probabilities) == pytest.approx(exact(labels, probabilities), abs=2e-3)


@pytest.mark.parametrize("shift", [-7, 5])
def test_probabilities_near_zero_and_one_are_told_apart(shift):
    labels, probabilities = scores(shift=shift)
    assert measure(labels, probabilities) == pytest.approx(exact(labels, probabilities), abs=2e-3)


def test_unknown_labels_do_not_count():
    labels, probabilities = scores()
    partly, rows = labels.copy(), np.arange(0, 500, 3)
    partly[rows, 1:3] = -1
    partly[:, 4] = -1
    known = np.delete(np.arange(500), rows)
    values = [exact(labels[:, [c]], probabilities[:, [c]]) for c in (0, 3)]
    values += [exact(labels[known][:, [c]], probabilities[known][:, [c]]) for c in (1, 2)]
    assert measure(partly, probabilities) == pytest.approx(np.mean(values), abs=2e-3)


def test_equal_scores_are_tied_as_in_scikit_learn():
    labels, _ = scores()
    constant = np.full_like(labels, 0.3)
    assert measure(labels, constant) == pytest.approx(labels.mean(), abs=1e-6)
    assert measure(labels, constant) == pytest.approx(exact(labels, constant), abs=1e-6)


def test_perfect_and_saturated_scores():
    labels, _ = scores()
    assert measure(labels, labels) == pytest.approx(1.0)
    assert measure(labels, 1 - labels) == pytest.approx(exact(labels, 1 - labels), abs=1e-6)


def test_classes_without_a_positive_are_left_out():
    labels, probabilities = scores()
    labels[:, 1] = 0
    assert measure(labels, probabilities) == pytest.approx(exact(labels, probabilities), abs=2e-3)
    assert measure(0 * labels, probabilities) == 0.0


def test_rows_of_weight_zero_do_not_count():
    labels, probabilities = scores()
    weight = (np.arange(len(labels)) % 3 > 0).astype("float32")
    kept = weight > 0
    value = measure(labels, probabilities, weight)
    assert value == pytest.approx(measure(labels[kept], probabilities[kept]), abs=1e-6)
    assert value != pytest.approx(measure(labels, probabilities), abs=1e-4)


def test_accumulates_over_batches_and_starts_anew():
    labels, probabilities = scores()
    metric = MeanAveragePrecision(labels.shape[1])
    for start in range(0, len(labels), 64):
        metric.update_state(labels[start : start + 64], probabilities[start : start + 64])
    assert float(metric.result()) == pytest.approx(measure(labels, probabilities), abs=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0.0
    metric.update_state(labels[:100], probabilities[:100])
    assert float(metric.result()) == pytest.approx(measure(labels[:100], probabilities[:100]))


def test_more_bins_are_more_exact():
    labels, probabilities = scores(2000)
    coarse, fine = (
        abs(measure(labels, probabilities, num_bins=bins) - exact(labels, probabilities))
        for bins in (10, 2000)
    )
    assert fine < coarse


def test_config_round_trip():
    metric = MeanAveragePrecision(5, num_bins=100, name="map")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(again, MeanAveragePrecision)
    assert again.get_config() == metric.get_config()
    assert (again.num_classes, again.num_bins, again.name) == (5, 100, "map")
