"""The mean of real tokens against numpy."""

import numpy as np

from mmlearn.layers.masked_mean import masked_mean


def batch():
    features = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
    mask = np.array([[True, True, True, True], [True, False, True, False], [False] * 4])
    return features, mask


def test_averages_the_real_tokens():
    features, mask = batch()
    pooled = np.asarray(masked_mean(features, mask))
    np.testing.assert_allclose(pooled[0], features[0].mean(0), atol=1e-6)
    np.testing.assert_allclose(pooled[1], features[1, [0, 2]].mean(0), atol=1e-6)


def test_is_zero_where_nothing_is_real():
    assert (np.asarray(masked_mean(*batch()))[2] == 0.0).all()


def test_padded_tokens_change_nothing():
    features, mask = batch()
    changed = np.where(mask[..., None], features, 1e6).astype("float32")
    np.testing.assert_array_equal(masked_mean(changed, mask), masked_mean(features, mask))


def test_the_order_of_tokens_does_not_matter():
    features, mask = batch()
    order = [3, 1, 0, 2]
    np.testing.assert_allclose(
        masked_mean(features[:, order], mask[:, order]), masked_mean(features, mask), atol=1e-6
    )
