"""The whole server around a model that loads at once: contracts, limits, health."""

import concurrent.futures
import re
import time

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf

pytest.importorskip("uvicorn", reason="needs the extra `server`")

from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from mmlearn.serving.client import Client
from mmlearn.serving.errors import BadRequest, ServerUnavailable
from tests.serving.server.counting_server import (
    CountingVersion,
    clients,
    connect,
    metrics_of,
    post,
    running,
    until,
)

pytestmark = pytest.mark.large  # the tier whose environment has the extras


def test_both_contracts_answer_our_client(counting):
    with running(counting(2)) as server, clients(server) as both:
        for client in both:
            assert client.status() == {2: "AVAILABLE"}
            signature = client.signatures()["serving_default"]
            assert signature["inputs"] == {"text": (object, (None,))}
            assert signature["outputs"]["length"] == (np.dtype("int32"), (None,))
            answer = client.predict(text=["caf\xe9", None, "a\0"], batch_size=2)
            assert answer["length"].tolist() == [5, 0, 2]
            assert answer["version_bytes"].tolist() == [b"2"] * 3
            with pytest.raises(BadRequest, match="a bad text"):
                client.predict(text=["bad"])
        for url in (server.rest_url, server.grpc_url):
            with pytest.raises(BadRequest, match=r"(404|NOT_FOUND): Could not find .* cats"):
                Client(url, "cats").status()
            with pytest.raises(BadRequest, match=r"Servable not found for request: Specific\(toys"):
                Client(url, "toys", version=1).signatures()


REFUSED = [
    ("toys:predict", b"{", 400, "JSON Parse error"),
    ("toys:predict", b'{"instances": ["bad"]}', 400, "a bad text"),
    ("toys:predict", b'{"instances": ["bug"]}', 500, "KeyError, see the server's log."),
    ("toys:predict", b'{"signature_name": "x", "instances": [""]}', 400, 'key "x" not found'),
    ("cats:predict", b'{"instances": [""]}', 404, "Latest(cats)"),
    ("toys/versions/7:predict", b'{"instances": [""]}', 404, "Specific(toys, 7)"),
    ("toys/versions/x:predict", b'{"instances": [""]}', 404, "Could not find version 'x'"),
    (f"toys/versions/{'9' * 6000}:predict", b'{"instances": [""]}', 404, "Could not find"),
    ("toys:classify", b"{}", 405, "Method Not Allowed"),
    ("toys/labels/a:predict", b"{}", 404, "Not Found"),
]


def test_errors_of_rest_have_their_code_and_form(counting):
    with running(counting(1)) as server:
        for path, body, code, message in REFUSED:
            answer = post(server, body, path)
            assert (answer.status_code, message in answer.json()["error"]) == (code, True), path
            answer = post(server, b'{"instances": ["ab"]}')
            assert answer.json()["predictions"][0]["length"] == 2


def test_grpc_refuses_by_its_codes(counting):
    with (
        running(counting(1), max_body_bytes=1000, max_pending_bytes=1000) as server,
        grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def ask(*texts, **changes):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = changes.get("name", "toys")
            request.model_spec.version_label = changes.get("label", "")
            if "label" not in changes:
                request.model_spec.ClearField("version_label")
            request.inputs["text"].CopyFrom(tf.make_tensor_proto(texts, tf.string))
            request.output_filter.extend(changes.get("only", []))
            return stub.Predict(request, timeout=20)

        answer = ask("ab", only=["length"])
        assert list(answer.outputs) == ["length"]
        assert (answer.model_spec.name, answer.model_spec.version.value) == ("toys", 1)
        assert answer.model_spec.signature_name == "serving_default"
        raw = {
            name: channel.unary_unary(f"/tensorflow.serving.{name}")
            for name in ("PredictionService/Predict", "PredictionService/Classify")
        }
        for code, call in (
            ("INVALID_ARGUMENT", lambda: ask()),
            ("INVALID_ARGUMENT", lambda: ask("a", only=["nonsense"])),
            ("INVALID_ARGUMENT", lambda: ask(*["a"] * 33)),
            ("INVALID_ARGUMENT", lambda: raw["PredictionService/Predict"](b"\xff", timeout=20)),
            ("INTERNAL", lambda: ask("bug")),
            ("NOT_FOUND", lambda: ask("a", name="cats")),
            ("NOT_FOUND", lambda: ask("a", label="stable")),
            ("RESOURCE_EXHAUSTED", lambda: ask("a" * 2000)),
            ("UNIMPLEMENTED", lambda: raw["PredictionService/Classify"](b"", timeout=20)),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code().name == code
        assert ask("ab").outputs["length"].int_val[:] == [2]


def test_one_clients_bad_request_leaves_the_others_alone(counting):
    with (
        running(counting(1), batch_timeout_ms=300) as server,
        concurrent.futures.ThreadPoolExecutor(6) as pool,
    ):
        texts = ["a", "bad", "abc", "bug", "ab", "abcd"]
        answers = list(
            pool.map(lambda text: post(server, f'{{"inputs": ["{text}"]}}'.encode()), texts)
        )
        assert [answer.status_code for answer in answers] == [200, 400, 200, 500, 200, 200]
        lengths = [a.json()["outputs"]["length"] for a in answers if a.ok]
        assert lengths == [[1], [3], [2], [4]]
        metrics = requests.get(f"{server.rest_url}/monitoring/prometheus/metrics", timeout=30).text
        assert "mmlearn_batch_rows_sum 12.0" in metrics  # all six together, then each alone
        assert 'mmlearn_requests_total{code="OK",method="predict",protocol="rest"} 4.0' in metrics


def test_a_full_queue_is_429_and_the_client_tries_again(counting):
    options = {"max_batch_size": 1, "max_queued_rows": 1, "batch_threads": 1}
    with (
        running(counting(1), **options) as server,
        clients(server, retries=9) as patient,
        clients(server, retries=0) as hasty,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        for client in (*patient, *hasty):
            client.signatures()
        waiting = [pool.submit(post, server, b'{"inputs": ["wait"]}')]
        # The first is in the model, the second in the queue.
        assert CountingVersion.waiting.wait(20)
        waiting.append(pool.submit(post, server, b'{"inputs": ["wait"]}'))
        until(lambda: "mmlearn_queued_rows 1.0" in metrics_of(server))
        refused = post(server, b'{"inputs": ["a"]}')
        assert refused.status_code == 429
        assert "the queue is full, 1 rows wait" in refused.json()["error"]
        for client in hasty:
            with pytest.raises(ServerUnavailable, match=r"is busy .*the queue is full"):
                client.predict(text=["a"])
        waiting += [pool.submit(client.predict, text=["ab"]) for client in patient]
        time.sleep(0.2)
        CountingVersion.gate.set()
        assert [one.result().status_code for one in waiting[:2]] == [200, 200]
        assert [one.result()["length"].item() for one in waiting[2:]] == [2, 2]


def test_large_bodies_are_413_however_they_come(counting):
    with running(counting(1), max_body_bytes=10_000, max_pending_bytes=10_000) as server:
        for body in (b"a" * 10_001, b"a" * 3_000_000, (b"a" * 1000 for _ in range(11))):
            answer = post(server, body)
            assert answer.status_code == 413
            assert "more than 10000 bytes" in answer.json()["error"]
        assert post(server, b'{"inputs": ["ab"]}').status_code == 200
        assert "mmlearn_pending_bytes 0.0" in metrics_of(server)


START = b"POST /v1/models/toys:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def test_bodies_that_wait_are_counted_and_slow_ones_end(counting):
    with running(
        counting(1), max_body_bytes=900, max_pending_bytes=1000, body_seconds=1.5
    ) as server:
        with connect(server) as slow:
            slow.sendall(START % 900 + b" " * 800)
            until(lambda: "mmlearn_pending_bytes 800.0" in metrics_of(server))
            answer = post(server, b'{"inputs": ["%s"]}' % (b"a" * 300))
            assert answer.status_code == 429
            assert "the requests that wait hold 800 bytes" in answer.json()["error"]
            assert post(server, b'{"inputs": ["ab"]}').status_code == 200
            answer = slow.recv(1000)
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"did not arrive in 1.5 s" in answer
        with connect(server) as gone:
            gone.sendall(START % 900 + b" " * 800)
            until(lambda: "mmlearn_pending_bytes 800.0" in metrics_of(server))
        until(lambda: "mmlearn_pending_bytes 0.0" in metrics_of(server))
        codes = re.findall(r'requests_total{code="(\w+)",method="predict"', metrics_of(server))
        assert sorted(codes) == ["CANCELLED", "OK", "REQUEST_TIMEOUT", "RESOURCE_EXHAUSTED"]


def test_health(counting):
    with (
        running(counting(1)) as server,
        grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel,
    ):
        for name in ("live", "ready"):
            assert requests.get(f"{server.rest_url}/health/{name}", timeout=30).json() == {
                name: True
            }
        found = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=20
        )
        assert found.status == health_pb2.HealthCheckResponse.SERVING
