"""Versions of a running server: taken over, taken back, refused; and its end."""

import concurrent.futures
import logging
import threading
import time

import pytest
import requests

pytest.importorskip("uvicorn", reason="needs the extra `server`")

from mmlearn.serving.client import Client
from mmlearn.serving.errors import BadRequest
from tests.serving.server.counting_server import (
    CountingVersion,
    clients,
    metrics_of,
    post,
    rest_states,
    running,
    until,
    version_served,
)

pytestmark = pytest.mark.large  # the tier whose environment has the extras


def test_a_new_version_takes_over_without_a_lost_request(counting):
    with running(counting(1), batch_timeout_ms=5) as server, clients(server) as (rest, by_grpc):
        found, stop = [], threading.Event()

        def load(client):
            seen = []
            while not stop.is_set():
                seen.append(version_served(client))
            return seen

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(load, client) for client in (rest, by_grpc)]
            try:
                for number in (2, 3):
                    counting(number)
                    until(lambda number=number: rest_states(server).get(number) == "AVAILABLE")
                until(lambda: rest_states(server)[1] == rest_states(server)[2] == "END")
                until(lambda: version_served(rest) == b"3")
            finally:
                stop.set()
            found = [one.result() for one in waiting]
        for seen in found:  # none failed, or this would have raised; none went back
            assert seen == sorted(seen)
        with pytest.raises(BadRequest, match="Specific"):
            Client(server.rest_url, "toys", version=1).signatures()


def test_a_request_that_was_taken_in_is_answered_by_its_version(counting):
    with running(counting(1)) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        old = pool.submit(post, server, b'{"inputs": ["wait"]}')
        assert CountingVersion.waiting.wait(20)
        counting(2)
        until(lambda: rest_states(server) == {1: "UNLOADING", 2: "AVAILABLE"})
        CountingVersion.gate.set()
        assert old.result().json()["outputs"]["version_bytes"] == [{"b64": "MQ=="}]


def test_a_version_that_fails_is_said_once_and_tried_when_it_changes(counting, caplog):
    with running(counting(1)) as server, clients(server) as (rest, by_grpc):
        with caplog.at_level(logging.ERROR, "mmlearn.serving"):
            counting(2, "broken")
            until(lambda: rest_states(server).get(2) == "END")
            time.sleep(0.3)
        said = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert said == ["Version 2 cannot be served: it is broken"]
        assert version_served(rest) == b"1"
        assert by_grpc.status() == {1: "AVAILABLE", 2: "END"}
        states = requests.get(f"{server.rest_url}/v1/models/toys/versions/2", timeout=30).json()
        (state,) = states["model_version_status"]
        assert state["status"] == {"error_code": "UNKNOWN", "error_message": "it is broken"}
        assert "mmlearn_failed_loads_total 1.0" in metrics_of(server)
        counting(2, "mended")
        until(lambda: version_served(rest) == b"mended")


def test_the_config_takes_a_version_back_and_a_broken_one_changes_nothing(counting, caplog):
    folder = counting(2)
    config = 'model_config_list { config { name: "toys" %s } }'
    with running(folder) as server, clients(server) as (rest, _):
        assert version_served(rest) == b"2"
        (folder / "models.config").write_text(config % "nonsense")
        until(lambda: "What was served goes on" in caplog.text)
        assert version_served(rest) == b"2"
        policy = "model_version_policy { specific { versions: 1 } }"
        (folder / "models.config").write_text(config % policy)
        until(lambda: version_served(rest) == b"1")
        policy = "model_version_policy { all {} }"
        (folder / "models.config").write_text(config % policy)
        until(lambda: version_served(rest) == b"2")
        with Client(server.rest_url, "toys", version=1) as old:
            assert version_served(old) == b"1"


def test_the_newest_that_can_be_loaded_is_served_from_the_start(counting):
    counting(2, "broken")
    with running(counting(1)) as server, clients(server) as (rest, _):
        assert version_served(rest) == b"1"


def test_stopping_answers_what_was_asked(counting):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        with (
            running(counting(1), batch_threads=1, max_batch_size=1) as server,
            clients(server) as both,
        ):
            for client in both:
                client.signatures()
            waiting = [pool.submit(client.predict, text=["wait"]) for client in both]
            assert CountingVersion.waiting.wait(20)
            until(lambda: "mmlearn_queued_rows 1.0" in metrics_of(server))
            server.stop()
            time.sleep(0.3)
            CountingVersion.gate.set()
            assert [one.result()["length"].item() for one in waiting] == [4, 4]
        with pytest.raises(requests.ConnectionError):
            post(server, b"{}")


def test_what_cannot_be_served_is_said(counting, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        with (
            pytest.raises(ValueError, match=r"holds no exported version\. Fix: python -m mmlearn"),
            running(folder),
        ):
            pass
    with (
        pytest.raises(ValueError, match=r"None of the versions in .* can be served"),
        running(counting(1, "broken")),
    ):
        pass
    counting(1, "1")
    with running(counting(1)) as server:
        port = int(server.rest_url.rpartition(":")[2])
        with (
            pytest.raises(OSError, match="REST cannot listen at"),
            running(counting(1), rest_port=port),
        ):
            pass
        port = int(server.grpc_url.rpartition(":")[2])
        with (
            pytest.raises(OSError, match="gRPC cannot listen at"),
            running(counting(1), grpc_port=port),
        ):
            pass


def test_a_run_is_served_by_its_folder(counting):
    folder = counting(1).parent
    with running(folder) as server:
        assert server.name == "toys"
