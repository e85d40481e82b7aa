"""One token per column: the formula of the paper, and the vector of what is missing."""

import numpy as np
import pytest

from mmlearn.layers.feature_tokenizer import FeatureTokenizer
from tests import checks


def test_tokens_are_those_of_the_formula():
    random = np.random.default_rng(0)
    layer = FeatureTokenizer(num_numbers=2, num_categories=[3, 2], hidden_dim=5)
    numbers = random.normal(size=(4, 2)).astype("float32")
    categories = np.stack([random.integers(0, 3, 4), random.integers(0, 2, 4)], axis=1)
    is_known = random.integers(0, 2, (4, 4))
    layer(is_known, numbers, categories)
    weights = [random.normal(size=w.shape).astype("float32") for w in layer.get_weights()]
    layer.set_weights(weights)
    biases, missing, kernel, embeddings = weights
    expected = np.zeros((4, 4, 5), "float32")
    for row in range(4):
        for column in range(2):
            expected[row, column] = numbers[row, column] * kernel[column]
        expected[row, 2] = embeddings[categories[row, 0]]
        expected[row, 3] = embeddings[3 + categories[row, 1]]
        expected[row, is_known[row] == 0] = missing[is_known[row] == 0]
    np.testing.assert_allclose(layer(is_known, numbers, categories), expected + biases, rtol=1e-6)
    again = checks.check_layer_config(layer)
    assert again(is_known, numbers, categories).shape == (4, 4, 5)


def test_no_columns_are_refused():
    with pytest.raises(ValueError, match=r"There must be a column.*num_numbers=0"):
        FeatureTokenizer(0, [], 8)
