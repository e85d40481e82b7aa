"""Tokens times what they count, scaled to one length: against numpy."""

import keras
import numpy as np

from mmlearn.layers.masked_mean import masked_mean
from mmlearn.layers.token_weights import TokenWeights, weigh_tokens
from tests import checks


def batch():
    random = np.random.default_rng(0)
    features = random.normal(size=(3, 4, 5)).astype("float32")
    token_ids = random.integers(0, 7, (3, 4)).astype("int32")
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], "int32")
    return features, token_ids, mask


def test_the_mean_is_the_weighted_sum_over_the_length_of_the_weights():
    layer = TokenWeights(7)
    features, token_ids, mask = batch()
    layer(features, token_ids, mask)
    weights = np.arange(1.0, 8.0)
    layer.set_weights([weights])
    mean = np.asarray(masked_mean(layer(features, token_ids, mask), mask == 1))
    a = weights[token_ids] * mask
    expected = (a[..., None] * features).sum(1) / np.linalg.norm(a, axis=1)[:, None]
    np.testing.assert_allclose(mean, expected, rtol=1e-5)


def test_a_text_of_tokens_that_weigh_nothing_is_zero_and_has_a_gradient():
    import tensorflow as tf

    features, _, mask = batch()
    weights = tf.zeros((3, 4))
    with tf.GradientTape() as tape:
        tape.watch(weights)
        weighed = weigh_tokens(features, weights, mask == 1)
        total = tf.reduce_sum(weighed)
    np.testing.assert_array_equal(weighed, np.zeros((3, 4, 5)))
    assert np.isfinite(tape.gradient(total, weights)).all()


def test_keeps_the_contract_of_a_layer():
    layer, inputs = TokenWeights(7), batch()
    again = checks.check_layer_config(layer)
    assert again.vocabulary_size == 7
    ids, mask = (keras.Input((None,), dtype="int32") for _ in range(2))
    assert layer(keras.Input((None, 5)), ids, mask).shape == (None, None, 5)
    checks.check_gradients(layer, lambda: layer(*inputs))
    again.dtype_policy = "mixed_bfloat16"
    assert keras.backend.standardize_dtype(again(*inputs).dtype) == "bfloat16"


def test_padding_counts_for_nothing():
    features, token_ids, mask = batch()
    layer = TokenWeights(7)
    layer(features, token_ids, mask)
    layer.set_weights([np.arange(1.0, 8.0)])
    before = layer(features, token_ids, mask)
    hidden = mask == 0
    after = layer(np.where(hidden[..., None], 9.0, features), np.where(hidden, 6, token_ids), mask)
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(np.asarray(after)[hidden], 0.0)
