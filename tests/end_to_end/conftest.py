"""The small main job that the end-to-end tests share."""

import fcntl
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
    *("--data.options", "num_train=64", "num_val=24"),
    *("--model.images.image-size", "32", "--model.text.sequence-length", "16"),
    *("--model.hidden-dim", "16", "--training.batch-size", "16"),
    *("--training.phases.0.epochs", "1", "--training.phases.2.epochs", "1"),
)


@pytest.fixture(scope="session")
def mmlearn():
    """Runs `python -m mmlearn` in a process of its own."""

    def call(*args, check=True):
        command = [sys.executable, "-m", "mmlearn", *map(str, args)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=check)

    return call


@pytest.fixture(scope="session")
def main_job(tmp_path_factory, mmlearn):
    """Runs the experiment `shapes` on 64 scenes, one damaged: the output folder, and the JSON line.

    It is run once, by the first of the test processes that needs it, and only read afterwards.
    """
    from data_prep.sources.shapes import ShapesSource

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # what all test processes have in common
    folder = folder / "main_job"
    folder.mkdir(exist_ok=True)
    output, line = folder / "shapes", folder / "line.json"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not line.exists():
            source = ShapesSource(folder / "data", num_train=64, num_val=24)
            os.truncate(source.examples("train").images[2], 500)
            words = ("--data.root", folder / "data", "--output", output, "--json")
            result = mmlearn("train", "shapes", *SMALL, *words)
            line.write_text(result.stdout.strip().splitlines()[-1])
    return output, json.loads(line.read_text())
