"""The projections of attention as one matrix product over all positions."""

import functools
import math

import keras
from keras import ops

# Equation of `keras.layers.EinsumDense`: how many axes of the inputs are summed over.
_SUMMED_AXES = {"abc,cde->abde": 1, "abcd,cde->abe": 2}


def flatten_projections(model):
    """Makes the projections of Keras' attention layers in a model faster to train.

    With TensorFlow, Keras computes them as a batch of products, one per example, so that the gradient
    of a projection is one matrix per example, summed afterwards: a tenth of a training step of
    BERT-base on a CPU. The result is the same but for rounding; layers, weights and configs stay as they
    are, and quantised layers keep their own way.

    Args:
        model: `keras.Model`, built.
    """
    for layer in model._flatten_layers():
        # Other equations are left to Keras.
        if type(layer) is keras.layers.EinsumDense and layer.equation in _SUMMED_AXES:
            # The method of the object, not a subclass: attention layers make their projections
            # themselves, and Keras quantises no subclasses.
            layer.call = functools.partial(_call, layer)


def _call(layer, inputs, training=None):
    num_summed = _SUMMED_AXES[layer.equation]
    kernel = ops.convert_to_tensor(layer.kernel)
    size, kept = math.prod(kernel.shape[:num_summed]), kernel.shape[num_summed:]
    x = ops.matmul(ops.reshape(inputs, (-1, size)), ops.reshape(kernel, (size, math.prod(kept))))
    x = ops.reshape(x, (*ops.shape(inputs)[:-num_summed], *kept))
    if layer.bias is not None:
        x = ops.add(x, layer.bias)
    return x if layer.activation is None else layer.activation(x)
