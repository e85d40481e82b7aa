"""The losses of classes against their formulas."""

import keras
import numpy as np
import pytest

from mmlearn.losses import classification
from mmlearn.losses.asymmetric import AsymmetricLoss

Y = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], "float32")
P = np.array([[0.9, 0.03, 0.4], [0.2, 0.6, 0.99]], "float32")


def test_asymmetric_loss_is_its_formula():
    shifted = np.maximum(P - 0.05, 0)
    expected = -(Y * (1 - P) ** 1.5 * np.log(P) + (1 - Y) * shifted**4 * np.log(1 - shifted)).mean(
        axis=1
    )
    loss = AsymmetricLoss(positive_focus=1.5)
    np.testing.assert_allclose(loss.call(Y, keras.ops.convert_to_tensor(P)), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(Y, P), expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_without_focus_and_margin_it_is_cross_entropy(smoothing):
    loss = AsymmetricLoss(0, 0, 0, label_smoothing=smoothing)
    expected = classification.get("cross_entropy", "sigmoid", smoothing)(Y, P)
    np.testing.assert_allclose(loss(Y, P), expected, rtol=1e-5)


def test_an_absent_label_below_the_margin_costs_nothing():
    loss = AsymmetricLoss(margin=0.1)
    assert float(loss(np.zeros((1, 2)), np.full((1, 2), 0.09))) == pytest.approx(0, abs=1e-12)


def test_its_gradient_is_finite_at_the_ends():
    tf = pytest.importorskip("tensorflow")
    p = tf.constant([[0.0, 1.0, 0.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = AsymmetricLoss(negative_focus=0.5)([[0.0, 0.0, 1.0, 1.0]], p)
    assert np.isfinite(tape.gradient(value, p)).all()


@pytest.mark.parametrize("name", sorted(classification.LOSSES))
def test_each_loss_survives_its_config(name):
    loss = classification.get(name, "sigmoid", 0.1)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(copy(Y, P)) == float(loss(Y, P))


def test_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"Unknown loss 'hinge'\. Known: cross_entropy, focal"):
        classification.get("hinge", "sigmoid")
    with pytest.raises(ValueError, match="is for examples with several labels, and the head has"):
        classification.get("asymmetric", "softmax")
    with pytest.raises(ValueError, match=r"`margin` must be in \[0, 1\)"):
        AsymmetricLoss(margin=1.0)
    with pytest.raises(ValueError, match="must not be negative"):
        AsymmetricLoss(negative_focus=-1.0)
