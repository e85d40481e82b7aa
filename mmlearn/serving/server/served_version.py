"""A version of a model in memory: checked, loaded, warmed up, called."""

import os

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  its operations are in the graphs
from tensorflow.core.protobuf import saved_model_pb2

from mmlearn.models.manifest import check_files
from mmlearn.serving.server.errors import RequestError, invalid
from mmlearn.serving.server.signature import InputSpec, Signature
from mmlearn.serving.warm_up import WARM_UP


class ServedVersion:
    """A SavedModel whose files are those that were exported.

    Args:
        folder: str, the version.
        max_batch_size: int.

    Raises:
        ValueError: when a file is not what the manifest says.
    """

    def __init__(self, folder, max_batch_size):
        check_files(folder)
        self._folder = folder
        with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
            graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
        self.signature_defs = graph.signature_def
        self._model = tf.saved_model.load(folder)
        self._signatures = {
            name: Signature(name, _read_inputs(self.signature_defs[name]), max_batch_size)
            for name in self._model.signatures
        }

    def signature(self, name):
        """Returns a `Signature`.

        Raises:
            RequestError: `INVALID_ARGUMENT`, when there is none of this name.
        """
        if name not in self._signatures:
            raise invalid(
                f'Serving signature key "{name}" not found. Fix: one of '
                f"{', '.join(sorted(self._signatures))}."
            )
        return self._signatures[name]

    def warm_up(self):
        """Asks what the version brought with it: the first call of a signature takes seconds."""
        from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

        for record in tf.data.TFRecordDataset(os.path.join(self._folder, WARM_UP)):
            request = PredictionLog.FromString(record.numpy()).predict_log.request
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            self.call(request.model_spec.signature_name, inputs)

    def call(self, signature, inputs):
        """Calls the model.

        Args:
            signature: str.
            inputs: dict of name to array `(num_rows, ...)`.

        Returns:
            A dict of name to array `(num_rows, ...)`.

        Raises:
            RequestError: when the graph refuses the inputs, or fails.
        """
        inputs = {name: tf.constant(values) for name, values in inputs.items()}
        try:
            outputs = self._model.signatures[signature](**inputs)
            return {name: values.numpy() for name, values in outputs.items()}
        except tf.errors.InvalidArgumentError as error:
            raise invalid(_first_line(error)) from None
        except tf.errors.ResourceExhaustedError as error:
            raise RequestError("RESOURCE_EXHAUSTED", _first_line(error)) from None
        except tf.errors.OpError as error:
            raise RequestError("INTERNAL", _first_line(error)) from None


def _read_inputs(signature_def):
    specs = {}
    for name, info in signature_def.inputs.items():
        dtype = tf.as_dtype(info.dtype)
        shape = tuple(side.size if side.size >= 0 else None for side in info.tensor_shape.dim)
        kind = object if dtype == tf.string else dtype.as_numpy_dtype
        specs[name] = InputSpec(np.dtype(kind), shape)
    return specs


def _first_line(error):
    return (error.message or type(error).__name__).splitlines()[0][:500]
