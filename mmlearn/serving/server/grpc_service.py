"""gRPC as TensorFlow Serving speaks it: `PredictionService` and `ModelService`, and gRPC's health."""

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from mmlearn.serving.server import tensor_protos
from mmlearn.serving.server.errors import RequestError, invalid
from mmlearn.serving.server.json_body import DEFAULT_SIGNATURE

_CONCURRENT_CALLS = 256


def make_server(answers):
    """Makes the server of both services, which is not started.

    Args:
        answers: `Answers`.

    Returns:
        A `grpc.aio.Server` that listens, its port, and its health servicer.

    Raises:
        OSError: when the port is taken.
    """
    options = answers.options
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", options.max_body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # or a second server would share the port in silence
        ],
        maximum_concurrent_rpcs=_CONCURRENT_CALLS,
    )
    server.add_generic_rpc_handlers(_Service(answers).handlers())
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    try:
        port = server.add_insecure_port(f"{options.host}:{options.grpc_port}")
    except RuntimeError as error:
        raise OSError(
            f"gRPC cannot listen at {options.host}:{options.grpc_port} ({error}). Fix: another port."
        ) from None
    return server, port, servicer


async def set_ready(servicer):
    """Tells gRPC's health check that the server answers."""
    await servicer.set(health.OVERALL_HEALTH, health_pb2.HealthCheckResponse.SERVING)


class _Service:
    """What is not here (`Classify` and so on) is UNIMPLEMENTED."""

    def __init__(self, answers):
        self._answers = answers

    def handlers(self):
        """The handlers of both services, which take bytes: gRPC would call what is no message UNKNOWN."""
        metadata = get_model_metadata_pb2.GetModelMetadataRequest
        status = get_model_status_pb2.GetModelStatusRequest
        services = {
            "PredictionService": {
                "Predict": self._handler(self._predict, "predict", predict_pb2.PredictRequest),
                "GetModelMetadata": self._handler(self._metadata, "metadata", metadata),
            },
            "ModelService": {"GetModelStatus": self._handler(self._status, "status", status)},
        }
        return tuple(
            grpc.method_handlers_generic_handler(f"tensorflow.serving.{name}", methods)
            for name, methods in services.items()
        )

    def _handler(self, make, method, kind):
        async def answer(data, context):
            try:
                with self._answers.counted("grpc", method), self._answers.pending.share() as share:
                    share.add(len(data))
                    return (await make(_parse(kind, data))).SerializeToString()
            except RequestError as error:
                return await context.abort(grpc.StatusCode[error.code], error.message)

        return grpc.unary_unary_rpc_method_handler(answer)

    async def _predict(self, request):
        name, version = _asked(request)
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        limit = self._answers.options.max_body_bytes
        number, outputs = await self._answers.predict(
            *(name, version, signature),
            lambda known: tensor_protos.decode(request.inputs, known, limit),
        )
        unknown = sorted(set(request.output_filter) - outputs.keys())
        if unknown:
            raise invalid(f"output tensor alias not found in signature: {unknown[0]}")
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name, answer.model_spec.signature_name = name, signature
        answer.model_spec.version.value = number
        kept = request.output_filter or outputs
        tensor_protos.encode({name: outputs[name] for name in kept}, answer.outputs)
        return answer

    async def _metadata(self, request):
        name, version = _asked(request)
        if list(request.metadata_field) != ["signature_def"]:
            raise invalid("Metadata field must be 'signature_def'.")
        servable = self._answers.versions.find(name, version)
        table = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.model.signature_defs)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = name
        answer.model_spec.version.value = servable.number
        answer.metadata["signature_def"].Pack(table)
        return answer

    async def _status(self, request):
        answer = get_model_status_pb2.GetModelStatusResponse()
        for number, (state, error) in self._answers.versions.states(*_asked(request)).items():
            one = answer.model_version_status.add(version=number, state=state)
            one.status.error_code, one.status.error_message = (2 if error else 0), error  # UNKNOWN
        return answer


def _parse(kind, data):
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise invalid(f"the request is no {kind.DESCRIPTOR.name}: {error}") from None


def _asked(request):
    """The name and the version in a request."""
    spec = request.model_spec
    if spec.WhichOneof("version_choice") == "version_label":
        raise RequestError("NOT_FOUND", "this server has no labels of versions. Fix: a number.")
    return spec.name, spec.version.value if spec.HasField("version") else None
