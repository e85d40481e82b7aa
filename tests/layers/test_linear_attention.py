"""Linear attention against its quadratic definition, and what masks must not let through."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.layers.linear_attention import LinearAttention, linear_attention
from tests import checks

BATCH_SIZE, HEADS, QUERIES, KEYS, HEAD_DIM, VALUE_DIM = 3, 2, 4, 5, 6, 7


def oracle(query, key, value, mask=None):
    """Katharopoulos et al. (2020), equation 4, with the matrix of weights, in float64."""

    def feature_map(x):
        return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))

    query, key, value = (x.astype("float64") for x in (query, key, value))
    weights = np.einsum("bhqd,bhkd->bhqk", feature_map(query), feature_map(key))
    if mask is not None:
        weights = weights * mask[:, None, None, :]
    total = weights.sum(-1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return np.einsum("bhqk,bhkd->bhqd", weights, value)


@pytest.fixture
def tensors():
    random = np.random.default_rng(1)
    return [
        random.normal(size=(BATCH_SIZE, HEADS, length, dim)).astype("float32")
        for length, dim in ((QUERIES, HEAD_DIM), (KEYS, HEAD_DIM), (KEYS, VALUE_DIM))
    ]


@pytest.fixture
def mask():
    mask = np.ones((BATCH_SIZE, KEYS), bool)
    mask[0, 3:] = mask[1, 0] = False
    return mask


@pytest.mark.parametrize("masked", [False, True])
def test_equals_its_quadratic_definition(tensors, mask, masked):
    mask = mask if masked else None
    attended, expected = linear_attention(*tensors, mask), oracle(*tensors, mask)
    assert attended.shape == expected.shape
    np.testing.assert_allclose(attended, expected, rtol=0, atol=1e-5)


def test_a_row_without_keys_gathers_nothing_and_has_a_finite_gradient(tensors, mask):
    mask[1] = False
    tensors = [tf.constant(tensor) for tensor in tensors]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        attended = linear_attention(*tensors, mask)
    assert (np.asarray(attended)[1] == 0).all()
    np.testing.assert_allclose(attended, oracle(*(t.numpy() for t in tensors), mask), atol=1e-5)
    for gradient in tape.gradient(attended, tensors):
        assert np.isfinite(gradient).all()
        assert (np.asarray(gradient)[1] == 0).all()


def test_a_query_that_its_feature_map_makes_nothing_stays_finite(tensors):
    query, key, value = tensors
    attended = np.asarray(linear_attention(query - 1000, key, value))
    assert (attended == 0).all()


def test_masked_keys_and_values_change_nothing(tensors, mask):
    query, key, value = tensors
    hidden = np.float32(~mask[:, None, :, None])
    before = linear_attention(query, key, value, mask)
    after = linear_attention(query, key + 100 * hidden, value - 100 * hidden, mask)
    np.testing.assert_array_equal(before, after)
    shown = linear_attention(query, key, value, np.ones_like(mask))
    assert np.abs(np.asarray(shown - before))[:2].max() > 1e-3


def test_permuting_keys_changes_nothing(tensors, mask):
    query, key, value = tensors
    order = np.random.default_rng(2).permutation(KEYS)
    permuted = linear_attention(query, key[:, :, order], value[:, :, order], mask[:, order])
    np.testing.assert_allclose(
        permuted, linear_attention(query, key, value, mask), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_thousands_of_keys_in_16_bits_lose_nothing(dtype):
    random = np.random.default_rng(3)
    shapes = ((1, 1, 16, 64), (1, 1, 4096, 64), (1, 1, 4096, 8))
    tensors = [random.normal(1.0, size=shape).astype("float32") for shape in shapes]
    rounded = [keras.ops.cast(tensor, dtype) for tensor in tensors]
    exact = oracle(*(np.asarray(keras.ops.cast(x, "float32")) for x in rounded))
    attended = np.asarray(keras.ops.cast(linear_attention(*rounded), "float32"))
    np.testing.assert_allclose(attended, exact, rtol=0.02)  # a number of bfloat16 has 8 bits
    # Of equal values the mean is that value, unless the sums above and below lose something.
    ones = keras.ops.ones_like(rounded[2])
    attended = np.asarray(keras.ops.cast(linear_attention(*rounded[:2], ones), "float32"))
    np.testing.assert_array_equal(attended, 1.0)


def words_and_regions():
    random = np.random.default_rng(3)
    return random.normal(size=(2, 3, 6)), random.normal(size=(2, 4, 10))


def test_layer_is_projection_heads_attention_and_projection():
    layer = LinearAttention(hidden_dim=8, num_heads=2)
    words, regions = words_and_regions()
    mask = np.array([[True] * 4, [True, False, True, False]])
    layer(words, regions, mask)
    random = np.random.default_rng(4)
    layer.set_weights([random.normal(size=weight.shape) for weight in layer.get_weights()])
    attended = layer(words, regions, mask)

    def project(dense, x):
        kernel, bias = dense.get_weights()
        return x @ kernel + bias

    def heads(dense, x):
        return project(dense, x).reshape(2, -1, 2, 4).transpose(0, 2, 1, 3)

    expected = oracle(
        heads(layer.query_dense, words),
        heads(layer.key_dense, regions),
        heads(layer.value_dense, regions),
        mask,
    )
    expected = project(layer.output_dense, expected.transpose(0, 2, 1, 3).reshape(2, 3, 8))
    np.testing.assert_allclose(attended, expected, rtol=0, atol=1e-4)


def test_symbolic_shape_gradients_and_config():
    layer = LinearAttention(hidden_dim=8, num_heads=2)
    inputs = keras.Input((3, 6)), keras.Input((4, 10)), keras.Input((4,), dtype="bool")
    assert layer(*inputs).shape == (None, 3, 8)
    checks.check_gradients(layer, lambda: layer(*words_and_regions()))
    again = checks.check_layer_config(layer)
    assert (again.hidden_dim, again.num_heads) == (8, 2)
    with pytest.raises(ValueError, match=r"divisible.*hidden_dim=100, num_heads=8"):
        LinearAttention(hidden_dim=100, num_heads=8)
