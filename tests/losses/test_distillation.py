"""Distillation against its formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.losses import classification
from mmlearn.losses.distillation import DistillationLoss, distillation

RANDOM = np.random.default_rng(0)
SIGMOIDS = RANDOM.uniform(0.02, 0.98, (5, 3)).astype("float32")
STUDENT = RANDOM.uniform(0.02, 0.98, (5, 4)).astype("float32")


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def logit(p):
    return np.log(p / (1 - p))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_sigmoids_against_the_formula(temperature):
    t = sigmoid(logit(SIGMOIDS.astype("float64")) / temperature)
    s = sigmoid(logit(STUDENT[:, :3].astype("float64")) / temperature)
    cross_entropy = -(t * np.log(s) + (1 - t) * np.log(1 - s)).mean(1)
    entropy = -(t * np.log(t) + (1 - t) * np.log(1 - t)).mean(1)
    expected = temperature**2 * (cross_entropy - entropy)
    found = distillation(SIGMOIDS, STUDENT, "sigmoid", temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_softmax_against_the_formula_over_the_teachers_classes(temperature):
    teacher, student = (softmax(RANDOM.normal(size=(5, n)) * 2) for n in (3, 5))
    t = softmax(np.log(teacher) / temperature)
    s = softmax(np.log(student[:, :3]) / temperature)
    expected = temperature**2 * (t * np.log(t / s)).sum(1)
    found = distillation(
        teacher.astype("float32"), student.astype("float32"), "softmax", temperature
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_agreement_is_zero_and_its_gradient_too(activation):
    teacher = softmax(RANDOM.normal(size=(4, 3))).astype("float32")
    # New classes take from all old ones alike, which is no disagreement about these.
    student = np.hstack([teacher * 0.5, np.full((4, 1), 0.5, "float32")])
    student = tf.constant(student if activation == "softmax" else np.hstack([teacher, teacher]))
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = distillation(teacher, student, activation)
    np.testing.assert_allclose(value, np.zeros(4), atol=1e-6)
    np.testing.assert_allclose(tape.gradient(value, student), np.zeros(student.shape), atol=1e-5)


def test_the_gradient_is_that_of_the_cross_entropy_and_none_for_the_teacher():
    teacher, student = tf.constant(SIGMOIDS), tf.constant(STUDENT[:, :3])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([teacher, student])
        apart = tf.reduce_mean(distillation(teacher, student, "sigmoid"))
        cross_entropy = keras.losses.BinaryCrossentropy()(teacher, student)
    expected = tape.gradient(cross_entropy, student)
    np.testing.assert_allclose(tape.gradient(apart, student), expected, rtol=1e-3, atol=1e-5)
    assert tape.gradient(apart, teacher) is None


def test_certain_predictions_give_finite_numbers():
    ends = np.array([[0.0, 1.0]], "float32")
    for activation in ("sigmoid", "softmax"):
        assert np.isfinite(distillation(ends, 1 - ends, activation)).all()
        assert float(distillation(ends, 1 - ends, activation)[0]) > 5


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_rounded_probabilities_have_the_gradient_of_their_logits(activation):
    logits = tf.constant([[-200.0, 200.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        student = keras.activations.get(activation)(logits)
        value = distillation([[0.5, 0.5]], student, activation)
    scale = 0.25 if activation == "sigmoid" else 0.5  # mean over two classes, or the sum
    np.testing.assert_allclose(tape.gradient(value, logits), [[-scale, scale]], rtol=1e-4)


def test_the_loss_adds_both_and_survives_its_config():
    labels = (STUDENT > 0.5).astype("float32")
    plain = classification.get("cross_entropy", "sigmoid")
    loss = DistillationLoss(plain, 4, "sigmoid", weight=0.7, temperature=2.0)
    both = np.hstack([labels, SIGMOIDS])
    expected = plain(labels, STUDENT) + 0.7 * np.mean(
        distillation(SIGMOIDS, STUDENT, "sigmoid", 2.0)
    )
    assert float(loss(both, STUDENT)) == pytest.approx(float(expected), rel=1e-5)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(copy(both, STUDENT)) == float(loss(both, STUDENT))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"`temperature` must be positive\. Received: temp.*=0"):
        distillation(SIGMOIDS, STUDENT, "sigmoid", 0)
    with pytest.raises(ValueError, match=r"as its first ones\. Received: 3 and 4 classes"):
        distillation(STUDENT, SIGMOIDS, "sigmoid")
    with pytest.raises(ValueError, match=r"`weight` must not be negative\. Received: weight=-1"):
        DistillationLoss(keras.losses.BinaryCrossentropy(), 3, "sigmoid", -1)
