"""The small main job that the end-to-end tests share."""

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
    """Runs the experiment `shapes` on 64 scenes, one damaged: the output folder, and the JSON line."""
    from data_prep.sources.shapes import ShapesSource

    folder = tmp_path_factory.mktemp("main_job")
    source = ShapesSource(folder / "data", num_train=64, num_val=24)
    os.truncate(source.examples("train").images[2], 500)
    output = folder / "shapes"
    result = mmlearn(
        *("train", "shapes", *SMALL, "--data.root", folder / "data", "--output", output, "--json")
    )
    return output, json.loads(result.stdout.strip().splitlines()[-1])
