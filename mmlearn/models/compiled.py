"""Functions of a model's layers, compiled by the Keras backend in use."""

import keras
import numpy as np
import tensorflow as tf


def compile_function(function, model):
    """Compiles a function that calls layers of a model and leaves their variables as they are.

    Args:
        function: function of nested tensors that returns nested tensors.
        model: `keras.Model` that holds all variables of the layers that are called.

    Returns:
        A function of the same that takes batches of a dataset and returns tensors of the backend.
        It computes with the variables as they are at the call.
    """
    if keras.config.backend() == "tensorflow":
        return tf.function(function, autograph=False, reduce_retracing=True)
    import jax

    variables = list(model.variables)

    @jax.jit
    def run(values, args):
        with keras.StatelessScope(state_mapping=zip(variables, values, strict=True)):
            return function(*args)

    def call(*args):
        args = keras.tree.map_structure(np.asarray, args)  # JAX takes no tensors of TensorFlow
        return run([variable.value for variable in variables], args)

    return call
