"""Projections of attention over all positions at once give what Keras gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from mmlearn.encoders.projections import flatten_projections
from tests import toys


def attention():
    inputs = keras.Input((5, 12))
    layer = keras.layers.MultiHeadAttention(3, 4)
    return keras.Model(inputs, layer(inputs, inputs))


def gradients(model, x):
    with tf.GradientTape() as tape:
        y = model(x, training=True)
        loss = ops.sum(ops.square(y))
    return y, tape.gradient(loss, model.trainable_variables)


def test_outputs_and_gradients_are_those_of_keras():
    model = attention()
    x = np.random.default_rng(0).normal(size=(4, 5, 12)).astype("float32")
    before, gradients_before = gradients(model, x)
    flatten_projections(model)
    after, gradients_after = gradients(model, x)
    np.testing.assert_allclose(after, before, atol=1e-6)
    for one, two in zip(gradients_after, gradients_before, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


def test_no_product_is_made_per_example():
    """The gradient of a projection as one matrix product: none of a batch of matrices, summed."""
    encoder = toys.encoder("text")
    tokens = np.ones((2, toys.SEQUENCE_LENGTH), "int32")
    x = {"token_ids": tokens, "segment_ids": tokens * 0, "padding_mask": tokens}

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            features, _ = encoder(x, training=True)
            loss = tf.reduce_sum(features)
        return tape.gradient(loss, encoder.trainable_variables)

    ops_by_type = {}
    for op in step.get_concrete_function().graph.get_operations():
        ops_by_type.setdefault(op.type, []).append(op)
    kernels = {tuple(v.shape) for v in encoder.trainable_variables if len(v.shape) == 3}
    assert kernels  # (dim, heads, size) and (heads, size, dim)
    for op in ops_by_type.get("BatchMatMulV2", []):
        # What is left of them are the scores and what they gather, of rank 4.
        assert all(len(tensor.shape) == 4 for tensor in op.inputs), op.name


def test_other_equations_are_left_to_keras():
    layer = keras.layers.EinsumDense("ab,bc->ac", output_shape=3)
    model = keras.Sequential([keras.Input((2,)), layer])
    flatten_projections(model)
    assert "call" not in vars(layer)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_encoder_computes_in_its_precision(policy):
    encoder = toys.backbone(("text",), fusion="concat", dtype=policy).encoders["text"]
    tokens = np.ones((2, toys.SEQUENCE_LENGTH), "int32")
    x = {"token_ids": tokens, "segment_ids": tokens * 0, "padding_mask": tokens}
    features, _ = encoder(x)
    assert features.dtype == ("bfloat16" if policy == "mixed_bfloat16" else "float32")
