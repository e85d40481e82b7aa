"""Attention to keys and values that are kept."""

import keras
import numpy as np
import pytest

from mmlearn.layers.cached_attention import CachedAttention, causal_mask
from mmlearn.layers.cross_attention import CrossAttention
from tests import checks


def test_agrees_with_attention_that_keeps_nothing():
    random = np.random.default_rng(0)
    query = random.normal(size=(2, 3, 8)).astype("float32")
    value = random.normal(size=(2, 5, 6)).astype("float32")
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool)
    plain = CrossAttention(hidden_dim=8, num_heads=2)
    attended, scores = plain(query, value, mask)
    layer = CachedAttention(hidden_dim=8, num_heads=2)
    layer.build(query.shape, value.shape)
    layer.set_weights(plain.get_weights())
    found, found_scores = layer(query, layer.keys_and_values(value), mask)
    np.testing.assert_allclose(found, attended, atol=1e-6)
    np.testing.assert_allclose(found_scores, scores, atol=1e-6)


def test_no_position_sees_what_comes_after_it():
    words = np.random.default_rng(0).normal(size=(1, 4, 8)).astype("float32")
    layer = CachedAttention(hidden_dim=8, num_heads=2)
    layer.build(words.shape, words.shape)

    def run(words):
        return np.asarray(layer(words, layer.keys_and_values(words), causal_mask(4, 4))[0])

    changed = words.copy()
    changed[:, 2] += 1
    np.testing.assert_array_equal(run(changed)[:, :2], run(words)[:, :2])
    assert (run(changed)[:, 2:] != run(words)[:, 2:]).any(axis=(0, 2)).all()


@pytest.mark.parametrize("start", [0, 2, keras.ops.convert_to_tensor(2)])
def test_the_mask_begins_at_the_position_of_the_first_query(start):
    found = np.asarray(causal_mask(2, 5, start))
    expected = np.tril(np.ones((5, 5), bool))[int(start) : int(start) + 2]
    np.testing.assert_array_equal(found, expected[None])


def test_config():
    checks.check_layer_config(CachedAttention(hidden_dim=8, num_heads=2, dropout=0.3))
