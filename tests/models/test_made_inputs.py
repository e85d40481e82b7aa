"""Inputs that are made of a signature."""

import io
import wave

import cv2
import numpy as np
import tensorflow as tf

from mmlearn.models.made_inputs import made_inputs


def test_files_can_be_read_and_numbers_have_their_shape():
    specs = {name: tf.TensorSpec((None,), tf.string) for name in ("images", "audio", "text")}
    specs["series"] = tf.TensorSpec((None, 6, 2), tf.float32)
    raw = made_inputs(specs, 3)
    assert all(len(values) == 3 for values in raw.values())
    photo = np.frombuffer(raw["images"][0].numpy(), np.uint8)
    assert cv2.imdecode(photo, cv2.IMREAD_COLOR).shape == (480, 640, 3)
    with wave.open(io.BytesIO(raw["audio"][2].numpy())) as recording:
        assert recording.getnframes() == 16000
    assert raw["series"].shape == (3, 6, 2)
