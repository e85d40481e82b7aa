"""Labels that are not known teach nothing, whatever the loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.losses import classification
from mmlearn.losses.known_labels import KnownLabels

Y = np.array([[1.0, 0.0, -1.0], [-1.0, 1.0, -1.0], [0.0, 1.0, 1.0], [-1, -1, -1]], "float32")
P = np.array([[0.9, 0.3, 0.4], [0.2, 0.6, 0.99], [0.3, 0.2, 0.7], [0.5, 0.5, 0.5]], "float32")
NAMES = sorted(classification.LOSSES)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_an_example_is_that_of_the_classes_it_knows(name):
    plain = classification.get(name, "sigmoid", 0.1)
    expected = [
        float(plain(y[y >= 0][None], p[y >= 0][None])) for y, p in zip(Y[:3], P[:3], strict=True)
    ]
    found = KnownLabels(plain).call(Y, keras.ops.convert_to_tensor(P))
    np.testing.assert_allclose(found, [*expected, 0.0], rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_labels_get_no_gradient_and_known_ones_do(name):
    p = tf.constant(P)
    loss = classification.known_only(classification.get(name, "sigmoid"), "sigmoid")
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = loss(Y, p)
    gradient = tape.gradient(value, p).numpy()
    assert not gradient[Y < 0].any()
    assert (gradient[Y > 0] < 0).all()


def test_a_saturated_prediction_of_an_unknown_label_has_no_gradient_either():
    p = tf.constant([[0.0, 1.0, 0.5]])
    loss = KnownLabels(classification.get("asymmetric", "sigmoid"))
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = loss([[-1.0, -1.0, 1.0]], p)
    gradient = tape.gradient(value, p).numpy()
    assert gradient[0, :2].tolist() == [0, 0]
    assert np.isfinite(gradient).all()


def test_rounded_probabilities_have_the_gradient_of_their_logits():
    logits = tf.constant([[-60.0, 60.0]])
    for loss in (KnownLabels(keras.losses.BinaryCrossentropy()), keras.losses.BinaryCrossentropy()):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(np.array([[1.0, 0.0]]), keras.activations.sigmoid(logits))
        np.testing.assert_allclose(tape.gradient(value, logits), [[-0.5, 0.5]], rtol=1e-6)


def test_a_broken_label_is_not_taken_for_an_unknown_one():
    loss = KnownLabels(classification.get("cross_entropy", "sigmoid"))
    assert np.isnan(float(loss([[np.nan, 1.0]], P[:1, :2])))


def test_of_a_softmax_every_label_is_known():
    loss = classification.get("cross_entropy", "softmax")
    assert classification.known_only(loss, "softmax") is loss


def test_it_survives_its_config():
    loss = KnownLabels(classification.get("focal", "sigmoid", 0.1))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(copy(Y, P)) == float(loss(Y, P))
