"""Attention across modalities against a numpy oracle, and what masks must not let through."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.layers.cross_attention import CrossAttention, cross_attention
from tests import checks

BATCH_SIZE, HEADS, QUERIES, KEYS, HEAD_DIM, VALUE_DIM = 3, 2, 4, 5, 6, 7


def oracle(query, key, value, mask=None):
    """Vaswani et al. (2017), equation 1, in float64; a fully masked row attends to nothing."""
    query, key, value = (x.astype("float64") for x in (query, key, value))
    logits = np.einsum("bhqd,bhkd->bhqk", query, key) / np.sqrt(query.shape[-1])
    scores = np.exp(logits - logits.max(-1, keepdims=True))
    if mask is not None:
        scores = scores * mask[:, None, None, :]
    total = scores.sum(-1, keepdims=True)
    scores = np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)
    return np.einsum("bhqk,bhkd->bhqd", scores, value), scores


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
def test_equals_the_numpy_oracle(tensors, mask, masked):
    mask = mask if masked else None
    for got, expected in zip(cross_attention(*tensors, mask), oracle(*tensors, mask), strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_scores_sum_to_one_and_masked_keys_are_exactly_zero(tensors, mask):
    _, scores = map(np.asarray, cross_attention(*tensors, mask))
    np.testing.assert_allclose(scores.sum(-1), 1.0, atol=1e-6)
    assert (scores[0, :, :, 3:] == 0.0).all()
    assert (scores[1, :, :, 0] == 0.0).all()
    assert (scores[2] > 0.0).all()


def test_a_row_without_keys_attends_to_nothing_and_stays_finite(tensors, mask):
    mask[1] = False
    attended, scores = map(np.asarray, cross_attention(*tensors, mask))
    assert (scores[1] == 0.0).all()
    assert (attended[1] == 0.0).all()
    assert np.isfinite(attended).all()
    np.testing.assert_allclose(scores[[0, 2]].sum(-1), 1.0, atol=1e-6)


def test_one_key_is_attended_to_whatever_the_query(tensors, mask):
    query, key, value = tensors
    attended, scores = cross_attention(query, key[:, :, :1], value[:, :, :1], mask[:, :1])
    expected = oracle(query, key[:, :, :1], value[:, :, :1], mask[:, :1])
    np.testing.assert_allclose(attended, expected[0], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(scores, expected[1])


def test_large_logits_stay_correct(tensors, mask):
    query, key, value = tensors
    query = query * 50
    np.testing.assert_allclose(
        cross_attention(query, key, value, mask)[1], oracle(query, key, value, mask)[1], atol=1e-4
    )


def test_masked_keys_and_values_change_nothing(tensors, mask):
    query, key, value = tensors
    hidden = np.float32(~mask[:, None, :, None])
    before = cross_attention(query, key, value, mask)
    after = cross_attention(query, key + 100 * hidden, value - 100 * hidden, mask)
    for first, second in zip(before, after, strict=True):
        np.testing.assert_array_equal(first, second)


def test_unmasking_a_key_changes_the_result(tensors, mask):
    before, _ = cross_attention(*tensors, mask)
    after, _ = cross_attention(*tensors, np.ones_like(mask))
    assert np.abs(np.asarray(after - before))[:2].max() > 1e-3


def test_permuting_keys_permutes_scores_and_keeps_the_result(tensors, mask):
    query, key, value = tensors
    order = np.random.default_rng(2).permutation(KEYS)
    attended, scores = cross_attention(query, key, value, mask)
    permuted = cross_attention(query, key[:, :, order], value[:, :, order], mask[:, order])
    np.testing.assert_allclose(permuted[0], attended, atol=1e-6)
    np.testing.assert_allclose(permuted[1], np.asarray(scores)[..., order], atol=1e-6)


def test_dropout_touches_the_result_but_not_the_reported_scores(tensors):
    attended, scores = cross_attention(*tensors, dropout=lambda scores: scores * 0)
    assert (np.asarray(attended) == 0).all()
    np.testing.assert_allclose(np.asarray(scores).sum(-1), 1.0, atol=1e-6)


def words_and_regions():
    random = np.random.default_rng(3)
    return random.normal(size=(2, 3, 6)), random.normal(size=(2, 4, 10))


def test_layer_is_projection_heads_attention_and_projection():
    layer = CrossAttention(hidden_dim=8, num_heads=2)
    words, regions = words_and_regions()
    mask = np.array([[True] * 4, [True, False, True, False]])
    attended, scores = layer(words, regions, mask)
    random = np.random.default_rng(4)
    layer.set_weights([random.normal(size=weight.shape) for weight in layer.get_weights()])
    attended, scores = layer(words, regions, mask)

    def project(dense, x):
        kernel, bias = dense.get_weights()
        return x @ kernel + bias

    def heads(dense, x):
        return project(dense, x).reshape(2, -1, 2, 4).transpose(0, 2, 1, 3)

    expected, expected_scores = oracle(
        heads(layer.query_dense, words),
        heads(layer.key_dense, regions),
        heads(layer.value_dense, regions),
        mask,
    )
    expected = project(layer.output_dense, expected.transpose(0, 2, 1, 3).reshape(2, 3, 8))
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    np.testing.assert_allclose(attended, expected, atol=1e-4)


def test_permuting_image_tokens_leaves_the_layer_unchanged():
    layer = CrossAttention(hidden_dim=8, num_heads=2)
    words, regions = words_and_regions()
    order = [2, 0, 3, 1]
    attended, scores = layer(words, regions)
    permuted, permuted_scores = layer(words, regions[:, order])
    np.testing.assert_allclose(permuted, attended, atol=1e-6)
    np.testing.assert_allclose(permuted_scores, np.asarray(scores)[..., order], atol=1e-6)


def test_dropout_acts_in_training_only():
    layer = CrossAttention(hidden_dim=8, num_heads=2, dropout=0.5)
    words, regions = words_and_regions()
    first, _ = layer(words, regions)
    second, _ = layer(words, regions)
    np.testing.assert_array_equal(first, second)
    trained, _ = layer(words, regions, training=True)
    assert np.abs(np.asarray(trained - first)).max() > 1e-3


def test_symbolic_shapes_are_eager_shapes():
    layer = CrossAttention(hidden_dim=8, num_heads=2)
    attended, scores = layer(
        keras.Input((3, 6)), keras.Input((4, 10)), keras.Input((4,), dtype="bool")
    )
    assert (attended.shape, scores.shape) == ((None, 3, 8), (None, 2, 3, 4))
    attended, scores = layer(*words_and_regions(), np.ones((2, 4), bool))
    assert (attended.shape, scores.shape) == ((2, 3, 8), (2, 2, 3, 4))


def test_mixed_precision_is_finite_even_with_every_key_masked():
    layer = CrossAttention(hidden_dim=8, num_heads=2, dtype="mixed_bfloat16")
    attended, scores = layer(*words_and_regions(), np.zeros((2, 4), bool))
    assert attended.dtype == "bfloat16"
    assert np.isfinite(np.asarray(keras.ops.cast(attended, "float32"))).all()
    assert (np.asarray(keras.ops.cast(scores, "float32")) == 0).all()


def test_gradients_reach_all_weights():
    layer = CrossAttention(hidden_dim=8, num_heads=2)
    checks.check_gradients(layer, lambda: layer(*words_and_regions())[0])


def test_config_round_trip():
    again = checks.check_layer_config(CrossAttention(hidden_dim=8, num_heads=2, dropout=0.3))
    assert (again.hidden_dim, again.num_heads, again.dropout) == (8, 2, 0.3)


def test_hidden_dim_must_be_divisible_by_num_heads():
    with pytest.raises(ValueError, match=r"divisible.*hidden_dim=100, num_heads=8"):
        CrossAttention(hidden_dim=100, num_heads=8)


def test_what_comes_out_does_not_train_the_scores_of_grounded_heads():
    random = np.random.default_rng(0)
    words, regions = random.normal(size=(2, 5, 8)), random.normal(size=(2, 9, 8))
    plain = CrossAttention(8, num_heads=2)
    plain(words, regions)
    layer = CrossAttention.from_config({**plain.get_config(), "grounded_heads": 1})
    layer.build(words.shape, regions.shape)
    layer.set_weights(plain.get_weights())
    for got, expected in zip(layer(words, regions), plain(words, regions), strict=True):
        np.testing.assert_array_equal(got, expected)
    names = ("query_dense", "key_dense", "value_dense")
    with tf.GradientTape() as tape:
        attended, _ = layer(words, regions)
        loss = tf.reduce_sum(attended**2)
    kernels = [getattr(layer, name).kernel.value for name in names]
    query, key, value = (np.abs(g.numpy()).sum(axis=0) for g in tape.gradient(loss, kernels))
    for gradient in (query, key):
        assert not gradient[:4].any() and gradient[4:].all()
    assert value.all()


@pytest.mark.parametrize("count", [-1, 3])
def test_there_are_no_more_grounded_heads_than_heads(count):
    with pytest.raises(ValueError, match=rf"in \[0, num_heads\]. Received: grounded_heads={count}"):
        CrossAttention(8, num_heads=2, grounded_heads=count)
