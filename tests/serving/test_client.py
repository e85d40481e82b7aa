"""The client, against a server that runs the exported model."""

import json
import socket

import numpy as np
import pytest
import requests

from mmlearn.cli.main import main
from mmlearn.serving import retry
from mmlearn.serving.client import Client
from mmlearn.serving.errors import (
    BadRequest,
    ServerError,
    ServerTimeout,
    ServerUnavailable,
)
from tests.models.test_signatures import HUGE, jpeg
from tests.serving.http_server import serving

pytestmark = pytest.mark.large

IMAGES = [jpeg(), None, b"no image", b"", HUGE]
TEXTS = ["a dog on the sofa", "a red cat", None, "", "caf\xe9 \u20ac"]


@pytest.fixture(scope="module")
def server(exported):
    with serving(exported[1], "toys") as server:
        yield server


@pytest.fixture
def client(server, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    server.faults.clear()
    server.paths.clear()
    server.batch_sizes.clear()
    # The first call of a signature takes seconds, on a busy machine many.
    with Client(server.url, "toys", timeout=120) as client:
        yield client


def test_answers_are_those_of_the_model(exported, client, server):
    classifier, _ = exported
    answer = client.predict(images=IMAGES, text=TEXTS, batch_size=2)
    assert server.batch_sizes == [2, 2, 1]
    images = [IMAGES[0], b"", b"", b"", b""]
    rows = [0, 1, 4]  # Keras refuses rows of nothing
    x = {"images": [images[r] for r in rows], "text": [TEXTS[r] for r in rows]}
    expected = classifier.predict(x, verbose=0)
    np.testing.assert_allclose(answer["probabilities"][rows], expected, rtol=0, atol=1e-5)
    assert answer["probabilities"].dtype == np.float32
    assert answer["image_status"].tolist() == [0, 1, 2, 1, 3]
    assert answer["status"].tolist() == [0, 0, 1, 1, 0]
    assert answer["labels"].tolist() == [list(classifier.label_names)] * 5


def test_what_is_not_passed_is_absent(exported, client, tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "empty.jpg").touch()
    answer = client.predict(images=[tmp_path / "a.jpg", str(tmp_path / "empty.jpg")])
    assert answer["image_status"].tolist() == [0, 2]
    expected = exported[0].predict({"images": [jpeg()]}, verbose=0)
    np.testing.assert_allclose(answer["probabilities"][:1], expected, rtol=0, atol=1e-5)


def test_other_signatures_and_a_single_output(exported, client):
    answer = client.predict(text=["a dog", "a cat"], signature="embed_text")
    assert list(answer) == ["text_embedding"]
    np.testing.assert_allclose(np.linalg.norm(answer["text_embedding"], axis=1), 1, atol=1e-5)
    classifier = exported[0]
    inputs = classifier.preprocessor({"images": np.zeros((2, 32, 32, 3)), "text": ["a dog", "cat"]})
    given = {name: np.asarray(inputs[name]) for name in classifier.input}
    answer = client.predict(**given, signature="serve_tensors")
    expected = classifier.predict({"images": np.zeros((2, 32, 32, 3)), "text": ["a dog", "cat"]})
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-5)


def test_state_and_metadata(client):
    assert client.status() == {1: "AVAILABLE"}
    serve = client.signatures()["serving_default"]
    assert serve["inputs"]["text"] == (object, (None,))
    assert serve["outputs"]["probabilities"] == (np.dtype("float32"), (None, 3))


@pytest.mark.parametrize("fault", ["hang up", (429, {"error": "queue"}), (503, {"error": "load"})])
def test_what_may_pass_is_tried_again(client, server, fault):
    server.faults += [fault] * 3
    assert client.status() == {1: "AVAILABLE"}
    assert len(server.paths) == 4
    server.faults += [fault] * 9
    with pytest.raises(ServerUnavailable, match=r"Fix: (start it|try later)"):
        client.status()
    assert len(server.paths) == 8


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (
            (400, {"error": "wrong\nshape"}),
            BadRequest,
            "refuses the request, 400: wrong shape. Fix",
        ),
        ((404, b"<html>"), BadRequest, "404: Not Found. Fix: .* instead of 'toys'"),
        (
            (500, {"error": "out of memory"}),
            ServerError,
            "failed, 500: out of memory. Fix: see its log",
        ),
        ((200, b"<html>"), ServerError, "is no answer of TensorFlow Serving"),
        ((200, {"outputs": 1}), ServerError, "is no answer of TensorFlow Serving"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(client, server, fault, error, message):
    server.faults.append(fault)
    with pytest.raises(error, match=message):
        client.status()
    assert len(server.paths) == 1


def test_a_slow_server_is_not_asked_twice(client, server):
    with Client(server.url, "toys", timeout=0.2) as hasty:
        server.faults.append("sleep")
        with pytest.raises(ServerTimeout, match=r"did not answer in 0\.2 s\. Fix: a longer"):
            hasty.status()
    assert len(server.paths) == 1


def test_nobody_there(client):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(
            ServerUnavailable, match=r"No server at 'http://.*' \(Connection refused\)"
        ):
            Client(url, "toys").status()


def test_wrong_inputs_are_said_before_or_by_the_server(client):
    for options, error, message in (
        ({}, ValueError, "there must be a row"),
        ({"text": []}, ValueError, "there must be a row"),
        ({"text": ["a"], "images": [b"", b""]}, ValueError, r"\{'images': 2, 'text': 1\}"),
        ({"text": ["a"], "audio": [b""]}, ValueError, "no input 'audio'. Fix: one of images, text"),
        ({"text": ["a"], "batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        (
            {"text": ["a"], "signature": "x"},
            BadRequest,
            "no signature 'x'. Fix: one of embed_image",
        ),
        ({"images": [np.zeros(3)]}, ValueError, "paths or bytes of files. Received: ndarray"),
    ):
        with pytest.raises(error, match=message):
            client.predict(**options)
    with pytest.raises(BadRequest, match=r"404: '/v1/models/cats' not found"):
        Client(client._transport._url, "cats").status()


def test_the_command_line_shows_the_same_of_a_server_as_of_a_folder(
    exported, client, server, tmp_path, capfd
):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    exported[0].save_to_preset(tmp_path / "preset")
    words = ["--image", str(tmp_path / "a.jpg"), "--text", "a dog"]
    printed, answers = [], []
    for model in (["toys", "--server", server.url], [str(tmp_path / "preset")]):
        assert main(["predict", *model, *words]) == 0
        printed.append(capfd.readouterr().out)
        assert main(["predict", *model, *words, "--json"]) == 0
        answers.append(json.loads(capfd.readouterr().out.strip().splitlines()[-1]))
    assert printed[0] == printed[1]
    expected = exported[0].predict({"images": [jpeg()], "text": ["a dog"]}, verbose=0)[0]
    expected = dict(zip(exported[0].label_names, expected, strict=True))
    for answer in answers:
        assert answer.keys() == {"labels", "modality_weights"}
        assert answer["labels"] == pytest.approx(expected, abs=1e-5)
        assert sum(answer["modality_weights"].values()) == pytest.approx(1, abs=1e-5)


def test_the_command_line_says_what_a_server_refuses(client, server, tmp_path, capfd):
    (tmp_path / "a.jpg").write_text("no image")
    for words, message in (
        (["cats", "--server", server.url, "--text", "a dog"], "404"),
        (["toys", "--server", "ftp://x", "--text", "a dog"], "A server is http://HOST:PORT"),
        (
            ["toys", "--server", server.url, "--image", str(tmp_path / "a.jpg")],
            "--image: the server cannot read",
        ),
    ):
        assert main(["predict", *words]) == 2
        assert message in capfd.readouterr().err


def test_base64_that_is_none_is_refused_by_the_contract(server):
    body = {"signature_name": "embed_image", "inputs": {"images": [{"b64": "@"}]}}
    answer = requests.post(f"{server.url}/v1/models/toys:predict", json=body, timeout=10)
    assert answer.status_code == 400
