"""Two hosts train what one device trains, and survive the loss of one."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalClassifier
from mmlearn.training.checkpoints import Checkpoint, Checkpoints
from mmlearn.training.distribution import Host
from mmlearn.training.hosts import HostCheckpoints, Hosts, share_among_replicas, share_checkpoints
from tests import toys

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.training.hosts_program")


def start(command, host=None, addresses=()):
    """Starts a process, as one of several hosts if there are addresses."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if addresses:
        task = {"type": "worker", "index": host}
        env["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    return subprocess.Popen(
        [*map(str, command)], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True
    )


def on_two_hosts(commands, codes=(0, 0)):
    """Runs two commands as two hosts; returns what they write to standard error."""
    with socket.socket() as first, socket.socket() as second:
        for sock in (first, second):
            sock.bind(("localhost", 0))
        addresses = [f"localhost:{sock.getsockname()[1]}" for sock in (first, second)]
    processes = [start(command, host, addresses) for host, command in enumerate(commands)]
    errors = [process.communicate()[1] for process in processes]
    assert tuple(process.returncode for process in processes) == codes, errors
    return errors


def train(kind, folder, codes=(0, 0), die_at=None):
    """Runs the program on two hosts, each with a folder of its own."""
    dies = ["--die-at", die_at] if die_at else []
    commands = [[*PROGRAM, kind, folder / "0"], [*PROGRAM, kind, folder / "1", *dies]]
    return on_two_hosts(commands, codes)


def train_alone(kind, folder):
    process = start([*PROGRAM, kind, folder])
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def read(folder):
    """Returns the weights, the moving statistics, the predictions and the metrics."""
    with np.load(folder / "result.npz") as file:
        arrays = {name: file[name] for name in file.files}
    predictions = arrays.pop("memory")
    statistics = [arrays[name] for name in sorted(arrays) if "moving_" in name]
    weights = [arrays[name] for name in sorted(arrays) if "moving_" not in name]
    return weights, statistics, predictions, json.loads((folder / "result.json").read_text())


def furthest(first, second):
    return max(np.abs(a - b).max() for a, b in zip(first, second, strict=True))


@pytest.mark.large
def test_sgd_on_two_hosts_is_that_of_one_device(tmp_path):
    train("sgd", tmp_path)
    train_alone("sgd", tmp_path / "alone")
    weights, statistics, predictions, metrics = read(tmp_path / "alone")
    for host in ("0", "1"):
        found = read(tmp_path / host)
        assert furthest(found[0], weights) <= 1e-5
        assert furthest(found[1], statistics) <= 1e-5
        assert found[3] == pytest.approx(metrics, abs=1e-5)
    saved = MultimodalClassifier.from_preset(str(tmp_path / "0" / "preset"))
    x, _ = toys.examples(8, seed=1)
    np.testing.assert_allclose(saved.predict(x, verbose=0), read(tmp_path / "0")[2], atol=1e-6)
    assert np.ptp(predictions, axis=0).min() > 1e-3  # else all models would be alike
    assert not (tmp_path / "1" / "preset").exists()


@pytest.mark.full
def test_adamw_on_two_hosts_predicts_what_one_device_does(tmp_path):
    train("adamw", tmp_path)
    train_alone("adamw", tmp_path / "alone")
    assert np.abs(read(tmp_path / "0")[2] - read(tmp_path / "alone")[2]).max() <= 1e-3


@pytest.mark.full
def test_a_run_that_lost_a_host_ends_with_the_weights_of_one_that_did_not(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train("resume", whole)
    errors = train("resume", killed, codes=(3, -9), die_at=9)
    assert "Another host has ended or cannot be reached" in errors[0].splitlines()[-1]
    assert list((killed / "0" / "checkpoints").iterdir())
    # The hosts share no disk, and the second one comes back with an empty one.
    shutil.rmtree(killed / "1", ignore_errors=True)
    train("resume", killed)
    assert not (killed / "1" / "checkpoints").exists()
    expected = read(whole / "0")
    for host in ("0", "1"):
        found = read(killed / host)
        for part in range(3):
            assert furthest(found[part], expected[part]) == 0
        for phase, other in zip(found[3], expected[3], strict=True):
            # Sums of metrics are halved on the way, which may round.
            assert phase["history"].keys() == other["history"].keys()
            for name, values in phase["history"].items():
                np.testing.assert_allclose(values, other["history"][name], atol=1e-6)


@pytest.mark.full
def test_a_nan_on_one_host_stops_all_with_its_name(tmp_path):
    for line in train("nan", tmp_path, codes=(3, 3)):
        assert "epoch 1, step 3: a NaN or an infinity" in line.splitlines()[-1]
        assert "'photo-21'" in line.splitlines()[-1]


@pytest.mark.full
def test_the_command_trains_on_two_hosts_and_the_chief_alone_writes(tmp_path):
    flags = {
        "--data.root": tmp_path / "data",
        "--model.images.image-size": 32,
        "--model.text.sequence-length": 16,
        "--model.hidden-dim": 16,
        "--training.batch-size": 16,
        "--training.phases.0.epochs": 1,
        "--training.phases.1.epochs": 0,
        "--training.phases.2.epochs": 0,
        "--training.strategy": "multi_worker",
    }
    words = [word for flag in flags.items() for word in flag]
    words += ["--data.options", "num_train=35", "num_val=9"]  # made by the chief, on a shared disk
    command = [sys.executable, "-m", "mmlearn", "train", "shapes", *words, "--output"]
    outputs = [tmp_path / "chief", tmp_path / "other"]
    on_two_hosts([[*command, output] for output in outputs])
    assert {"preset", "serving", "run.json"} <= {path.name for path in outputs[0].iterdir()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chief", "data"]
    record = json.loads((outputs[0] / "run.json").read_text())
    trained = record["history"][0]["history"]["val_images_classes_map"][-1]
    assert 0 < trained <= 1
    # Another command on one of them ends both.
    for text in on_two_hosts(
        [[*command, outputs[0]], [*command, outputs[1], "--training.seed", 1]], (2, 2)
    ):
        assert "The hosts 1 have another config, other data" in text.splitlines()[-1]


def test_one_host_tells_itself_everything():
    hosts = Hosts(tf.distribute.get_strategy())
    assert hosts.host == Host(0, 1)
    assert hosts.broadcast(b"abc") == b"abc"
    assert hosts.ask_chief(True)
    assert not hosts.ask_chief(False)
    with hosts.chief_first():
        hosts.check_same("anything")


def test_checkpoints_arrive_as_they_were(tmp_path):
    checkpoints = HostCheckpoints(Hosts(tf.distribute.get_strategy()), Checkpoints(str(tmp_path)))
    assert checkpoints.latest() is None
    arrays = [
        np.array([[1.5, -0.0, np.nan]], np.float32),
        np.array(7, np.int64),
        np.array([2**32 - 1, 0], np.uint32),
        np.zeros((0, 3), np.float16),
        np.array(True),
    ]
    state = {"epoch": 1, "records": [{"name": "two\nlines"}]}
    checkpoints.save(3, state, arrays)
    found = checkpoints.latest()
    assert isinstance(found, Checkpoint)
    assert found.state == state
    for array, other in zip(arrays, found.arrays, strict=True):
        assert (array.dtype, array.shape, array.tobytes()) == (
            other.dtype,
            other.shape,
            other.tobytes(),
        )


@pytest.mark.parametrize("repeats", [1, None])
def test_each_replica_of_a_host_has_its_part_of_every_batch(repeats):
    batches = tf.data.Dataset.from_tensor_slices(({"x": np.arange(6)}, np.arange(6.0)))
    batches = batches.batch(5).repeat(repeats)
    shared = share_among_replicas(batches, 2)
    assert (shared.cardinality() == tf.data.INFINITE_CARDINALITY) == (repeats is None)
    found = [(x["x"].tolist(), y.tolist()) for x, y in shared.take(4).as_numpy_iterator()]
    # Five rows, then one: the first replica gets none of it.
    assert [x for x, _ in found] == [[0, 1], [2, 3, 4], [], [5]]
    assert all(x == y for x, y in found)


def test_one_host_keeps_its_checkpoints_as_they_are(tmp_path):
    task = toys.classifier(("text",), fusion="concat")
    checkpoints = Checkpoints(str(tmp_path))
    assert share_checkpoints(task, checkpoints) is checkpoints
    assert share_checkpoints(task, None) is None
