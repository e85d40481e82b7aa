"""What `python -m mmlearn check` says of a machine."""

import json

import pytest

from mmlearn.cli.main import main
from mmlearn.experiments import machine, requirements


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Asks no hub, and runs in an empty folder."""
    monkeypatch.setattr(machine, "HUBS", {"a hub": "http://127.0.0.1:9/"})  # refused at once
    monkeypatch.chdir(tmp_path)


def check(capfd, *args):
    """Runs the command: the exit status, the findings by topic, and what is printed."""
    status = main(["check", "--json", *args])
    captured = capfd.readouterr()
    found = json.loads(captured.out.strip().splitlines()[-1])["findings"]
    return status, {each["topic"]: each for each in found}, captured.err


def test_this_machine_is_ready_without_network(capfd, tmp_path):
    status, found, printed = check(capfd)
    assert status == 0
    assert "This machine is ready to train." in printed
    assert found["network"]["status"] == "note"
    assert "no answer from a hub" in printed
    assert found["Python"]["status"] == found["packages"]["status"] == "fine"
    assert "CPU cores" in found["devices"]["what"]
    assert list(tmp_path.iterdir()) == []  # it only looks


def test_a_folder_that_cannot_be_made_is_to_be_fixed(capfd, tmp_path):
    (tmp_path / "file").write_text("")
    status, found, printed = check(capfd, "--models", "file/runs")
    assert status == 1
    assert found["models in file/runs/"]["status"] == "fix"
    assert "pass another by --models" in printed
    assert "1 to fix before training." in printed


def test_nothing_heavy_is_imported_where_versions_are_wrong(capfd, monkeypatch):
    monkeypatch.setattr(requirements, "DISTRIBUTION", "no-such-distribution")
    status, found, printed = check(capfd)
    assert status == 1
    assert list(found) == ["no-such-distribution"]
    assert "pip install -e ." in printed


def test_a_time_that_is_none_is_refused(capfd):
    assert main(["check", "--timeout-seconds", "0"]) == 2
    assert "--timeout-seconds must be above 0. Received: 0.0." in capfd.readouterr().err


def test_another_backend_is_refused_with_the_fix(capfd, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert main(["check"]) == 2
    assert "Received: KERAS_BACKEND=torch. Fix: KERAS_BACKEND=tensorflow" in capfd.readouterr().err
