"""Made inputs of an exported model: what to measure it, check it and warm it up with."""

import numpy as np
import tensorflow as tf

PHOTO = (480, 640)  # height and width of the JPEG that a served model decodes
TEXT = b"a dog and a red ball on the grass near a house"


def made_inputs(specs, batch_size):
    """Makes inputs in which everything is present: files, words, numbers.

    A JPEG of a photo's size, a second of noise as a WAV file, a sentence, floats in [0, 1), ones.

    Args:
        specs: dict of name to `tf.TensorSpec`, of a signature.
        batch_size: int.

    Returns:
        A dict of name to tensor `(batch_size, ...)`; dimensions that are free are 1.

    Example:

    >>> import tensorflow as tf
    >>> specs = {"text": tf.TensorSpec((None,), tf.string), "age": tf.TensorSpec((None,))}
    >>> {name: (values.shape[0], values.dtype.name) for name, values in made_inputs(specs, 2).items()}
    {'text': (2, 'string'), 'age': (2, 'float32')}
    """
    random = np.random.default_rng(0)
    inputs = {}
    for name, spec in specs.items():
        dtype = tf.as_dtype(spec.dtype)
        shape = [batch_size, *(1 if side is None else side for side in spec.shape[1:])]
        if dtype == tf.string:
            inputs[name] = tf.fill(shape, _file(name, random))
        elif dtype.is_floating:
            inputs[name] = tf.constant(random.random(shape), dtype)
        else:
            inputs[name] = tf.ones(shape, dtype)
    return inputs


def _file(name, random):
    if name == "images":
        noise = random.integers(0, 256, (*(side // 16 for side in PHOTO), 3), np.uint8)
        photo = tf.image.resize(noise, PHOTO, method="bicubic")
        return tf.io.encode_jpeg(tf.saturate_cast(photo, tf.uint8))
    if name == "audio":
        noise = random.uniform(-0.5, 0.5, (16000, 1)).astype(np.float32)
        return tf.audio.encode_wav(noise, 16000)
    return tf.constant(TEXT)
