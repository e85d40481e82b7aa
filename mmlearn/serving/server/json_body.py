"""The JSON of TensorFlow Serving's REST: rows (`instances`) or columns (`inputs`), bytes as base64."""

import base64
import binascii
import json
import reprlib

import numpy as np

from mmlearn.serving.server.errors import invalid

DEFAULT_SIGNATURE = "serving_default"
# By the kind of the array that the signature takes: what JSON may give.
_TYPES = {"O": {bytes}, "f": {int, float}, "i": {int}, "b": {bool}}


def parse(body):
    """Reads the body of a request.

    Args:
        body: bytes.

    Returns:
        The signature's name, and what was sent: `("inputs" or "instances", value)`.

    Raises:
        RequestError: `INVALID_ARGUMENT`.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {_short(error)}") from None
    if not isinstance(request, dict):
        raise invalid("the request must be a JSON object with 'instances' or 'inputs'.")
    name = request.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise invalid(f"'signature_name' must be a string. Received: {_short(name)}.")
    sent = [key for key in ("instances", "inputs") if key in request]
    if len(sent) != 1:
        raise invalid("the request must have one of 'instances' and 'inputs'.")
    return name, sent[0], request[sent[0]]


def decode(kind, value, signature):
    """The inputs of a request.

    Args:
        kind: `"instances"` or `"inputs"`.
        value: what JSON gave.
        signature: `Signature`.

    Returns:
        A dict of name to array.

    Raises:
        RequestError: `INVALID_ARGUMENT`.
    """
    columns = _columns_of_rows(value, signature) if kind == "instances" else value
    if not _is_named(columns):
        columns = {_single(signature): columns}
    signature.check_names(columns)
    return {name: _array(name, values, signature) for name, values in columns.items()}


def encode(kind, outputs):
    """The body of an answer.

    Args:
        kind: `"instances"` or `"inputs"`, as it was asked.
        outputs: dict of name to array `(num_rows, ...)`.

    Returns:
        bytes.

    Example:

    >>> import numpy as np
    >>> encode("instances", {"status": np.array([0, 1]), "labels": np.array([b"a", b"b"], object)})
    b'{"predictions": [{"status": 0, "labels": "a"}, {"status": 1, "labels": "b"}]}'
    """
    columns = {name: _plain(name, values.tolist()) for name, values in outputs.items()}
    (first, *others) = columns.values()
    if kind == "inputs":
        return json.dumps({"outputs": columns if others else first}).encode()
    rows = first
    if others:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps({"predictions": rows}).encode()


def _columns_of_rows(rows, signature):
    if not isinstance(rows, list) or not rows:
        raise invalid("'instances' must be a list with at least one row.")
    if not any(_is_named(row) for row in rows):
        return {_single(signature): rows}
    for row in rows:
        if not _is_named(row):
            raise invalid("rows of 'instances' must be all objects, or all values.")
        signature.check_names(row)
    return {name: [row[name] for row in rows] for name in signature.inputs}


def _is_named(value):
    return isinstance(value, dict) and value.keys() != {"b64"}


def _single(signature):
    if len(signature.inputs) > 1:
        raise invalid(
            f"signature {signature.name!r} has several inputs, which must be named: "
            f"{', '.join(sorted(signature.inputs))}."
        )
    return next(iter(signature.inputs))


def _array(name, values, signature):
    dtype, shape = signature.inputs[name].dtype, signature.inputs[name].shape
    if dtype.kind == "O":
        values = _strings(name, values, len(shape))
    try:
        # Of objects first: a long string among many numbers would make all of them as long.
        array = np.array(values, object)
    except (ValueError, RecursionError) as error:
        raise invalid(f"input {name!r} is no array: {_short(error)}") from None
    signature.check_shape(name, array.shape)
    if not set(map(type, array.flat)) <= _TYPES[dtype.kind]:
        raise invalid(f"input {name!r} takes {dtype.name}. Received: {_short(values)}.")
    try:
        converted = array.astype(dtype)
    except OverflowError:
        converted = None
    if converted is None or (dtype.kind == "i" and not np.array_equal(converted, array)):
        raise invalid(f"input {name!r} takes {dtype.name}, and a number does not fit in it.")
    return converted


def _strings(name, value, depth):
    if depth:
        if not isinstance(value, list):
            raise invalid(f"input {name!r} takes a list of strings. Received: {_short(value)}.")
        return [_strings(name, each, depth - 1) for each in value]
    if isinstance(value, str):
        # JSON may spell halves of characters, which UTF-8 has none for.
        return value.encode("utf-8", "replace")
    if isinstance(value, dict) and isinstance(value.get("b64"), str) and len(value) == 1:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (ValueError, binascii.Error) as error:
            raise invalid(f"input {name!r}: unable to base64 decode: {_short(error)}") from None
    raise invalid(f'input {name!r} takes strings and {{"b64": ...}}. Received: {_short(value)}.')


def _plain(name, value):
    if isinstance(value, list):
        return [_plain(name, each) for each in value]
    if not isinstance(value, bytes):
        return value
    if name.endswith("_bytes"):
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")


def _short(value):
    return str(value)[:200] if isinstance(value, Exception) else reprlib.repr(value)[:200]
