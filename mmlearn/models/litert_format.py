"""LiteRT (once TensorFlow Lite), for phones and small devices."""

import os

import numpy as np
import tensorflow as tf

FILE = "model.tflite"


def convert(saved_model, signature, folder, precision, examples):
    """Converts a SavedModel, see `mmlearn.models.formats.Format`; its own operations alone."""
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=[signature])
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = lambda: ((signature, example) for example in examples)
    content = converter.convert()
    with open(os.path.join(folder, FILE), "wb") as file:
        file.write(content)


def load(folder, precision):
    """Loads a model, see `mmlearn.models.formats.Format`."""
    from ai_edge_litert.interpreter import Interpreter

    threads = len(os.sched_getaffinity(0))
    interpreter = Interpreter(os.path.join(folder, FILE), num_threads=threads)
    (signature,) = interpreter.get_signature_list()
    runner = interpreter.get_signature_runner(signature)
    inputs = list(runner.get_input_details())

    def call(values):
        return dict(runner(**{name: np.asarray(values[name]) for name in inputs}))

    return call
