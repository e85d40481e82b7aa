"""Sum and maximum over the tokens, against NumPy."""

import keras
import numpy as np

from mmlearn.layers.sum_max_pooling import SumMaxPooling
from tests.fusions import oracles


def test_it_is_the_sum_and_the_largest_of_the_real_tokens():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, 5, 4)).astype("float32")
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    layer = SumMaxPooling()
    layer(features, mask)
    oracles.randomize(layer)
    found = np.asarray(layer(features, mask))
    answers = np.maximum(oracles.dense(layer.question, features), 0)
    for row, real in enumerate(mask):
        chosen = answers[row][real]
        total = chosen.sum(0) / np.sqrt(max(real.sum(), 1))
        largest = chosen.max(0) if len(chosen) else np.zeros(4)
        expected = oracles.dense(layer.output_dense, np.concatenate([total, largest])[None])
        np.testing.assert_allclose(found[row], expected[0], atol=1e-5)


def test_two_of_a_kind_are_told_from_one_where_a_mean_over_copies_is_not():
    one = np.array([[[1.0, 0.0], [0.0, 1.0]]], "float32")
    two = np.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]], "float32")
    np.testing.assert_array_equal(one.mean(1), two.mean(1))
    keras.utils.set_random_seed(0)
    layer = SumMaxPooling()
    pooled = [np.asarray(layer(x, np.ones(x.shape[:2], bool))) for x in (one, two)]
    assert np.abs(pooled[0] - pooled[1]).max() > 1e-3
