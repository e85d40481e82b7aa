"""The decoder, all words at once and one after the other."""

import keras
import numpy as np
import pytest

from mmlearn.layers.text_decoder import TextDecoder
from tests import checks

LENGTH = 6


def decoder(**options):
    return TextDecoder(9, LENGTH, **{"hidden_dim": 8, "num_heads": 2, **options})


@pytest.fixture
def inputs():
    random = np.random.default_rng(0)
    token_ids = random.integers(1, 9, (2, LENGTH))
    memory = random.normal(size=(2, 4, 3)).astype("float32")
    return token_ids, memory, np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)


def test_one_after_the_other_is_as_all_at_once(inputs):
    token_ids, memory, mask = inputs
    layer = decoder()
    logits, scores = layer(token_ids, memory, mask)
    kept, cache = layer.read_memory(memory), layer.new_cache(2, LENGTH)
    for place in range(LENGTH):
        last = keras.ops.convert_to_tensor(token_ids[:, place : place + 1])
        found, found_scores, cache = layer.step(last, kept, mask, cache, place)
        np.testing.assert_allclose(found[:, 0], logits[:, place], atol=1e-5)
        np.testing.assert_allclose(found_scores[:, :, :, 0], scores[:, :, :, place], atol=1e-6)


def test_later_words_and_masked_regions_change_nothing(inputs):
    token_ids, memory, mask = inputs
    layer = decoder()
    logits, scores = (np.asarray(each) for each in layer(token_ids, memory, mask))
    assert logits.shape == (2, LENGTH, 9)
    assert scores.shape == (2, 2, 2, LENGTH, 4)
    later = token_ids.copy()
    later[:, 3:] = 1 + later[:, 3:] % 8
    changed = np.asarray(layer(later, memory, mask)[0])
    np.testing.assert_array_equal(changed[:, :3], logits[:, :3])
    assert np.abs(changed[:, 3:] - logits[:, 3:]).max() > 1e-3
    hidden = memory + 100 * ~mask[..., None]
    np.testing.assert_array_equal(layer(token_ids, hidden, mask)[0], logits)
    assert np.abs(layer(token_ids, memory + [1, 0, 0], mask)[0] - logits).max() > 1e-3


def test_an_image_without_regions_is_no_nan(inputs):
    token_ids, memory, mask = inputs
    logits, scores = decoder()(token_ids, memory, np.zeros_like(mask))
    assert np.isfinite(logits).all()
    assert not np.any(scores)


def test_config_weights_and_gradients(inputs):
    layer = decoder(num_layers=1, dropout=0.0)
    logits, _ = layer(*inputs)
    again = checks.check_layer_config(layer)
    again(*inputs)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(*inputs)[0], logits)
    checks.check_gradients(layer, lambda: layer(*inputs)[0])


def test_mixed_precision_has_float32_logits(inputs):
    logits, _ = decoder(dtype="mixed_bfloat16")(*inputs, training=True)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(logits).all()
