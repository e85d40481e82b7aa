"""The loss of texts."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from mmlearn.losses.words import WordLoss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sums_over_the_tokens_of_each_text(smoothing):
    random = np.random.default_rng(0)
    logits = random.normal(size=(3, 4, 5)).astype("float32")
    y = np.array([[1, 2, 3, 4], [0, 4, -1, -1], [-1, -1, -1, -1]])
    loss = WordLoss(smoothing, reduction="none")
    found = loss(y, logits)
    target = np.eye(5)[np.maximum(y, 0)] * (1 - smoothing) + smoothing / 5
    expected = -(target * log_softmax(logits, axis=-1)).sum(axis=-1) * (y >= 0)
    np.testing.assert_allclose(found, expected.sum(axis=1), rtol=1e-5)
    weighted = WordLoss(smoothing)(y, logits, sample_weight=[1.0, 0.0, 1.0])
    np.testing.assert_allclose(weighted, expected[0].sum() / 3, rtol=1e-5)


def test_config():
    saved = keras.saving.serialize_keras_object(WordLoss(0.2))
    assert keras.saving.deserialize_keras_object(saved).label_smoothing == 0.2
