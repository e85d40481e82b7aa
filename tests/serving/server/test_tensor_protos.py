"""Tensors of gRPC: what is taken, and what is refused before memory is."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from mmlearn.serving.server import tensor_protos
from mmlearn.serving.server.errors import RequestError
from mmlearn.serving.server.signature import InputSpec, Signature

SIGNATURE = Signature(
    "numbers",
    {
        "x": InputSpec(np.dtype("float32"), (None, None)),
        "text": InputSpec(np.dtype(object), (None,)),
    },
    4,
)


def tensor(values, **changes):
    found = tf.make_tensor_proto(values)
    if "shape" in changes:
        del found.tensor_shape.dim[:]
        for side in changes["shape"]:
            found.tensor_shape.dim.add(size=side)
    return found


def test_tensors_come_as_they_were_sent():
    x = np.array([[1, 2, 3]], "float32")
    found = tensor_protos.decode({"x": tensor(x), "text": tensor(["a\0"])}, SIGNATURE, 1000)
    np.testing.assert_array_equal(found["x"], x)
    assert found["text"].tolist() == [b"a\0"]


def unknown_rank():
    found = tensor_pb2.TensorProto(dtype=tf.float32.as_datatype_enum, float_val=[1.0])
    found.tensor_shape.unknown_rank = True
    return found


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (tensor([[1]]), "'x' takes float32. Received: type 3"),
        (tensor([["a"]]), "'x' takes float32"),
        (tensor([1.0]), r"is of shape \(\?, \?\). Received: \(1\)"),
        (unknown_rank(), "unknown shape"),
        (tensor([[1.0]], shape=[-1, 1]), r"Received: \(-1, 1\)"),
        (tensor([[1.0]], shape=[5, 1]), "Task size 5"),
        # One number that would fill four terabytes.
        (tensor([[1.0]], shape=[1, 10**12]), "more than 1000 bytes"),
        (tensor([[1.0, 2.0]], shape=[1, 7]), r"is not a tensor of shape \[1, 7\]"),
    ],
)
def test_what_is_no_tensor_of_the_signature_is_refused(x, message):
    with pytest.raises(RequestError, match=message) as refused:
        tensor_protos.decode({"x": x, "text": tensor(["a"])}, SIGNATURE, 1000)
    assert refused.value.code == "INVALID_ARGUMENT"


def test_all_inputs_are_needed():
    with pytest.raises(RequestError, match=r"Missing but required: \['text'\]"):
        tensor_protos.decode({"x": tensor([[1.0]])}, SIGNATURE, 1000)
