"""Servers in a thread: of a model that takes no time to load, or of whatever is in a folder."""

import asyncio
import contextlib
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from mmlearn.serving.server import version_manager
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


@pytest.fixture
def counting(tmp_path, monkeypatch):
    """A folder `toys/serving` of versions that count: `counting(2)` writes the second."""
    monkeypatch.setattr(version_manager, "ServedVersion", CountingVersion)
    CountingVersion.gate.clear()
    CountingVersion.waiting.clear()
    folder = tmp_path / "toys" / "serving"

    def write(number, content=None):
        version = folder / str(number)
        version.mkdir(parents=True, exist_ok=True)
        (version / "content").write_text(content or str(number))
        return folder

    write(1)
    return write


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
