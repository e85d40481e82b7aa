"""A small server of a SavedModel over HTTP, as TensorFlow Serving's documentation of REST has it."""

import base64
import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2


class Handler(BaseHTTPRequestHandler):
    """Answers for `server.model`; `server.faults` is a list of what goes wrong first, then next."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(self.get)

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.predict)

    def answer(self, make):
        self.server.paths.append(self.path)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "hang up":
            self.close_connection = True
            self.connection.close()
            return None
        if fault == "sleep":
            time.sleep(1)
        if isinstance(fault, tuple):
            return self.send(*fault)
        try:
            self.send(200, make())
        except KeyError as error:
            self.send(404, {"error": f"{error} not found"})
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            self.send(400, {"error": str(error)})

    def send(self, code, content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(data)

    def get(self):
        base = f"/v1/models/{self.server.name}"
        if self.path in (base, f"{base}/versions/1"):
            return {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}
        if self.path == f"{base}/metadata":
            return {"metadata": {"signature_def": {"signature_def": self.server.metadata}}}
        raise KeyError(self.path)

    def predict(self):
        if self.path != f"/v1/models/{self.server.name}:predict":
            raise KeyError(self.path)
        request = json.loads(self.body)
        signature = self.server.model.signatures[request["signature_name"]]
        specs = signature.structured_input_signature[1]
        inputs = {
            name: tf.constant(
                np.array(decoded(values), object if s.dtype == tf.string else None), s.dtype
            )
            for (name, values), s in zip(
                sorted(request["inputs"].items()), (specs[n] for n in sorted(specs)), strict=True
            )
        }
        self.server.batch_sizes.append(len(next(iter(inputs.values()))))
        outputs = {name: encoded(v.numpy()) for name, v in signature(**inputs).items()}
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}

    def log_message(self, *_):
        """Says nothing."""


def decoded(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return [decoded(each) for each in value] if isinstance(value, list) else value


def encoded(values):
    values = values.tolist()

    def plain(value):
        if isinstance(value, list):
            return [plain(each) for each in value]
        return value.decode() if isinstance(value, bytes) else value

    return plain(values)


@contextlib.contextmanager
def serving(folder, name):
    """Serves a SavedModel in a thread; yields the server, which has `url`, `faults` and `paths`."""
    with open(f"{folder}/saved_model.pb", "rb") as file:
        graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.model, server.name = tf.saved_model.load(str(folder)), name
    server.metadata = {
        key: json_format.MessageToDict(one, preserving_proto_field_name=True)
        for key, one in graph.signature_def.items()
    }
    server.faults, server.paths, server.batch_sizes = [], [], []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
