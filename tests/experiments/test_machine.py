"""What is said of devices, memory, room and network."""

import collections
import http.server
import threading

import pytest

from mmlearn.experiments import machine


@pytest.mark.parametrize(("gigabytes", "status"), [(2, "fix"), (5, "note"), (64, "fine")])
def test_memory(gigabytes, status):
    finding = machine.check_memory(gigabytes * 1e9)
    assert finding.status == status
    assert finding.what == f"{gigabytes}.0 GB free"
    assert bool(finding.todo) == (status != "fine")


@pytest.mark.parametrize(("gigabytes", "status"), [(0.5, "fix"), (5, "note"), (64, "fine")])
def test_room_in_a_folder_that_is_not_there_yet(gigabytes, status, tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(
        machine.shutil, "disk_usage", lambda _: usage(100e9, 0, int(gigabytes * 1e9))
    )
    finding = machine.check_folder("data", str(tmp_path / "a" / "b"))
    assert finding.status == status
    assert not (tmp_path / "a").exists()


def test_devices_say_the_precision_and_why(monkeypatch):
    monkeypatch.setattr(machine, "find_gpus", lambda: [(9, 0)])
    finding = machine.check_devices()
    assert finding.status == "fine"
    assert "1 GPUs" in finding.what
    assert "mixed_bfloat16: the GPU computes in bfloat16" in finding.what
    monkeypatch.setattr(machine, "find_gpus", list)
    assert machine.check_devices().status == "note"
    monkeypatch.setattr(machine.keras.config, "backend", lambda: "torch")
    assert machine.check_devices().status == "fix"


def test_a_hub_that_answers_anything_is_there():
    class Busy(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there = {"there": f"http://127.0.0.1:{server.server_port}/"}
    assert machine.check_hubs(there, timeout_seconds=5).status == "fine"
    both = machine.check_hubs({**there, "not there": "http://127.0.0.1:9/"}, timeout_seconds=5)
    server.shutdown()
    server.server_close()
    assert both.status == "note"
    assert both.what == "no answer from not there"
