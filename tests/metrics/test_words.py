"""Metrics of tokens."""

import numpy as np
from scipy.special import log_softmax

from mmlearn.metrics.words import Perplexity, WordAccuracy


def test_all_tokens_count_alike_over_batches():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4, 3, 5)).astype("float32")
    y = np.array([[1, 2, 3], [0, -1, -1], [4, 4, -1], [-1, -1, -1]])
    weights = np.array([1.0, 1.0, 0.0, 1.0], "float32")
    counted = (y >= 0) & (weights[:, None] > 0)
    values = log_softmax(logits, axis=-1)
    perplexity, accuracy = Perplexity(), WordAccuracy()
    for part in (slice(0, 2), slice(2, 4)):
        for metric in (perplexity, accuracy):
            metric.update_state(y[part], logits[part], weights[part])
    own = np.take_along_axis(values, np.maximum(y, 0)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(perplexity.result(), np.exp(-own[counted].mean()), rtol=1e-5)
    right = values.argmax(axis=-1) == y
    np.testing.assert_allclose(accuracy.result(), right[counted].mean(), rtol=1e-6)


def test_without_weights_all_texts_count():
    metric = WordAccuracy()
    metric.update_state([[1], [0]], [[[0.0, 1.0]], [[0.0, 1.0]]])
    assert float(metric.result()) == 0.5
