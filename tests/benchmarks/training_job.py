"""The whole three-phase job on real photos, beside the same job in PyTorch.

    python -m tests.benchmarks.training_job --photos COCO --work DIR --torch-python PYTHON

The experiment `coco_small`, from the start of the process to the end of training, and
`training_job_torch` in its own environment (torch, transformers, tokenizers, pillow, scikit-learn), in
turn. Prints for each round the seconds of the whole job, the best validation mAP, and the seconds to
the mAP that both reach.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import tyro

from data_prep.sources.coco import CocoSource

TORCH = os.path.join(os.path.dirname(__file__), "training_job_torch.py")


@dataclass(frozen=True)
class Options:
    """Trains both and compares."""

    photos: str
    """Folder of a COCO data set."""
    work: str
    """Folder for the results."""
    torch_python: str
    """Python with torch, transformers, tokenizers, pillow and scikit-learn."""
    rounds: int = 1
    """How often each side trains."""
    flags: str = ""
    """Further flags of `mmlearn train`, in one word."""


def write_index(photos, path):
    """Writes what the other side needs to know of the photos."""
    source = CocoSource(photos)
    splits = {}
    for split in ("train", "val"):
        index = source.examples(split)
        splits[split] = {
            "images": index.images,
            "captions": [texts or [""] for texts in index.captions],
            "labels": np.asarray(index.labels).tolist(),
        }
    with open(path, "w") as file:
        json.dump(splits, file)


def run(words):
    """Runs a command; yields its lines with the seconds since its start."""
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            yield time.perf_counter() - start, line
    if process.returncode:
        raise RuntimeError(f"{words[0]} failed")


def train(options, number):
    """Our side: `(seconds, mAP)` per epoch that has a fused mAP."""
    output = os.path.join(options.work, f"run{number}")
    words = [sys.executable, "-m", "mmlearn", "train", "coco_small", "--data.root", options.photos]
    words += ["--output", output, "--training.restart", *options.flags.split()]
    seconds = [at for at, line in run(words) if re.match(r"[a-z ]+: epoch \d+/\d+ ", line)]
    with open(os.path.join(output, "run.json")) as file:
        history = json.load(file)["history"]
    scores = [
        score
        for phase in history
        for score in phase["history"].get("val_classes_map", [None] * len(phase["history"]["loss"]))
    ]
    return [(at, s) for at, s in zip(seconds, scores, strict=True) if s is not None]


def train_torch(options):
    """The other side, likewise."""
    words = [options.torch_python, TORCH, os.path.join(options.work, "index.json")]
    lines = [(at, json.loads(line)) for at, line in run(words)]
    return [(at, line["mAP"]) for at, line in lines if line.get("mAP") is not None]


def compare(ours, other):
    """The figures of one round."""
    target = min(max(score for _, score in side) for side in (ours, other))
    reached = [next(at for at, score in side if score >= target) for side in (ours, other)]
    return {
        "seconds": ours[-1][0],
        "torch_seconds": other[-1][0],
        "ratio": ours[-1][0] / other[-1][0],
        "mAP": max(score for _, score in ours),
        "torch_mAP": max(score for _, score in other),
        "seconds_to_equal_mAP": reached[0],
        "torch_seconds_to_equal_mAP": reached[1],
        "ratio_to_equal_mAP": reached[0] / reached[1],
    }


def main(options):
    """Prints a JSON line per round and the medians."""
    os.makedirs(options.work, exist_ok=True)
    write_index(options.photos, os.path.join(options.work, "index.json"))
    rounds = []
    for number in range(options.rounds):
        rounds.append(compare(train(options, number), train_torch(options)))
        print(json.dumps(rounds[-1]), flush=True)
    print(json.dumps({key: statistics.median(r[key] for r in rounds) for key in rounds[0]}))


if __name__ == "__main__":
    main(tyro.cli(Options))
