"""Agreement of the modalities against hand-computed distances."""

import keras
import numpy as np
import pytest

from mmlearn.losses.consistency import ConsistencyLoss, consistency


def predictions(count, num_classes=4):
    return list(np.random.default_rng(0).random((count, 3, num_classes)).astype("float32"))


def test_two_modalities_are_their_mean_squared_difference():
    first, second = predictions(2)
    expected = ((first - second) ** 2).mean(axis=1)
    np.testing.assert_allclose(consistency([first, second]), expected, atol=1e-7)


def test_three_modalities_are_the_mean_over_pairs():
    a, b, c = predictions(3)
    expected = np.mean([((x - y) ** 2).mean(1) for x, y in ((a, b), (a, c), (b, c))], axis=0)
    np.testing.assert_allclose(consistency([a, b, c]), expected, atol=1e-7)
    np.testing.assert_allclose(consistency([c, a, b]), expected, atol=1e-7)


def test_agreement_is_zero_and_opposition_is_one():
    ones = np.ones((2, 5), "float32")
    assert np.asarray(consistency([ones, ones])).tolist() == [0.0, 0.0]
    assert np.asarray(consistency([ones, 0 * ones])).tolist() == [1.0, 1.0]


def test_the_loss_is_the_weighted_mean_of_the_output_whatever_the_label():
    loss, output = ConsistencyLoss(), np.array([0.2, 0.4], "float32")
    for y_true in (np.zeros(2), np.ones(2)):
        assert float(loss(y_true, output)) == pytest.approx(0.3)
    assert float(loss(np.zeros(2), output, sample_weight=np.array([0.0, 1.0]))) == pytest.approx(
        0.2
    )


def test_config_round_trip():
    saved = keras.saving.serialize_keras_object(ConsistencyLoss(name="agree"))
    again = keras.saving.deserialize_keras_object(saved)
    assert isinstance(again, ConsistencyLoss)
    assert again.get_config() == ConsistencyLoss(name="agree").get_config()
