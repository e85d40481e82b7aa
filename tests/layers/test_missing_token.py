"""Absent rows become one learned token, present rows stay as they are."""

import keras
import numpy as np

from mmlearn.layers.missing_token import MissingToken
from tests import checks


def batch():
    random = np.random.default_rng(0)
    features = random.normal(size=(3, 4, 5)).astype("float32")
    mask = np.array([[True, True, False, False]] * 3)
    return features, mask, np.array([True, False, True])


def test_absent_rows_hold_the_token_and_one_real_position():
    layer = MissingToken()
    features, mask, present = batch()
    layer(features, mask, present)
    layer.set_weights([np.arange(5.0)])
    replaced, known = map(np.asarray, layer(features, mask, present))
    np.testing.assert_array_equal(replaced[1], np.tile(np.arange(5.0), (4, 1)))
    np.testing.assert_array_equal(known[1], [True, False, False, False])


def test_present_rows_are_not_touched():
    features, mask, present = batch()
    replaced, known = map(np.asarray, MissingToken()(features, mask, present))
    np.testing.assert_array_equal(replaced[present], features[present])
    np.testing.assert_array_equal(known[present], mask[present])


def test_content_of_absent_rows_changes_nothing():
    layer = MissingToken()
    features, mask, present = batch()
    before = layer(features, mask, present)
    features[1], mask[1] = np.nan, True
    for first, second in zip(before, layer(features, mask, present), strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_token_learns():
    layer = MissingToken()
    checks.check_gradients(layer, lambda: layer(*batch())[0])


def test_symbolic_shapes_and_dtypes_are_eager_ones():
    layer = MissingToken(dtype="mixed_bfloat16")
    inputs = [keras.Input((4, 5)), keras.Input((4,), dtype="bool"), keras.Input((), dtype="bool")]
    features, mask = layer(*inputs)
    assert (features.shape, features.dtype) == ((None, 4, 5), "bfloat16")
    assert (mask.shape, mask.dtype) == ((None, 4), "bool")
    features, mask = layer(*batch())
    assert (features.shape, features.dtype) == ((3, 4, 5), "bfloat16")
    assert (mask.shape, mask.dtype) == ((3, 4), "bool")


def test_config_round_trip():
    checks.check_layer_config(MissingToken(name="images_missing_token"))
