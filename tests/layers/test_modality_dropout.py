"""Modalities are dropped at the given rate, never all, never brought back."""

import keras
import numpy as np
import pytest

from mmlearn.layers.modality_dropout import ModalityDropout
from tests import checks

EVERYTHING = np.ones((20_000, 2), bool)


def test_one_modality_always_stays():
    kept = np.asarray(ModalityDropout(0.99, seed=0)(EVERYTHING, training=True))
    assert (kept.sum(axis=1) >= 1).all()
    assert (kept.sum(axis=1) == 1).mean() > 0.9


def test_an_absent_modality_is_never_brought_back():
    present = np.random.default_rng(0).integers(0, 2, (20_000, 3)).astype(bool)
    kept = np.asarray(ModalityDropout(0.6, seed=0)(present, training=True))
    assert not (kept & ~present).any()
    np.testing.assert_array_equal(kept.any(axis=1), present.any(axis=1))


def test_the_rate_is_honoured():
    # A modality goes when its draw is below the rate and the other one's is higher:
    # r^2 / 2 + r (1 - r) of the time.
    rate = 0.4
    kept = np.asarray(ModalityDropout(rate, seed=0)(EVERYTHING, training=True))
    np.testing.assert_allclose(1 - kept.mean(axis=0), rate**2 / 2 + rate * (1 - rate), atol=0.015)


@pytest.mark.parametrize(("rate", "training"), [(0.9, False), (0.0, True)])
def test_nothing_is_dropped_at_inference_or_without_a_rate(rate, training):
    kept = np.asarray(ModalityDropout(rate, seed=0)(EVERYTHING, training=training))
    assert kept.all()


def test_a_seed_makes_it_repeatable_but_not_constant():
    first, second = ModalityDropout(0.5, seed=7), ModalityDropout(0.5, seed=7)
    draws = [np.asarray(layer(EVERYTHING, training=True)) for layer in (first, second, first)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    other = np.asarray(ModalityDropout(0.5, seed=8)(EVERYTHING, training=True))
    assert (draws[0] != other).any()


def test_symbolic_shape_is_eager_shape():
    present = ModalityDropout(0.5)(keras.Input((2,), dtype="bool"))
    assert (present.shape, present.dtype) == ((None, 2), "bool")


def test_config_round_trip():
    again = checks.check_layer_config(ModalityDropout(0.3, seed=5))
    assert (again.rate, again.seed) == (0.3, 5)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
def test_a_rate_outside_the_range_is_refused(rate):
    with pytest.raises(ValueError, match=rf"`rate` must be in \[0, 1\).*rate={rate}"):
        ModalityDropout(rate)
