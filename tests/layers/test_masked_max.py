"""The maximum of real tokens against numpy."""

import numpy as np

from mmlearn.layers.masked_max import masked_max


def batch():
    features = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32") - 3
    mask = np.array([[True, True, True, True], [True, False, True, False], [False] * 4])
    return features, mask


def test_takes_the_largest_of_the_real_tokens():
    features, mask = batch()
    pooled = np.asarray(masked_max(features, mask))
    np.testing.assert_array_equal(pooled[0], features[0].max(0))
    np.testing.assert_array_equal(pooled[1], features[1, [0, 2]].max(0))


def test_is_zero_where_nothing_is_real():
    assert (np.asarray(masked_max(*batch()))[2] == 0.0).all()


def test_padded_tokens_change_nothing():
    features, mask = batch()
    changed = np.where(mask[..., None], features, 1e6).astype("float32")
    np.testing.assert_array_equal(masked_max(changed, mask), masked_max(features, mask))


def test_keeps_the_precision_of_features():
    features, mask = batch()
    assert masked_max(features.astype("float16"), mask).dtype == "float16"
