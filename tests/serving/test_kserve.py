"""A server that is not ours, kserve in an environment of its own, answers our client."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import requests

from mmlearn.models.manifest import MANIFEST
from mmlearn.serving.client import Client
from mmlearn.serving.errors import BadRequest
from tests.models.test_signatures import HUGE, jpeg
from tests.programs import ROOT

pytestmark = pytest.mark.large

PYTHON = pathlib.Path(os.environ.get("KSERVE_PYTHON", f"{sys.prefix}/kserve/bin/python"))


@pytest.fixture(scope="module")
def server(exported, tmp_path_factory):
    """The URL of kserve, which serves the exported model as `toys`."""
    if not PYTHON.exists():
        pytest.skip(f"kserve's environment is not at {PYTHON}: make .venv/kserve-ready")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["tests/serving/kserve_program.py", exported[1], "toys", "--http_port", port]
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("kserve") / "log"
    with open(log, "w") as file:
        process = subprocess.Popen([PYTHON, *map(str, words)], cwd=ROOT, stdout=file, stderr=file)
    try:
        end = time.monotonic() + 300
        while not _is_ready(url):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, "it did not start in 300 s"
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _is_ready(url):
    try:
        return requests.get(f"{url}/v1/models/toys", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_kserve_answers_our_client(exported, server):
    classifier, folder = exported
    images, texts = [jpeg(), b"", b"no image", HUGE], ["a dog", "a red cat", "caf\xe9", "a cat"]
    with Client(server, "toys", timeout=120, manifest=f"{folder}/{MANIFEST}") as client:
        answer = client.predict(images=images, text=texts, batch_size=3)
        assert answer["image_status"].tolist() == [0, 1, 2, 3]
        assert answer["labels"].tolist() == [list(classifier.label_names)] * 4
        x = {"images": [images[0], b"", b"", b""], "text": texts}
        expected = classifier.predict(x, verbose=0)
        np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-5)
        answer = client.predict(text=["a dog", "a cat"], signature="embed_text")
        assert list(answer) == ["text_embedding"]


def test_a_server_that_does_not_tell_its_signatures_is_an_error_with_a_fix(server):
    with (
        Client(server, "toys", timeout=120) as client,
        pytest.raises(BadRequest, match=r"404: .* Fix: .*manifest"),
    ):
        client.predict(text=["a dog"])
