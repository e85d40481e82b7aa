"""The fused batch normalisation is that of Keras."""

import keras
import numpy as np
import pytest

from mmlearn.encoders.batch_norm import FusedBatchNormalization, fuse_batch_norm


def pair(**options):
    """Keras' layer and the fused one with the same random weights, and a batch of maps."""
    random = np.random.default_rng(0)
    maps = (3 + 2 * random.normal(size=(4, 5, 6, 7))).astype("float32")
    built = []
    for cls in (keras.layers.BatchNormalization, FusedBatchNormalization):
        built.append(cls(**options))
        built[-1].build(maps.shape)
    built[0].set_weights([np.abs(random.normal(size=w.shape)) for w in built[0].get_weights()])
    built[1].set_weights(built[0].get_weights())
    return (*built, maps)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False, "momentum": 0.5}])
def test_outputs_and_moving_statistics_are_those_of_keras(options, training):
    keras_layer, fused, maps = pair(**options)
    expected = keras_layer(maps, training=training)
    np.testing.assert_allclose(fused(maps, training=training), expected, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(fused.get_weights(), keras_layer.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_frozen_layer_keeps_its_statistics():
    _, fused, maps = pair()
    before = fused.get_weights()
    fused.trainable = False
    fused(maps, training=True)
    for ours, theirs in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_sixteen_bits_with_statistics_in_float32(dtype):
    keras_layer, fused, maps = pair(dtype=dtype)
    expected = np.asarray(keras_layer(maps, training=True), "float32")
    result = fused(maps, training=True)
    assert keras.backend.standardize_dtype(result.dtype) == fused.compute_dtype
    np.testing.assert_allclose(np.asarray(result, "float32"), expected, atol=0.05)
    assert {weight.dtype for weight in fused.weights} == {"float32"}


def test_a_model_is_copied_with_names_and_weights():
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.BatchNormalization(epsilon=0.1, name="first_bn")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(3, 2, name="conv")(x))
    fused = fuse_batch_norm(model)
    assert [x.name for x in fused.layers[1:]] == [x.name for x in model.layers[1:]]
    assert type(fused.get_layer("first_bn")) is FusedBatchNormalization
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2))
    np.testing.assert_allclose(fused(x), model(x), rtol=1e-5, atol=1e-6)
