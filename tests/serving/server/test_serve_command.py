"""`python -m mmlearn serve` of a real model: right answers, hostile clients, death and new versions."""

import base64
import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf

pytest.importorskip("uvicorn", reason="needs the extra `server`")

from tensorflow_serving.apis import predict_pb2

from mmlearn.cli.main import main
from mmlearn.serving.client import Client
from tests.models.test_signatures import HUGE, jpeg
from tests.programs import ROOT
from tests.serving.server.fuzzing import json_bodies, messages

pytestmark = pytest.mark.large

IMAGES = [jpeg(seed) for seed in range(7)] + [b"no image"]
TEXTS = ["a dog on the sofa", "a red cat", "", "dog", "blue circle", "cat", "left of", "a cat"]
FUZZED = 300  # of each contract


class Command:
    """The command in a process of its own; its standard error goes on to that of the tests."""

    def __init__(self, folder, *options):
        words = [sys.executable, "-m", "mmlearn", "serve", str(folder), "--poll-seconds", "0.2"]
        self.process = subprocess.Popen(
            [*words, *map(str, options)],
            cwd=ROOT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        self.rest_url, self.grpc_url = re.search(r"(http:\S+) and (grpc:\S+)", line).groups()
        self.ports = [url.rpartition(":")[2] for url in (self.rest_url, self.grpc_url)]

    def peak_bytes(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024

    def end(self, number):
        self.process.send_signal(number)
        with self.process:
            return self.process.wait(120)


@pytest.fixture(scope="module")
def folder(exported, tmp_path_factory):
    """A run with the exported version."""
    run = tmp_path_factory.mktemp("run") / "toys"
    shutil.copytree(pathlib.Path(exported[1]).parent, run / "serving")
    return run


@pytest.fixture(scope="module")
def server(folder):
    limits = ("--max-body-bytes", 2_000_000, "--max-pending-bytes", 8_000_000)
    command = Command(folder, "--rest-port", 0, "--grpc-port", 0, *limits)
    yield command
    assert command.end(signal.SIGTERM) == 0


@contextlib.contextmanager
def clients(server):
    with (
        Client(server.rest_url, "toys", timeout=120) as rest,
        Client(server.grpc_url, "toys", timeout=120) as by_grpc,
    ):
        yield rest, by_grpc


@pytest.fixture(scope="module")
def wanted(exported):
    """What Keras predicts for the first seven rows."""
    return exported[0].predict({"images": IMAGES[:7], "text": TEXTS[:7]}, verbose=0)


def test_a_bad_row_of_eight_leaves_seven_right_ones(exported, server, wanted):
    with clients(server) as both:
        for client in both:
            answer = client.predict(images=IMAGES, text=TEXTS)
            np.testing.assert_allclose(answer["probabilities"][:7], wanted, rtol=0, atol=1e-5)
            assert answer["image_status"].tolist() == [0] * 7 + [2]
            assert answer["labels"].tolist() == [list(exported[0].label_names)] * 8
            answer = client.predict(images=[HUGE], text=[""])
            assert (answer["image_status"].item(), answer["status"].item()) == (3, 1)
            signatures = client.signatures()
            assert set(signatures) == {
                *("serving_default", "explain", "embed_image", "embed_text", "serve_tensors")
            }
            tensors = exported[0].preprocessor({"images": IMAGES[:7], "text": TEXTS[:7]})
            tensors = {name: np.asarray(tensors[name]) for name in exported[0].input}
            answer = client.predict(**tensors, signature="serve_tensors")
            np.testing.assert_allclose(answer["probabilities"], wanted, rtol=0, atol=1e-5)


def test_requests_of_many_clients_are_answered_each_with_its_own(server, wanted):
    def ask(row):
        with Client(server.rest_url, "toys", timeout=120) as client:
            answer = client.predict(images=[IMAGES[row]], text=[TEXTS[row]])
        np.testing.assert_allclose(answer["probabilities"][0], wanted[row], rtol=0, atol=1e-5)

    with concurrent.futures.ThreadPoolExecutor(14) as pool:
        list(pool.map(ask, [row for row in range(7) for _ in range(8)]))
    metrics = requests.get(f"{server.rest_url}/monitoring/prometheus/metrics", timeout=60).text
    rows, count = (
        float(re.search(rf"mmlearn_batch_rows_{kind} (\S+)", metrics)[1])
        for kind in ("sum", "count")
    )
    assert rows > count  # some shared a batch


def test_fuzzed_requests_get_typed_errors_and_harm_nobody(server, wanted):
    encoded = [{"b64": base64.b64encode(image).decode()} for image in IMAGES[:2]]
    right = {"signature_name": "serving_default", "inputs": {"images": encoded, "text": TEXTS[:2]}}
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toys"
    # A photo would take up all of the damage.
    request.inputs["images"].CopyFrom(tf.make_tensor_proto([b"", b"no image"]))
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(TEXTS[:2]))
    codes = {}
    place = server.grpc_url.removeprefix("grpc://")
    with (
        requests.Session() as session,
        grpc.insecure_channel(place) as channel,
        clients(server) as both,
    ):
        raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        pairs = zip(
            json_bodies(right, FUZZED), messages(request.SerializeToString(), FUZZED), strict=True
        )
        for number, (body, message) in enumerate(pairs):
            answer = session.post(f"{server.rest_url}/v1/models/toys:predict", body, timeout=60)
            assert answer.status_code in (200, 400), (body, answer.text)
            assert set(answer.json()) <= {"outputs", "predictions", "error"}
            codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
            try:
                raw(message, timeout=60)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
            assert code in ("OK", "INVALID_ARGUMENT", "NOT_FOUND"), (message, code)
            codes[code] = codes.get(code, 0) + 1
            if number % 50 == 0:
                for client in both:
                    found = client.predict(images=IMAGES[:7], text=TEXTS[:7])["probabilities"]
                    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert min(codes[400], codes["INVALID_ARGUMENT"]) > 10, codes
    metrics = requests.get(f"{server.rest_url}/monitoring/prometheus/metrics", timeout=60).text
    assert 'code="INTERNAL"' not in metrics


def test_a_body_of_a_gigabyte_takes_no_memory(server):
    before = server.peak_bytes()
    chunk = b"a" * 1_000_000
    answer = requests.post(
        f"{server.rest_url}/v1/models/toys:predict", data=(chunk for _ in range(1000)), timeout=300
    )
    assert answer.status_code == 413
    assert server.peak_bytes() - before < 50e6


def test_a_new_version_takes_over_under_load_and_a_damaged_one_does_not(folder, server, wanted):
    stop = threading.Event()

    def load(url):
        count = 0
        with Client(url, "toys", timeout=120, retries=0) as client:
            while not stop.is_set():
                answer = client.predict(images=IMAGES[:3], text=TEXTS[:3])["probabilities"]
                np.testing.assert_allclose(answer, wanted[:3], rtol=0, atol=1e-5)
                count += 1
        return count

    with (
        concurrent.futures.ThreadPoolExecutor(4) as pool,
        Client(server.rest_url, "toys", timeout=120) as client,
    ):
        waiting = [pool.submit(load, url) for url in (server.rest_url, server.grpc_url) * 2]
        try:
            partial = folder / "serving" / ".3.partial"
            shutil.copytree(folder / "serving" / "1", partial)
            weights = partial / "variables" / "variables.data-00000-of-00001"
            data = bytearray(weights.read_bytes())
            data[100] ^= 1
            weights.write_bytes(data)
            partial.rename(folder / "serving" / "3")
            shutil.copytree(folder / "serving" / "1", folder / "serving" / ".2.partial")
            (folder / "serving" / ".2.partial").rename(folder / "serving" / "2")
            end = time.monotonic() + 120
            while client.status() != {1: "END", 2: "AVAILABLE", 3: "END"}:
                assert time.monotonic() < end, client.status()
                time.sleep(0.1)
        finally:
            stop.set()
        assert min(one.result() for one in waiting) > 0
    states = requests.get(f"{server.rest_url}/v1/models/toys/versions/3", timeout=60).json()
    message = states["model_version_status"][0]["status"]["error_message"]
    assert "is not what was exported" in message


def test_death_is_survived_by_clients_that_try_again(folder, wanted):
    first = Command(folder, "--rest-port", 0, "--grpc-port", 0)
    with clients(first) as both:
        for client in both:
            client.predict(text=["a dog"])
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        again = Command(folder, "--rest-port", first.ports[0], "--grpc-port", first.ports[1])
        for client in both:
            answer = client.predict(images=IMAGES[:7], text=TEXTS[:7])["probabilities"]
            np.testing.assert_allclose(answer, wanted, rtol=0, atol=1e-5)
    assert again.end(signal.SIGTERM) == 0


def test_what_cannot_be_served_is_one_line(tmp_path, capfd):
    assert main(["serve", str(tmp_path)]) == 2
    assert "holds no exported version. Fix: python -m mmlearn export" in capfd.readouterr().err
    assert main(["serve", str(tmp_path), "--max-batch-size", "0"]) == 2
    assert "`max_batch_size` must be positive. Received: 0." in capfd.readouterr().err
