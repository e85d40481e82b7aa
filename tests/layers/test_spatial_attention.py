"""The gate of equation 3 of CBAM, position by position."""

import keras
import numpy as np

from mmlearn.layers.spatial_attention import SpatialAttention
from tests import checks


def feature_map():
    return np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")


def test_equals_the_equation():
    x, layer = feature_map(), SpatialAttention(kernel_size=3)
    gated = np.asarray(layer(x))
    (kernel,) = layer.get_weights()
    both = np.stack([x.mean(-1), x.max(-1)], axis=-1)
    padded = np.pad(both, ((0, 0), (1, 1), (1, 1), (0, 0)))
    sums = sum(
        padded[:, row : row + 4, column : column + 5] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    )
    np.testing.assert_allclose(gated, x / (1 + np.exp(-sums)), rtol=0, atol=1e-6)


def test_all_channels_of_a_position_have_one_gate():
    x = feature_map()
    gates = np.asarray(SpatialAttention()(x)) / x
    np.testing.assert_allclose(gates, gates[..., :1] * np.ones(3), rtol=1e-4)
    assert gates.std(axis=(1, 2)).min() > 1e-3  # positions differ
    assert ((gates > 0) & (gates < 1)).all()


def test_keeps_the_contract_of_a_layer():
    layer = SpatialAttention(kernel_size=5)
    again = checks.check_layer_config(layer)
    x = feature_map()
    assert layer(keras.Input((4, 5, 3))).shape == (None, 4, 5, 3)
    checks.check_gradients(layer, lambda: layer(x))
    again.dtype_policy = "mixed_bfloat16"
    assert keras.backend.standardize_dtype(again(x).dtype) == "bfloat16"
