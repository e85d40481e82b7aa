"""Warm-up requests: what TensorFlow Serving asks a version itself before it answers with it.

The first call of a signature takes seconds, which no client should wait for. The file holds records
of `tensorflow.serving.PredictionLog`. Three nested messages are all that is needed of them, so they
are written here, and an export needs no `tensorflow-serving-api`; a test reads them with it.
"""

import os

import tensorflow as tf

from mmlearn.models.manifest import EXTRA

WARM_UP = f"{EXTRA}/tf_serving_warmup_requests"


def write_warm_up(folder, requests, name):
    """Writes two requests for each signature: a single row, and all.

    Args:
        folder: str, the SavedModel.
        requests: dict of signature to inputs and the names of their rows, see
            `mmlearn.serving.parity.made_requests`.
        name: str, of the model.

    Reference:
        tensorflow/serving, `prediction_log.proto`, `predict.proto` and `model.proto`, whence the
        numbers of the fields.
    """
    os.makedirs(os.path.join(folder, EXTRA), exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(folder, WARM_UP)) as writer:
        for signature, (inputs, _) in requests.items():
            for rows in (slice(0, 1), slice(None)):
                part = {key: values[rows] for key, values in inputs.items()}
                writer.write(_prediction_log(name, signature, part))


def _prediction_log(name, signature, inputs):
    request = _field(1, _field(1, name.encode()) + _field(3, signature.encode()))  # model_spec
    for key, values in inputs.items():
        tensor = tf.make_tensor_proto(values).SerializeToString()
        request += _field(2, _field(1, key.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))  # predict_log, its request


def _field(number, content):
    """A field of bytes, a string or a message in the wire format of protocol buffers."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number):
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
