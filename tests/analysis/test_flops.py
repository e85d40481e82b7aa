"""FLOPs and MACs against counts by hand."""

import keras
import pytest
from keras import layers, ops

from mmlearn.analysis.flops import count_flops, count_macs, count_operations
from tests import toys


def test_dense_and_convolution():
    x = inputs = keras.Input((8, 6, 3))
    x = layers.Conv2D(5, 3, padding="same", activation="relu")(x)
    x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(7)(x))
    convolution, dense = 8 * 6 * 5 * 3 * 3 * 3, 8 * 6 * 5 * 7
    assert count_macs(model) == convolution + dense
    bias, relu = 8 * 6 * 5 + 7, 8 * 6 * 5
    assert count_flops(model) == 2 * (convolution + dense) + bias + relu
    assert count_flops(model, batch_size=4) == 4 * count_flops(model)


def test_attention_made_of_einsum():
    length, dim, heads, size = 6, 8, 2, 4
    x = inputs = keras.Input((length, dim))
    x = layers.MultiHeadAttention(heads, size, use_bias=False, flash_attention=False)(x, x)
    counts = count_operations(keras.Model(inputs, x))
    projections = 4 * length * dim * heads * size  # query, key, value, output
    products = 2 * length * length * heads * size  # scores, and the values they weigh
    matrices = sum(counts[kind] for kind in ("Einsum", "MatMul", "BatchMatMulV2") if kind in counts)
    assert matrices == 2 * (projections + products)
    assert "Einsum" in counts  # which TensorFlow's own profiler counts as nothing
    assert counts["Softmax"] == 5 * heads * length * length


def test_a_loop_counts_each_time_round():
    inputs = keras.Input((9, 4))
    model = keras.Model(inputs, layers.SimpleRNN(5, use_bias=False)(inputs))
    assert count_macs(model) == 9 * (4 * 5 + 5 * 5)


def test_ellipsis_and_one_operand():
    inputs = keras.Input((2, 3, 4))
    product = ops.einsum("...ij,bkj->...ik", inputs, ops.ones((1, 5, 4)))
    model = keras.Model(inputs, product)
    assert count_macs(model) == 2 * 3 * 4 * 5


def test_of_a_task_only_what_its_main_output_needs():
    task = toys.classifier()
    whole = keras.Model(task.input, task.output)
    heads = 2 * (128 + 16) * toys.NUM_CLASSES  # those of single modalities, of 128 and 16 channels
    assert count_macs(whole) - count_macs(task) == heads // 2
    assert count_flops(whole) - count_flops(task) > heads


def test_inputs_of_unknown_size_are_refused():
    inputs = keras.Input((None, 4))
    with pytest.raises(ValueError, match=r"known size.*None.*Fix"):
        count_flops(keras.Model(inputs, layers.Dense(2)(inputs)))
