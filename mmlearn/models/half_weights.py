"""A SavedModel whose weights are stored in 16 bits, and computed with in 32."""

import uuid

import keras
import numpy as np
import tensorflow as tf

SMALL = 1024  # numbers; what is smaller stays in float32


class HalfWeight(tf.saved_model.experimental.TrackableResource):
    """A weight in float32 that a SavedModel holds in float16, and casts once, when it is loaded.

    The cast is an initializer, as that of a lookup table is: TF Serving runs it after it has restored the
    variables, and no request pays for it. Both forms stay in memory: 6 bytes a weight instead of 4.

    Args:
        values: float array.
    """

    def __init__(self, values):
        super().__init__()
        self.shape = values.shape
        # Else two models in one process would share it: in a server, one that is swapped for another.
        self.shared_name = str(uuid.uuid4())
        self.stored = tf.Variable(values.astype(np.float16), trainable=False)
        self._track_trackable(self.stored, "stored")  # else it would not be saved
        self._initialize()

    def read(self):
        """Returns the weight: a float32 tensor."""
        value = tf.raw_ops.ReadVariableOp(resource=self.resource_handle, dtype=tf.float32)
        value.set_shape(self.shape)
        return value

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(
            dtype=tf.float32, shape=self.shape, shared_name=self.shared_name
        )

    def _initialize(self):
        tf.raw_ops.AssignVariableOp(
            resource=self.resource_handle, value=tf.cast(self.stored, tf.float32)
        )

    def _destroy_resource(self):
        tf.raw_ops.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)


def halve(task):
    """Makes the weights of a task that are stored in 16 bits.

    These are matrices and kernels. Vectors, such as biases and the statistics of normalizations, are a small
    part of a model and stay in 32 bits, as does what is too large for float16.

    Args:
        task: a task, with Keras on TensorFlow.

    Returns:
        A dict of the id of a variable to its `HalfWeight`.
    """
    values = {id(variable): (variable, np.asarray(variable.value)) for variable in task.variables}
    return {
        key: HalfWeight(value) for key, (own, value) in values.items() if _is_halved(own, value)
    }


def _is_halved(variable, value):
    if variable.dtype != "float32" or value.ndim < 2 or value.size < SMALL:
        return False
    return np.abs(value).max() <= np.finfo(np.float16).max


class Reading(keras.StatelessScope):
    """A scope in which Keras reads the stored weights in the place of its own.

    Args:
        halves: what `halve` returned.
    """

    def __init__(self, halves):
        super().__init__()
        self.halves = halves

    def get_current_value(self, variable):
        half = self.halves.get(id(variable))
        return None if half is None else half.read()
