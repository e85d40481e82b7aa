"""Kills a training run again and again, and compares its end with that of a run left alone.

    python -m tests.benchmarks.kill_and_resume --work DIR

A small experiment on synthetic scenes, three phases, the second one on stored features, a checkpoint
after every step. The process gets SIGKILL at seeded random steps, after a random fraction of a second,
so within steps, writes and validations alike; the same command is started again until it ends. Prints
how many weights and metrics differ, which should be none.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import tyro

EPOCHS, STEPS = (2, 2, 2), 6  # of the phases; of an epoch
BATCH_SIZE = 8
LONGEST_WAIT = 1.0  # seconds between the checkpoint that is waited for and the kill


@dataclass(frozen=True)
class Options:
    """Kills and compares."""

    work: str
    """Folder for the data and the runs, emptied first."""
    kills: int = 20
    """How often the process is killed."""
    seed: int = 0
    """Of the moments."""


def command(work, output):
    """The command that is run, killed and run again."""
    flags = {
        "--data.root": os.path.join(work, "data"),
        "--model.images.image-size": "32",
        "--model.hidden-dim": "32",
        "--training.batch-size": str(BATCH_SIZE),
        "--training.checkpoint-minutes": "0",
        "--output": output,
    }
    for phase, epochs in enumerate(EPOCHS):
        flags[f"--training.phases.{phase}.epochs"] = str(epochs)
    options = [f"num_train={BATCH_SIZE * STEPS + 3}", "num_val=16", "seed=0"]
    words = [word for flag in flags.items() for word in flag]
    return [sys.executable, "-m", "mmlearn", "train", "shapes", *words, "--data.options", *options]


def newest(folder):
    """The number of the newest checkpoint, -1 when there is none."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    numbers = [int(name[:12]) for name in names if re.fullmatch(r"\d{12}\.npz", name)]
    return max(numbers, default=-1)


def run_and_kill(words, folder, step, wait):
    """Runs until there is a checkpoint of that step, and kills a moment later.

    Returns:
        Whether it was killed; else it had ended.
    """
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while newest(folder) < step and process.poll() is None:
        time.sleep(0.01)
    time.sleep(wait)
    if process.poll() is None:
        process.kill()
        process.communicate()
        return True
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors[-3000:])
    return False


def read_result(output):
    """Returns the weights by their place in the file, and the history."""
    import h5py

    arrays = {}
    for name in ("model.weights.h5", "task.weights.h5"):
        with h5py.File(os.path.join(output, "preset", name)) as file:
            file.visititems(
                lambda path, item, name=name: (
                    arrays.update({f"{name}/{path}": np.array(item)})
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
    with open(os.path.join(output, "run.json")) as file:
        return arrays, json.load(file)["history"]


def compare(options):
    """Runs both and returns `{"kills", "weights", "different_weights", "different_history"}`."""
    shutil.rmtree(options.work, ignore_errors=True)
    os.makedirs(options.work)
    outputs = [os.path.join(options.work, name) for name in ("alone", "killed")]
    subprocess.run(command(options.work, outputs[0]), check=True, capture_output=True)
    draws = random.Random(options.seed)
    steps = sorted(draws.randrange(sum(EPOCHS) * STEPS) for _ in range(options.kills))
    words, kills = command(options.work, outputs[1]), 0
    for step in steps:
        wait = draws.uniform(0, LONGEST_WAIT)
        kills += run_and_kill(words, f"{outputs[1]}.checkpoints", step, wait)
    subprocess.run(words, check=True, capture_output=True)
    (weights, history), (killed, killed_history) = map(read_result, outputs)
    different = [name for name, value in weights.items() if not (killed[name] == value).all()]
    return {
        "kills": kills,
        "weights": len(weights),
        "different_weights": len(different) + len(set(weights) ^ set(killed)),
        "different_history": int(history != killed_history),
    }


if __name__ == "__main__":
    print(json.dumps(compare(tyro.cli(Options))))
