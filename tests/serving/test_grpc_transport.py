"""The client by gRPC, against a server of the real protos that runs the exported model."""

import time
from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from mmlearn.serving import retry
from mmlearn.serving.client import Client
from mmlearn.serving.errors import BadRequest, ServerError, ServerTimeout, ServerUnavailable
from tests.models.test_signatures import jpeg

pytestmark = pytest.mark.large


@pytest.fixture(scope="module")
def server(exported):
    """An object with the server's `port`, and `faults`, codes that it answers with first."""
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
    )

    folder = exported[1]
    with open(f"{folder}/saved_model.pb", "rb") as file:
        graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
    model = tf.saved_model.load(folder)

    class Service(apis.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
        def __init__(self):
            self.faults, self.calls = [], 0

        def check(self, request, context):
            self.calls += 1
            if self.faults:
                fault = self.faults.pop(0)
                if fault == "sleep":
                    time.sleep(1)
                else:
                    context.abort(fault, "as told")
            if request.model_spec.name != "toys":
                context.abort(grpc.StatusCode.NOT_FOUND, "no such model")

        def GetModelStatus(self, request, context):
            self.check(request, context)
            answer = get_model_status_pb2.GetModelStatusResponse()
            answer.model_version_status.add(version=1, state="AVAILABLE")
            return answer

        def GetModelMetadata(self, request, context):
            self.check(request, context)
            table = get_model_metadata_pb2.SignatureDefMap(signature_def=graph.signature_def)
            answer = get_model_metadata_pb2.GetModelMetadataResponse()
            answer.metadata["signature_def"].Pack(table)
            return answer

        def Predict(self, request, context):
            self.check(request, context)
            inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
            outputs = model.signatures[request.model_spec.signature_name](**inputs)
            answer = predict_pb2.PredictResponse()
            for name, values in outputs.items():
                answer.outputs[name].CopyFrom(tf.make_tensor_proto(values.numpy()))
            return answer

    service = Service()
    running = grpc.server(futures.ThreadPoolExecutor(2))
    apis.add_PredictionServiceServicer_to_server(service, running)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, running)
    service.port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield service
    running.stop(None).wait()


@pytest.fixture
def client(server, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    server.faults.clear()
    server.calls = 0
    # The first call of a signature takes seconds, on a busy machine many.
    with Client(f"grpc://127.0.0.1:{server.port}", "toys", timeout=120) as client:
        yield client


def test_answers_are_those_of_the_model(exported, client):
    assert client.status() == {1: "AVAILABLE"}
    serve = client.signatures()["serving_default"]
    assert serve["inputs"]["images"] == (object, (None,))
    images, texts = [jpeg(), None, b"no image"], ["a dog", "caf\xe9", None]
    answer = client.predict(images=images, text=texts, batch_size=2)
    expected = exported[0].predict({"images": [jpeg(), b""], "text": texts[:2]}, verbose=0)
    np.testing.assert_allclose(answer["probabilities"][:2], expected, rtol=0, atol=1e-5)
    assert answer["image_status"].tolist() == [0, 1, 2]
    assert answer["status"].tolist() == [0, 0, 1]
    assert answer["labels"].tolist() == [list(exported[0].label_names)] * 3


def test_only_what_may_pass_is_tried_again(client, server):
    busy = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
    for code in busy:
        server.faults += [code] * 3
        assert client.status() == {1: "AVAILABLE"}
    assert server.calls == 8
    server.faults += [busy[1]] * 4
    with pytest.raises(ServerUnavailable, match=r"is busy \(as told\)\. Fix: try later"):
        client.status()
    assert server.calls == 12
    for code, error in (("INVALID_ARGUMENT", BadRequest), ("INTERNAL", ServerError)):
        server.faults.append(grpc.StatusCode[code])
        with pytest.raises(error, match=f"{code}: as told. Fix"):
            client.status()
    assert server.calls == 14


def test_a_slow_server_a_wrong_name_and_nobody(client, server):
    place = f"grpc://127.0.0.1:{server.port}"
    server.faults.append("sleep")
    with (
        Client(place, "toys", timeout=0.3) as hasty,
        pytest.raises(ServerTimeout, match=r"did not answer in 0\.3 s"),
    ):
        hasty.status()
    with (
        Client(place, "cats") as wrong,
        pytest.raises(BadRequest, match=r"NOT_FOUND: no such model. Fix: .* instead of 'cats'"),
    ):
        wrong.status()
    with (
        Client("grpc://127.0.0.1:1", "toys", retries=1) as lost,
        pytest.raises(ServerUnavailable, match=r"No server at .127\.0\.0\.1:1."),
    ):
        lost.status()
