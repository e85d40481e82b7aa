"""Agreement of the modalities against hand-computed distances."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.spatial import distance

from mmlearn.losses.consistency import (
    CONSISTENCIES,
    ConsistencyLoss,
    consistency,
    consistency_contrast,
)
from mmlearn.losses.contrastive import image_text_contrast

OF_PREDICTIONS = [kind for kind in CONSISTENCIES if kind != "contrastive"]


def predictions(count, num_classes=4):
    return list(np.random.default_rng(0).random((count, 3, num_classes)).astype("float32"))


def test_two_modalities_are_their_mean_squared_difference():
    first, second = predictions(2)
    expected = ((first - second) ** 2).mean(axis=1)
    np.testing.assert_allclose(consistency([first, second]), expected, atol=1e-7)


@pytest.mark.parametrize("kind", OF_PREDICTIONS)
def test_three_modalities_are_the_mean_over_pairs(kind):
    a, b, c = predictions(3)
    pairs = [consistency([x, y], kind) for x, y in ((a, b), (a, c), (b, c))]
    np.testing.assert_allclose(consistency([a, b, c], kind), np.mean(pairs, axis=0), atol=1e-6)
    np.testing.assert_allclose(consistency([c, a, b], kind), np.mean(pairs, axis=0), atol=1e-6)


def test_agreement_is_zero_and_opposition_is_one():
    ones = np.ones((2, 5), "float32")
    assert np.asarray(consistency([ones, ones])).tolist() == [0.0, 0.0]
    assert np.asarray(consistency([ones, 0 * ones])).tolist() == [1.0, 1.0]


def test_the_divergence_of_sigmoids_is_that_of_both_outcomes_of_each_class():
    first, second = predictions(2)
    p, q = np.stack([first, 1 - first]), np.stack([second, 1 - second])
    expected = (stats.entropy(p, q) + stats.entropy(q, p)).mean(axis=1) / 2
    found = consistency([first, second], "kl", "sigmoid")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(consistency([second, first], "kl"), expected, rtol=1e-5)


def test_the_divergence_of_a_softmax_is_that_of_the_classes():
    p, q = (values / values.sum(axis=1, keepdims=True) for values in predictions(2))
    expected = (stats.entropy(p.T, q.T) + stats.entropy(q.T, p.T)) / 2
    np.testing.assert_allclose(consistency([p, q], "kl", "softmax"), expected, rtol=1e-5)


def test_cosine_is_one_minus_that_of_the_vectors():
    first, second = predictions(2)
    expected = [distance.cosine(a, b) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(consistency([first, second], "cosine"), expected, rtol=1e-4)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("kind", OF_PREDICTIONS)
def test_same_predictions_agree_exactly_also_at_0_and_1(kind, activation):
    for values in (predictions(1)[0], np.eye(3, 4, dtype="float32"), np.zeros((3, 4), "float32")):
        assert np.asarray(consistency([values, values], kind, activation)).tolist() == [0.0] * 3


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("kind", OF_PREDICTIONS)
def test_certain_and_opposed_predictions_have_a_finite_value_and_gradient(kind, activation):
    first = tf.constant([[1.0, 0.0], [0.0, 0.0]])
    second = tf.constant([[0.0, 1.0], [1.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch([first, second])
        apart = consistency([first, second], kind, activation)
    assert np.isfinite(apart).all()
    assert (np.asarray(apart) > 0).all()
    for gradient in tape.gradient(apart, [first, second]):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_logits_that_keras_remembers_say_more_than_rounded_probabilities(activation):
    logits = [tf.constant([[40.0, -40.0]]), tf.constant([[-60.0, 60.0]])]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        first, second = (getattr(keras.activations, activation)(values) for values in logits)
        apart = consistency([first, second], "kl", activation)
    # Certain of the opposite: half of both distances of the log-odds.
    expected = {"sigmoid": 50.0, "softmax": 100.0}[activation]
    assert float(apart[0]) == pytest.approx(expected, rel=1e-5)
    for gradient in tape.gradient(apart, logits):
        assert np.abs(gradient).min() > 0.1


def unit(count, dim=5):
    vectors = np.random.default_rng(1).normal(size=(count, 4, dim)).astype("float32")
    return list(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def test_contrast_is_a_cross_entropy_over_the_examples_that_have_both():
    first, second = unit(2)
    present = np.array([[1, 1], [1, 1], [1, 0], [1, 1]], bool)
    rows = np.arange(4)
    found = consistency_contrast([first, second], rows, [first, second], (rows, present), 10.0)
    for row in (0, 1, 3):  # that without a text counts nothing, and is no negative
        others = [0, 1, 3]
        place = others.index(row)
        logits = 10 * first[[row]] @ second[others].T, 10 * second[[row]] @ first[others].T
        expected = np.mean([np.log(np.exp(x).sum()) - x[0, place] for x in logits])
        assert float(found[row]) == pytest.approx(expected, rel=1e-4)


def test_contrast_of_three_modalities_is_the_mean_over_pairs():
    embeddings, rows = unit(3), np.arange(4)
    keys = (rows, np.ones((4, 3), bool))
    found = consistency_contrast(embeddings, rows, embeddings, keys, 5.0)
    all_rows = (rows, rows, np.ones(4, bool))
    expected = [
        image_text_contrast(a, b, (rows, rows), a, b, all_rows, 5.0)
        for a, b in ((embeddings[0], embeddings[1]), (embeddings[0], embeddings[2]), embeddings[1:])
    ]
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-5)


def test_contrast_is_none_of_the_predictions():
    with pytest.raises(ValueError, match=r"Received: kind='contrastive'\. Fix:"):
        consistency(predictions(2), "contrastive")


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
