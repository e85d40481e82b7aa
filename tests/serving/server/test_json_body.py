"""JSON in and out: what is taken, and the one line for what is not."""

import base64
import json

import numpy as np
import pytest

from mmlearn.serving.server.errors import RequestError
from mmlearn.serving.server.json_body import decode, encode, parse
from mmlearn.serving.server.signature import InputSpec, Signature

TEXT = InputSpec(np.dtype(object), (None,))
SERVE = Signature("serve", {"images": TEXT, "text": TEXT}, 4)
ONE = Signature("one", {"text": TEXT}, 4)
NUMBERS = Signature(
    "numbers",
    {"x": InputSpec(np.dtype("float32"), (None, 2)), "ids": InputSpec(np.dtype("int32"), (None,))},
    4,
)


def read(body, signature):
    _, kind, value = parse(body if isinstance(body, (str, bytes)) else json.dumps(body))
    return decode(kind, value, signature)


def test_rows_and_columns_are_the_same():
    encoded = {"b64": base64.b64encode(b"\xff\0").decode()}
    columns = read({"inputs": {"images": [encoded, ""], "text": ["caf\xe9", "b"]}}, SERVE)
    rows = read(
        {"instances": [{"images": encoded, "text": "caf\xe9"}, {"text": "b", "images": ""}]}, SERVE
    )
    for found in (columns, rows):
        assert found["images"].tolist() == [b"\xff\0", b""]
        assert found["text"].tolist() == ["caf\xe9".encode(), b"b"]


def test_a_single_input_needs_no_name():
    for body in (
        {"instances": ["a", {"b64": "Yg=="}]},
        {"inputs": ["a", {"b64": "Yg=="}]},
        {"instances": [{"text": "a"}, {"text": {"b64": "Yg=="}}]},
    ):
        assert read(body, ONE)["text"].tolist() == [b"a", b"b"]


def test_numbers_become_what_the_signature_takes():
    found = read('{"inputs": {"x": [[1, 2.5], [NaN, -Infinity]], "ids": [7, -1]}}', NUMBERS)
    assert found["x"].dtype == np.float32
    np.testing.assert_array_equal(found["x"], [[1, 2.5], [np.nan, -np.inf]])
    assert found["ids"].dtype == np.int32
    assert found["ids"].tolist() == [7, -1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "JSON Parse error"),
        (b"\xff\xfe\xfd", "JSON Parse error"),
        ("[" * 100_000, "JSON Parse error"),
        ("1" * 5000, "JSON Parse error"),
        ("[1]", "must be a JSON object"),
        ({}, "one of 'instances' and 'inputs'"),
        ({"inputs": {}, "instances": []}, "one of 'instances' and 'inputs'"),
        ({"signature_name": 1, "inputs": {}}, "'signature_name' must be a string"),
        ({"instances": []}, "at least one row"),
        ({"instances": "a"}, "at least one row"),
        ({"instances": ["a"]}, "'serve' has several inputs, which must be named: images, text"),
        ({"instances": [{"images": "", "text": ""}, "a"]}, "all objects, or all values"),
        ({"inputs": {"text": ["a"]}}, r"Missing but required: \['images'\]"),
        ({"inputs": {"text": [""], "images": [""], "x": 1}}, r"Sent extra: \['x'\]"),
        ({"inputs": {"text": "a", "images": [""]}}, "'text' takes a list of strings"),
        ({"inputs": {"text": [1], "images": [""]}}, "'text' takes strings and"),
        ({"inputs": {"text": [["a"]], "images": [""]}}, "'text' takes strings and"),
        ({"inputs": {"text": [{"b64": 1}], "images": [""]}}, "'text' takes strings and"),
        ({"inputs": {"text": [{"b64": "@"}], "images": [""]}}, "unable to base64 decode"),
        ({"inputs": {"text": [{"b64": "\xe9"}], "images": [""]}}, "unable to base64 decode"),
        ({"inputs": {"text": ["a"] * 5, "images": [""]}}, "Task size 5 is larger than .* 4"),
    ],
)
def test_what_is_refused_is_said(body, message):
    with pytest.raises(RequestError, match=message) as refused:
        read(body, SERVE)
    assert refused.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("x", "ids", "message"),
    [
        ([[1, 2], [3]], [1, 2], r"'x' is of shape \(\?, 2\). Received: \(2\)"),
        ([[1, [2]]], [1], "'x' (is no array|takes float32)"),
        ([[1, 2, 3]], [1], r"'x' is of shape \(\?, 2\). Received: \(1, 3\)"),
        ([1, 2], [1], r"'x' is of shape \(\?, 2\). Received: \(2\)"),
        ([["a", "b"]], [1], "'x' takes float32"),
        ([[None, 1]], [1], "'x' takes float32"),
        ([[1, 2]], [1.5], "'ids' takes int32"),
        ([[1, 2]], [True], "'ids' takes int32"),
        ([[1, 2]], [2**40], "'ids' takes int32, and a number does not fit"),
        ([[1, 2]], [2**70], "'ids' takes int32, and a number does not fit"),
        ([[1, 10**400]], [1], "'x' takes float32, and a number does not fit"),
        ([["a" * 100_000, 1]] * 4, [1], "'x' takes float32"),
    ],
)
def test_numbers_that_are_none_are_refused(x, ids, message):
    with pytest.raises(RequestError, match=message):
        read({"inputs": {"x": x, "ids": ids}}, NUMBERS)


def test_half_a_character_is_sent_back_as_one_that_can_be():
    for body in ('{"instances": ["\\ud800"]}', '{"inputs": {"\\ud800": [""]}}'):
        with pytest.raises(RequestError) as refused:
            read(body, SERVE)
        assert refused.value.message.encode()
    assert read('{"inputs": ["\\ud800"]}', ONE)["text"].tolist() == [b"?"]


def test_rows_must_agree():
    columns = {"images": np.array([b""], object), "text": np.array([b"", b""], object)}
    with pytest.raises(RequestError, match=r"same number of rows.*'images': 1, 'text': 2"):
        SERVE.count_rows(columns)
    with pytest.raises(RequestError, match="at least 1"):
        SERVE.count_rows({name: values[:0] for name, values in columns.items()})
    assert SERVE.count_rows({"images": columns["images"]}) == 1


def test_answers_have_the_form_that_was_asked_for():
    outputs = {
        "p": np.array([[0.5, np.nan]], "float32"),
        "png_bytes": np.array([b"\xff"], object),
        "names": np.array([["caf\xe9".encode(), b"b"]], object),
    }
    row = {"p": [0.5, np.nan], "png_bytes": {"b64": "/w=="}, "names": ["caf\xe9", "b"]}
    assert json.loads(encode("inputs", outputs))["outputs"]["names"] == [["caf\xe9", "b"]]
    assert str(json.loads(encode("instances", outputs))) == str({"predictions": [row]})
    single = {"status": np.array([0, 1])}
    assert json.loads(encode("inputs", single)) == {"outputs": [0, 1]}
    assert json.loads(encode("instances", single)) == {"predictions": [0, 1]}
