"""The weights of the modalities that are there."""

import keras
import numpy as np
import pytest

from mmlearn import fusions
from mmlearn.fusions.fusion import average_predictions, weights_of_present, what_is_combined
from tests.fusions import oracles

WEIGHTS = np.array([[0.2, 0.3, 0.5]] * 4, "float32")


def test_absent_modalities_weigh_nothing_and_the_rest_sums_to_one():
    present = np.array([[1, 1, 1], [0, 1, 1], [0, 1, 0], [0, 0, 0]], bool)
    expected = [[0.2, 0.3, 0.5], [0.0, 0.375, 0.625], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5]]
    found = np.asarray(weights_of_present(WEIGHTS, present))
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert (found[[1, 2], 0] == 0).all()
    assert found[2, 1] == 1.0


def test_present_modalities_that_weigh_nothing_share_equally():
    found = weights_of_present(np.array([[1.0, 0.0, 0.0]]), np.array([[False, True, True]]))
    np.testing.assert_array_equal(found, [[0.0, 0.5, 0.5]])


def test_weights_in_16_bits_sum_to_one_all_the_same():
    weights = keras.ops.cast(WEIGHTS, "bfloat16")
    assert abs(float(keras.ops.sum(keras.ops.cast(weights, "float32")[0])) - 1) > 1e-4
    found = weights_of_present(weights, np.ones((4, 3), bool))
    assert found.dtype == "float32"
    np.testing.assert_allclose(np.asarray(found).sum(1), 1.0, atol=1e-6)


def test_what_a_fusion_combines_is_features_unless_it_says_so():
    class Plain(keras.layers.Layer):
        pass

    class Odd(keras.layers.Layer):
        combines = "prediction"

    assert what_is_combined(Plain()) == "features"
    with pytest.raises(ValueError, match=r"`combines` of Odd 'prediction'\. Did you mean 'predict"):
        what_is_combined(Odd())


def test_logits_of_labels_and_of_classes_are_averaged_and_numbers_as_they_are():
    random = np.random.default_rng(0)
    logits, weights = random.normal(size=(4, 3, 5)), WEIGHTS.astype("float64")
    mean = (weights[..., None] * logits).sum(1)
    labels = average_predictions(oracles.sigmoid(logits), weights, "sigmoid", "logits")
    np.testing.assert_allclose(labels, oracles.sigmoid(mean), atol=1e-6)
    classes = average_predictions(oracles.softmax(logits), weights, "softmax", "logits")
    np.testing.assert_allclose(classes, oracles.softmax(mean), atol=1e-6)
    for average in ("probabilities", "logits"):
        numbers = average_predictions(logits, weights, "linear", average)
        np.testing.assert_allclose(numbers, mean, atol=1e-6)


def test_a_modality_that_is_certain_leaves_the_average_of_logits_finite():
    predictions = np.array([[[0.0, 1.0], [0.5, 0.5]]], "float32")
    found = np.asarray(average_predictions(predictions, WEIGHTS[:1, :2], "sigmoid", "logits"))
    assert 0 < found[0, 0] < 0.2 and 0.8 < found[0, 1] < 1


@pytest.mark.parametrize("name", ["late", "hybrid"])
def test_another_average_is_refused(name):
    with pytest.raises(
        ValueError, match=r"value of `average` of .* 'logit'\. Did you mean 'logits'"
    ):
        fusions.get(name, average="logit")
