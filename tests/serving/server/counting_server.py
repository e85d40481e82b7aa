"""A model that takes no time to load, servers of it in a thread, and how they are asked."""

import asyncio
import contextlib
import socket
import threading
import time

import numpy as np
import requests
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from mmlearn.serving.client import Client
from mmlearn.serving.server.errors import invalid
from mmlearn.serving.server.model_server import ModelServer
from mmlearn.serving.server.options import ServerOptions
from mmlearn.serving.server.signature import InputSpec, Signature


class CountingVersion:
    """Says how long texts are, and in which version; "bad" fails the whole batch, "wait" waits for `gate`.

    A version whose file `content` is `broken` cannot be loaded.
    """

    gate, waiting = threading.Event(), threading.Event()

    def __init__(self, folder, max_batch_size):
        with open(f"{folder}/content") as file:
            self.content = file.read()
        if self.content == "broken":
            raise ValueError("it is broken")
        self._signature = Signature(
            "serving_default", {"text": InputSpec(np.dtype(object), (None,))}, max_batch_size
        )
        table = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
        for tensors, name, dtype in (
            (table.inputs, "text", tf.string),
            (table.outputs, "length", tf.int32),
            (table.outputs, "version_bytes", tf.string),
        ):
            tensors[name].dtype = dtype.as_datatype_enum
            tensors[name].tensor_shape.dim.add(size=-1)
        self.signature_defs = {"serving_default": table}

    def signature(self, name):
        if name != "serving_default":
            raise invalid(f'Serving signature key "{name}" not found.')
        return self._signature

    def warm_up(self):
        """Needs none."""

    def call(self, signature, inputs):
        texts = inputs["text"].tolist()
        if b"bad" in texts:
            raise invalid("a bad text")
        if b"bug" in texts:
            raise KeyError("a bug")
        if b"wait" in texts:
            self.waiting.set()
            self.gate.wait()
        lengths = np.array([len(text) for text in texts], "int32")
        return {
            "length": lengths,
            "version_bytes": np.array([self.content.encode()] * len(texts), object),
        }


@contextlib.contextmanager
def running(folder, **options):
    """Runs a server of a folder in a thread; yields it."""
    defaults = {"rest_port": 0, "grpc_port": 0, "poll_seconds": 0.05, "stop_seconds": 5}
    server = ModelServer(str(folder), ServerOptions(**{**defaults, **options}))
    started, failures = threading.Event(), []

    def run():
        try:
            asyncio.run(server.run(started.set))
        except Exception as error:
            failures.append(error)
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        if not failures:
            yield server
    finally:
        server.stop()
        thread.join()
    if failures:
        raise failures[0]


def until(condition, seconds=20):
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def post(server, body, path="toys:predict", **options):
    return requests.post(f"{server.rest_url}/v1/models/{path}", data=body, timeout=30, **options)


@contextlib.contextmanager
def clients(server, **options):
    """A client by REST, and one by gRPC."""
    with (
        Client(server.rest_url, "toys", **options) as rest,
        Client(server.grpc_url, "toys", **options) as by_grpc,
    ):
        yield rest, by_grpc


def metrics_of(server):
    return requests.get(f"{server.rest_url}/monitoring/prometheus/metrics", timeout=30).text


def connect(server):
    host, port = server.rest_url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def rest_states(server):
    with Client(server.rest_url, "toys") as client:
        return client.status()


def version_served(client):
    return client.predict(text=["a"])["version_bytes"].item()
