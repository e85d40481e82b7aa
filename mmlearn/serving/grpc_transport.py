"""gRPC as TensorFlow Serving speaks it: `PredictionService` and `ModelService`."""

import grpc
import numpy as np
import tensorflow as tf

from mmlearn.serving.errors import (
    BadRequest,
    ServerError,
    ServerTimeout,
    ServerUnavailable,
    refusal_fix,
)
from mmlearn.serving.retry import call_with_retries

_Code = grpc.StatusCode
_BUSY = (_Code.UNAVAILABLE, _Code.RESOURCE_EXHAUSTED)
_REFUSED = (
    *(_Code.INVALID_ARGUMENT, _Code.NOT_FOUND, _Code.UNIMPLEMENTED, _Code.OUT_OF_RANGE),
    *(_Code.FAILED_PRECONDITION, _Code.PERMISSION_DENIED, _Code.UNAUTHENTICATED),
)
_MAX_BYTES = 256 * 1024 * 1024  # of one message; 4 MB, gRPC's default, is a batch of a few photos


class Grpc:
    """One model of a server, by gRPC.

    Args:
        place: str, `host:port`.
        model: str.
        timeout: float, seconds.
        retries: int.
        version: int or `None`.

    Raises:
        ValueError: when `tensorflow-serving-api` is not installed.
    """

    def __init__(self, place, model, timeout, retries, version):
        try:
            from tensorflow_serving.apis import (
                get_model_metadata_pb2,
                get_model_status_pb2,
                model_service_pb2_grpc,
                predict_pb2,
                prediction_service_pb2_grpc,
            )
        except ImportError:
            raise ValueError(
                "gRPC needs tensorflow-serving-api. Fix: pip install 'mmlearn-keras[serving]', or an http:// "
                "address."
            ) from None
        self._place, self._model, self._version = place, model, version
        self._timeout, self._retries = timeout, retries
        options = [("grpc.max_send_message_length", _MAX_BYTES)]
        options.append(("grpc.max_receive_message_length", _MAX_BYTES))
        self._channel = grpc.insecure_channel(place, options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._predict_request = predict_pb2.PredictRequest
        self._status_request = get_model_status_pb2.GetModelStatusRequest
        self._metadata_request = get_model_metadata_pb2.GetModelMetadataRequest
        self._signature_map = get_model_metadata_pb2.SignatureDefMap

    def close(self):
        """Closes the connection."""
        self._channel.close()

    def status(self):
        """See `Client.status`."""
        found = self._ask(self._models.GetModelStatus, self._named(self._status_request()))
        return {int(one.version): one.State.Name(one.state) for one in found.model_version_status}

    def signatures(self):
        """See `Client.signatures`."""
        request = self._named(self._metadata_request(metadata_field=["signature_def"]))
        found = self._ask(self._predictions.GetModelMetadata, request)
        table = self._signature_map.FromString(found.metadata["signature_def"].value)
        return {
            name: {"inputs": _read_specs(one.inputs), "outputs": _read_specs(one.outputs)}
            for name, one in table.signature_def.items()
            if not name.startswith("__")
        }

    def predict(self, signature, batch, outputs):
        """Asks for one batch.

        Args:
            signature: str.
            batch: dict of input to an array, or a list of str or bytes.
            outputs: dict of output to dtype and shape.

        Returns:
            A dict of output to array.
        """
        request = self._named(self._predict_request())
        request.model_spec.signature_name = signature
        for name, values in batch.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        answer = self._ask(self._predictions.Predict, request)
        missing = sorted(outputs.keys() - answer.outputs.keys())
        if missing:
            raise ServerError(
                f"The server at {self._place!r} left out {missing[0]!r}. Fix: check that it is TF Serving."
            )
        return {name: _decode(name, answer.outputs[name]) for name in outputs}

    def _named(self, request):
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        return request

    def _ask(self, method, request):
        try:
            return call_with_retries(
                lambda: method(request, timeout=self._timeout),
                self._retries,
                lambda error: isinstance(error, grpc.RpcError) and error.code() in _BUSY,
            )
        except grpc.RpcError as error:
            raise self._name(error) from None

    def _name(self, error):
        code, details = error.code(), " ".join((error.details() or "no reason given").split())[:500]
        if code == _Code.UNAVAILABLE:
            return ServerUnavailable(
                f"No server at {self._place!r} ({details}). Fix: start it, or check --server."
            )
        if code == _Code.RESOURCE_EXHAUSTED:
            return ServerUnavailable(
                f"The server at {self._place!r} is busy ({details}). Fix: try later, or smaller batches."
            )
        if code == _Code.DEADLINE_EXCEEDED:
            return ServerTimeout(
                f"The server at {self._place!r} did not answer in {self._timeout:g} s. Fix: a longer "
                "timeout, or smaller batches."
            )
        reason = f"{code.name}: {details}".rstrip(".")
        if code in _REFUSED:
            return BadRequest(
                f"The server refuses the request, {reason}.{refusal_fix(reason, self._model)}"
            )
        return ServerError(f"The server failed, {reason}. Fix: see its log.")


def _read_specs(tensors):
    specs = {}
    for name, info in tensors.items():
        dtype = tf.as_dtype(info.dtype)
        shape = tuple(side.size if side.size >= 0 else None for side in info.tensor_shape.dim)
        kind = object if dtype == tf.string else np.dtype(dtype.as_numpy_dtype)
        specs[name] = (kind, shape)
    return specs


def _decode(name, tensor):
    values = tf.make_ndarray(tensor)
    if values.dtype != object or name.endswith("_bytes"):
        return values
    # Strings, as by REST; made one by one, or numpy would cut what ends with zeros.
    decoded = np.empty(values.shape, object)
    decoded.flat = [value.decode("utf-8", "replace") for value in values.flat]
    return decoded
