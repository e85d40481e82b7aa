"""REST as TensorFlow Serving speaks it: `/v1/models/NAME:predict`, its state and its metadata."""

import base64
import json
import re

import numpy as np
import requests

from mmlearn.serving.errors import (
    BadRequest,
    ServerError,
    ServerTimeout,
    ServerUnavailable,
    refusal_fix,
)
from mmlearn.serving.retry import call_with_retries

BUSY = (429, 503)
_BROKEN = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
_DTYPES = {
    "DT_STRING": object,
    "DT_FLOAT": np.dtype("float32"),
    "DT_INT32": np.dtype("int32"),
    "DT_INT64": np.dtype("int64"),
    "DT_BOOL": np.dtype("bool"),
}


class Rest:
    """One model of a server, by REST.

    Args:
        url: str, without a slash at its end.
        model: str.
        timeout: float, seconds.
        retries: int.
        version: int or `None`.
    """

    def __init__(self, url, model, timeout, retries, version):
        self._url, self._model = url, model
        self._timeout, self._retries = timeout, retries
        self._path = f"{url}/v1/models/{model}"
        if version is not None:
            self._path += f"/versions/{version}"
        self._session = requests.Session()

    def close(self):
        """Closes the connections."""
        self._session.close()

    def status(self):
        """See `Client.status`."""

        def read(found):
            return {int(one["version"]): one["state"] for one in found["model_version_status"]}

        return self._ask("GET", self._path, read)

    def signatures(self):
        """See `Client.signatures`."""

        def read(found):
            return {
                name: {kind: _read_specs(one.get(kind, {})) for kind in ("inputs", "outputs")}
                for name, one in found["metadata"]["signature_def"]["signature_def"].items()
                if not name.startswith("__")
            }

        try:
            return self._ask("GET", f"{self._path}/metadata", read)
        except BadRequest as error:
            raise BadRequest(
                f"{error} Or, if it does not tell signatures, pass the model's manifest."
            ) from None

    def predict(self, signature, batch, outputs):
        """Asks for one batch.

        Args:
            signature: str.
            batch: dict of input to an array, or a list of str or bytes.
            outputs: dict of output to dtype and shape.

        Returns:
            A dict of output to array.
        """
        inputs = {name: _encode(values) for name, values in batch.items()}
        body = {"signature_name": signature, "inputs": inputs}

        def read(found):
            found = found["outputs"]
            if len(outputs) == 1:  # a single one comes without its name
                found = {next(iter(outputs)): found}
            return {name: _decode(name, found[name], dtype) for name, (dtype, _) in outputs.items()}

        return self._ask("POST", f"{self._path}:predict", read, json.dumps(body))

    def _ask(self, method, url, read, body=None):
        try:
            answer = call_with_retries(
                lambda: self._send(method, url, body), self._retries, _is_passing
            )
        except _BROKEN as error:
            raise ServerUnavailable(
                f"No server at {self._url!r} ({_reason(error)}). Fix: start it, or check --server."
            ) from None
        except requests.Timeout:
            raise ServerTimeout(
                f"The server at {self._url!r} did not answer in {self._timeout:g} s. Fix: a longer timeout, "
                "or smaller batches."
            ) from None
        except requests.RequestException as error:
            raise BadRequest(
                f"{url!r} cannot be asked ({_reason(error)}). Fix: check the URL."
            ) from None
        except _Busy as busy:
            raise ServerUnavailable(
                f"The server at {self._url!r} is busy ({busy}). Fix: try later, or more retries."
            ) from None
        try:
            return read(answer.json())
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(
                f"{url!r} answered with what is no answer of TensorFlow Serving ({_reason(error)}). Fix: "
                "check that it is one."
            ) from None

    def _send(self, method, url, body):
        headers = {"Content-Type": "application/json"}
        answer = self._session.request(
            method, url, data=body, headers=headers, timeout=self._timeout
        )
        if answer.status_code in BUSY:
            raise _Busy(f"{answer.status_code}: {_message(answer)}")
        if answer.status_code == 200:
            return answer
        reason = f"{answer.status_code}: {_message(answer)}".rstrip(".")
        if 400 <= answer.status_code < 500:
            raise BadRequest(
                f"The server refuses the request, {reason}.{refusal_fix(reason, self._model)}"
            )
        raise ServerError(f"The server failed, {reason}. Fix: see its log.")


class _Busy(Exception):
    """429 or 503."""


def _is_passing(error):
    # A connection that was never made, or broke: predictions may be asked for twice.
    return isinstance(error, (*_BROKEN, _Busy))


def _message(answer):
    try:
        return " ".join(str(answer.json()["error"]).split())[:500]
    except (ValueError, KeyError, TypeError):
        return answer.reason or "no reason given"


def _reason(error):
    # What requests says of a connection is long; what the system said is at its end.
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
    return found[1] if found else f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _read_specs(tensors):
    specs = {}
    for name, tensor in tensors.items():
        sides = [int(side["size"]) for side in tensor["tensor_shape"].get("dim", [])]
        if tensor["dtype"] not in _DTYPES:
            raise ServerError(
                f"{name!r} is of type {tensor['dtype']}, which no model of this package has. Fix: ask for "
                "another model."
            )
        shape = tuple(None if side < 0 else side for side in sides)
        specs[name] = (_DTYPES[tensor["dtype"]], shape)
    return specs


def _encode(values):
    if isinstance(values, np.ndarray):
        return values.tolist()
    encoded = []
    for value in values:
        if isinstance(value, bytes):
            value = {"b64": base64.b64encode(value).decode()}
        encoded.append(value)
    return encoded


def _decode(name, values, dtype):
    if dtype is not object:
        return np.asarray(values, dtype)
    if name.endswith("_bytes"):
        values = [base64.b64decode(value["b64"]) for value in values]
    return np.asarray(values, object)
