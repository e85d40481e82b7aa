"""Learned weights of losses against hand-computed ones."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.losses.uncertainty import UncertaintyLoss, by_uncertainty

Y = np.array([[1.0], [0.0], [1.0]], "float32")
P = np.array([[0.8], [0.4], [0.3]], "float32")
WEIGHTS = np.array([1.0, 0.0, 3.0], "float32")


def test_both_terms_count_by_the_weights_of_the_examples():
    loss = UncertaintyLoss(keras.losses.BinaryCrossentropy(), lambda: tf.constant(0.7))
    each = -np.log([0.8, 0.6, 0.3])
    expected = WEIGHTS * (np.exp(-0.7) * each + 0.35)
    found = float(loss(Y, P, sample_weight=WEIGHTS))
    assert found == pytest.approx(expected.sum() / 3, rel=1e-5)


def test_the_best_variance_is_twice_the_loss():
    s = np.linspace(-3, 3, 6001)
    losses = np.asarray(by_uncertainty(0.4, tf.constant(s)))
    assert np.exp(s[losses.argmin()]) == pytest.approx(0.8, rel=2e-3)


def test_the_loss_of_a_sigmoid_still_sees_its_logits():
    logits = tf.constant([[-60.0]])  # the probability is rounded to 0, and its logarithm is clipped
    loss = UncertaintyLoss(keras.losses.BinaryCrossentropy(), lambda: 0.0)
    assert float(loss(tf.ones((1, 1)), keras.activations.sigmoid(logits))) == pytest.approx(60.0)


def test_config_round_trip_leaves_the_variance_to_who_loads_it():
    loss = UncertaintyLoss("mean_squared_error", lambda: tf.constant(0.2))
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(saved)
    assert again.get_log_variance is None
    again.get_log_variance = loss.get_log_variance
    assert float(again(Y, P)) == float(loss(Y, P))
