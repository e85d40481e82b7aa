"""Losses of numbers against Keras' own of standardised ones."""

import json

import keras
import numpy as np
import pytest

from mmlearn.losses import regression

SCALES = [100.0, 0.5]
TARGETS = np.array([[300.0, 1.0], [100.0, 0.0], [-50.0, 2.0]], "float32")
VALUES = np.array([[250.0, 2.5], [130.0, 0.1], [-50.0, 1.0]], "float32")


@pytest.mark.parametrize("name", regression.LOSSES)
def test_it_is_the_loss_of_what_is_divided_by_the_deviations(name):
    expected = regression.LOSSES[name]()(TARGETS / SCALES, VALUES / SCALES)
    loss = regression.get(name, SCALES)
    assert float(loss(TARGETS, VALUES)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", regression.LOSSES)
def test_other_units_do_not_change_it(name):
    factors = np.array([1000.0, 0.01], "float32")
    loss, other = regression.get(name, SCALES), regression.get(name, SCALES * factors)
    expected = float(loss(TARGETS, VALUES))
    assert float(other(TARGETS * factors, VALUES * factors)) == pytest.approx(expected, rel=1e-5)


def test_huber_changes_at_one_standard_deviation():
    loss = regression.get("huber", [2.0])
    assert float(loss([[0.0]], [[1.0]])) == pytest.approx(0.5 * 0.5**2)
    assert float(loss([[0.0]], [[6.0]])) == pytest.approx(3 - 0.5)


def test_config_round_trip():
    loss = regression.get("huber", SCALES)
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(saved)
    assert float(again(TARGETS, VALUES)) == float(loss(TARGETS, VALUES))


def test_unknown_names_and_scales_are_refused():
    with pytest.raises(ValueError, match=r"Unknown loss of numbers 'focal'\. Known: mean_squared"):
        regression.get("focal", SCALES)
    with pytest.raises(ValueError, match=r"`scales` must be positive.*\[0\.0\]"):
        regression.get("huber", [0.0])
