"""Tensors of gRPC requests as arrays, and back."""

import math

import tensorflow as tf

from mmlearn.serving.server.errors import invalid


def decode(tensors, signature, max_bytes):
    """The inputs of a request.

    A shape is checked before the array is made: a few bytes may tell of a tensor of terabytes, all of
    one value.

    Args:
        tensors: map of name to `TensorProto`.
        signature: `Signature`.
        max_bytes: int, of one array of numbers.

    Returns:
        A dict of name to array.

    Raises:
        RequestError: `INVALID_ARGUMENT`.
    """
    signature.check_names(tensors)
    return {name: _decode(name, tensor, signature, max_bytes) for name, tensor in tensors.items()}


def encode(outputs, tensors):
    """Puts outputs into the map of an answer.

    Args:
        outputs: dict of name to array.
        tensors: map of name to `TensorProto`.
    """
    for name, values in outputs.items():
        tensors[name].CopyFrom(tf.make_tensor_proto(values))


def _decode(name, tensor, signature, max_bytes):
    dtype = signature.inputs[name].dtype
    expected = tf.string if dtype.kind == "O" else tf.as_dtype(dtype)
    if tensor.dtype != expected.as_datatype_enum:
        raise invalid(f"input {name!r} takes {expected.name}. Received: type {tensor.dtype}.")
    if tensor.tensor_shape.unknown_rank:
        raise invalid(f"input {name!r} is of unknown shape.")
    shape = [side.size for side in tensor.tensor_shape.dim]
    signature.check_shape(name, shape)
    if math.prod(shape) * dtype.itemsize > max_bytes:
        raise invalid(f"input {name!r} is of shape {shape}, more than {max_bytes} bytes.")
    try:
        return tf.make_ndarray(tensor)
    except (ValueError, TypeError, IndexError) as error:
        raise invalid(f"input {name!r} is not a tensor of shape {shape}: {error}") from None
