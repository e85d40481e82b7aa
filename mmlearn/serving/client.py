"""A client of TensorFlow Serving, and of what answers like it. It needs no TensorFlow for REST."""

import importlib
import os

import numpy as np

from mmlearn.serving.errors import BadRequest
from mmlearn.serving.rest import Rest
from mmlearn.serving.signature_table import read_signatures

_FILES = ("images", "audio")


class Client:
    """Asks a server for predictions.

    Rows go in batches, one after the other. Connection errors and answers that the server is busy (429,
    503) are retried, each time after twice the pause; nothing else is, and no timeout.

    Args:
        url: str. `http://host:8501` or `https://...` for REST, `grpc://host:8500` for gRPC, which needs
            `pip install 'mmlearn-keras[serving]'`.
        model: str. Its name on the server.
        timeout: float, seconds that the server may take to connect, and then to answer a request.
        retries: int. How often a request is tried again.
        version: int, or `None` for the newest.
        manifest: str, the path of the served version's `assets.extra/manifest.json`, for servers that do
            not tell their signatures, such as kserve; by default the server is asked.

    Raises:
        ValueError: when the URL is no such URL, or the manifest none.

    Example:

    ```python
    client = Client("http://localhost:8501", "shapes")
    answer = client.predict(images=["a.jpg", "b.jpg"], text=["a red ring", ""])
    answer["probabilities"], answer["image_status"]
    ```

    Reference:
        TensorFlow Serving, "RESTful API" and `prediction_service.proto`.
    """

    def __init__(self, url, model, timeout=10.0, retries=3, version=None, manifest=None):
        scheme, _, place = url.partition("://")
        if scheme not in ("http", "https", "grpc") or not place.strip("/"):
            raise ValueError(
                f"A server is http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT. Received: {url!r}."
            )
        if timeout <= 0 or retries < 0:
            raise ValueError(
                "`timeout` must be positive, and `retries` not negative. "
                f"Received: timeout={timeout}, retries={retries}."
            )
        if scheme == "grpc":
            # Only now: it imports TensorFlow, which takes seconds.
            grpc_transport = importlib.import_module("mmlearn.serving.grpc_transport")
            self._transport = grpc_transport.Grpc(place, model, timeout, retries, version)
        else:
            self._transport = Rest(url.rstrip("/"), model, timeout, retries, version)
        self._signatures = None if manifest is None else read_signatures(manifest)

    def close(self):
        """Closes the connections."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def status(self):
        """The versions that are served: dict of int to their state, such as `"AVAILABLE"`."""
        return self._transport.status()

    def signatures(self):
        """Inputs and outputs of each signature, asked for once.

        Returns:
            A dict of signature to `{"inputs": {name: (dtype, shape)}, "outputs": ...}`, dtypes as numpy
            has them and `object` for strings, shapes as tuples with `None` for what is free.
        """
        if self._signatures is None:
            self._signatures = self._transport.signatures()
        return self._signatures

    def predict(self, images=None, text=None, signature="serving_default", batch_size=32, **others):
        """Asks for the predictions of some rows.

        What is not passed is sent as absent, and so is `None` in a row.

        Args:
            images: list of paths or bytes of image files.
            text: list of str.
            signature: str.
            batch_size: int, rows of one request.
            **others: of the other inputs of the signature, such as `audio` (paths or bytes), `series` or
                `table_age`.

        Returns:
            A dict of the signature's outputs to arrays `(num_rows, ...)`; strings are str.

        Raises:
            ValueError: when there are no rows, their numbers differ, or an input is not one.
            ServerUnavailable, BadRequest, ServerError: see `mmlearn.serving.errors`.
        """
        given = {"images": images, "text": text, **others}
        given = {name: list(values) for name, values in given.items() if values is not None}
        lengths = {name: len(values) for name, values in given.items()}
        if not lengths or not all(lengths.values()) or len(set(lengths.values())) > 1:
            raise ValueError(
                f"All inputs need one value per row, and there must be a row. Received: {lengths}."
            )
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}.")
        known = self.signatures()
        if signature not in known:
            raise BadRequest(
                f"The model has no signature {signature!r}. Fix: one of {', '.join(sorted(known))}."
            )
        inputs, outputs = known[signature]["inputs"], known[signature]["outputs"]
        unknown = sorted(given.keys() - inputs.keys())
        if unknown:
            raise ValueError(
                f"{signature!r} has no input {unknown[0]!r}. Fix: one of {', '.join(sorted(inputs))}."
            )
        count = next(iter(lengths.values()))
        parts = []
        for start in range(0, count, batch_size):
            rows = range(start, min(start + batch_size, count))
            batch = {
                name: _read(
                    name, [given[name][row] if name in given else None for row in rows], *spec
                )
                for name, spec in inputs.items()
            }
            parts.append(self._transport.predict(signature, batch, outputs))
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}


def _read(name, values, dtype, shape):
    """The batch of an input: an array, or a list of str and bytes."""
    if dtype is object:
        return [_read_string(name, value) for value in values]
    if any(value is None for value in values):
        absent = np.full(
            [side or 1 for side in shape[1:]], np.nan if dtype.kind == "f" else 0, dtype
        )
        values = [absent if value is None else value for value in values]
    return np.asarray(values, dtype)


def _read_string(name, value):
    if name not in _FILES:
        return "" if value is None else value
    if value is None or isinstance(value, bytes):
        return value or b""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(
            f"`{name}` takes paths or bytes of files. Received: {type(value).__name__}. Fix: encode arrays "
            "as PNG or WAV first."
        )
    if not str(value):
        return b""
    with open(value, "rb") as file:
        return file.read() or b"\0"  # an empty file is unreadable, not absent
