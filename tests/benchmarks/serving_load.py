"""What the local server keeps up with: requests from many connections, beside the bare model.

    python -m tests.benchmarks.full_size --work DIR          # a model at full size, random weights
    python -m tests.benchmarks.serving_load DIR --seconds 60

Serves the model in a process of its own and asks it from here by asynchronous HTTP on loopback (httpx2):
each connection sends a photo and a text, waits for the answer, compares it with that of the first time,
and sends the next. Between, while nobody asks the server, the bare SavedModel is called here with the batch
size that the server came to: in turn, so that other work on the machine slows both. Client and server share
the cores, which the bare model has for itself. `--fuzz 10000` sends damaged requests to both contracts in the same way.
"""

import asyncio
import base64
import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import cv2
import grpc
import httpx2
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401
import tyro
from rich.console import Console
from rich.table import Table
from tensorflow_serving.apis import predict_pb2

from mmlearn.serving.versions import FOLDER, find_versions
from tests.serving.server.fuzzing import json_bodies, messages

NUM_INPUTS = 16
ATOL = 1e-4  # between batches of other sizes, in float32


@dataclass(frozen=True)
class Options:
    """Loads the server, and compares it with the bare model."""

    model: tyro.conf.Positional[str]
    """Folder of a run with an exported version of images and text."""
    connections: int = 32
    """How many ask at once."""
    seconds: float = 60.0
    """How long they ask, in all rounds together; the bare model is called for as long."""
    rounds: int = 3
    """How often server and bare model take turns; the share is the median's."""
    fuzz: int = 0
    """Damaged requests to each contract, instead of the load."""
    server: tuple[str, ...] = ()
    """More words for the server, such as --server=--batch-threads --server=1."""


def make_inputs():
    """Photos of 640x480 and texts."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(NUM_INPUTS):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
        images.append(cv2.imencode(".jpg", pixels)[1].tobytes())
    return images, [f"a dog and {number} red circles" for number in range(NUM_INPUTS)]


class Server:
    """`mmlearn serve` in a process of its own."""

    def __init__(self, options):
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mmlearn", "serve", options.model),
                *("--rest-port", "0", "--grpc-port", "0", *options.server),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        name, self.rest_url, grpc_url = re.search(
            r"'(\S+)' at (http:\S+) and (grpc:\S+)", line
        ).groups()
        self.grpc_place = grpc_url.removeprefix("grpc://")
        self.name, self.predict_url = name, f"{self.rest_url}/v1/models/{name}:predict"

    def metric(self, name):
        """The value of a metric."""
        text = httpx2.get(f"{self.rest_url}/monitoring/prometheus/metrics").text
        return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])

    def peak_mb(self):
        """The most memory that the process has had."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) / 1024

    def stop(self):
        """Stops it; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        with self.process:
            return self.process.wait()


def body_of(image, text):
    """The body of a request of one row."""
    encoded = {"b64": base64.b64encode(image).decode()}
    return json.dumps({"inputs": {"images": [encoded], "text": [text]}}).encode()


async def load(server, options):
    """Asks for a round; returns the seconds of each answer, and what went wrong by its kind."""
    bodies = [body_of(image, text) for image, text in zip(*make_inputs(), strict=True)]
    limits = httpx2.Limits(max_connections=options.connections)
    answered, wrong = [], collections.Counter()
    async with httpx2.AsyncClient(limits=limits, timeout=120) as client:
        first = [(await client.post(server.predict_url, content=body)).json() for body in bodies]
        expected = [np.array(one["outputs"]["probabilities"]) for one in first]
        before = server.metric("mmlearn_batch_rows_sum"), server.metric("mmlearn_batch_rows_count")
        start = time.perf_counter()

        async def ask(row):
            while time.perf_counter() - start < options.seconds / options.rounds:
                row = (row + 1) % NUM_INPUTS
                asked = time.perf_counter()
                answer = await client.post(server.predict_url, content=bodies[row])
                answered.append(time.perf_counter() - asked)
                if answer.status_code != 200:
                    wrong[answer.status_code] += 1
                elif not np.allclose(
                    answer.json()["outputs"]["probabilities"], expected[row], rtol=0, atol=ATOL
                ):
                    wrong["another answer"] += 1

        await asyncio.gather(*(ask(number) for number in range(options.connections)))
        seconds = time.perf_counter() - start
    rows, batches = (
        server.metric(f"mmlearn_batch_rows_{kind}") - was
        for kind, was in zip(("sum", "count"), before, strict=True)
    )
    return np.array(answered), wrong, seconds, rows / batches


def call_bare(serve, seconds, batch_size):
    """Rows per second of the SavedModel, called in turn with batches of one size."""
    images, texts = make_inputs()
    rows = [number % NUM_INPUTS for number in range(batch_size)]
    inputs = {
        "images": tf.constant([images[row] for row in rows]),
        "text": tf.constant([texts[row] for row in rows]),
    }
    serve(**inputs)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        serve(**inputs)["probabilities"].numpy()
        count += batch_size
    return count / (time.perf_counter() - start)


def run_load(options):
    """Prints the table of the load."""
    folder = os.path.join(options.model, FOLDER)
    path = os.path.join(folder, str(find_versions(folder)[-1]))
    model = tf.saved_model.load(path)
    answered, wrong, served, bare, sizes = [], collections.Counter(), [], [], []
    server = Server(options)
    try:
        for _ in range(options.rounds):
            seconds, found, whole, size = asyncio.run(load(server, options))
            answered.extend(seconds)
            wrong.update(found)
            served.append(len(seconds) / whole)
            sizes.append(max(1, round(size)))
            turn = options.seconds / options.rounds
            bare.append(call_bare(model.signatures["serving_default"], turn, sizes[-1]))
        peak = server.peak_mb()
    finally:
        code = server.stop()
    shares = np.array(served) / np.array(bare)
    table = Table("what", "measured")
    for what, value in (
        ("connections", options.connections),
        ("answers", len(answered)),
        ("errors", dict(wrong) or 0),
        ("p50, p99", f"{np.percentile(answered, 50):.3f} s, {np.percentile(answered, 99):.3f} s"),
        ("rows/s, by round", ", ".join(f"{each:.1f}" for each in served)),
        ("rows of a batch, mean", ", ".join(map(str, sizes))),
        ("bare model with that batch, rows/s", ", ".join(f"{each:.1f}" for each in bare)),
        ("share of the bare model, median", f"{np.median(shares):.2f}"),
        ("server's peak memory", f"{peak:.0f} MB"),
        ("exit code after SIGTERM", code),
        ("load of the machine", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"),
    ):
        table.add_row(what, str(value))
    Console().print(table)


def run_fuzz(options):
    """Sends damaged requests; prints what was answered how often."""
    server, found = Server(options), collections.Counter()
    images, texts = make_inputs()
    right = json.loads(body_of(images[0], texts[0]))
    request = predict_pb2.PredictRequest()
    request.model_spec.name = server.name
    # A photo would take up all of the damage.
    request.inputs["images"].CopyFrom(tf.make_tensor_proto([b"", b"no image"]))
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(texts[:2]))
    try:
        before = server.peak_mb()
        with (
            httpx2.Client(timeout=120) as client,
            grpc.insecure_channel(server.grpc_place) as channel,
        ):
            raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            for body in json_bodies(right, options.fuzz):
                answer = client.post(server.predict_url, content=body)
                typed = answer.json().keys() <= {"outputs", "predictions", "error"}
                found[f"REST {answer.status_code}{'' if typed else ' untyped'}"] += 1
            for message in messages(request.SerializeToString(), options.fuzz):
                try:
                    raw(message, timeout=120)
                    found["gRPC OK"] += 1
                except grpc.RpcError as error:
                    found[f"gRPC {error.code().name}"] += 1
        peak = server.peak_mb()
    finally:
        code = server.stop()
    table = Table("answer", "requests")
    for what, count in sorted(found.items()):
        table.add_row(what, str(count))
    Console().print(table)
    print(f"peak memory {before:.0f} MB before, {peak:.0f} MB after; exit code {code}")


def main():
    """Prints a table."""
    options = tyro.cli(Options)
    run_fuzz(options) if options.fuzz else run_load(options)


if __name__ == "__main__":
    main()
