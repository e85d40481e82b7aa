"""Whether reading needs more memory over time, or with more images.

    python -m tests.benchmarks.input_memory --work DIR

Resident memory after 1,000 and after 10,000 batches of one endless dataset, and the peak of 1,000
batches of data sets of 1,000 and of 20,000 images, each in a process of its own.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass

import psutil
import tyro

from data_prep.sources.shapes import ShapesSource

BATCH_SIZE, WARM_UP, NUM_BATCHES = 8, 1000, 10_000


@dataclass(frozen=True)
class Options:
    """Measures memory."""

    work: str
    """Folder for the synthetic images; kept between runs."""
    num_train: int = 0
    """Of the process that does the work; set by the one that starts it."""
    num_batches: int = 0
    """Likewise."""


def read(folder, num_train, num_batches):
    """Reads batches and prints the resident memory on the way, and the peak."""
    from data_prep.pipeline import build_dataset
    from mmlearn import MultimodalPreprocessor, encoders

    source = ShapesSource(folder, num_train=num_train, num_val=1)
    tokenizer = encoders.text_tokenizers.train_tokenizer(["a red ring", "a blue star"])
    preprocessor = MultimodalPreprocessor(
        {
            "images": encoders.ImageConverter(96),
            "text": encoders.TextConverter(tokenizer, 32),
        }
    )
    dataset = build_dataset(
        source,
        "train",
        preprocessor,
        BATCH_SIZE,
        shuffle=True,
        augmentations=("crop", "flip", "color"),
        repeat=True,
    )
    process, start = psutil.Process(), None
    for number, _ in enumerate(dataset.take(num_batches), 1):
        if number in (WARM_UP, num_batches):
            memory = process.memory_info().rss / 1e6
            start = start or memory
            print(
                f"  {number:>6,} batches: {memory:,.0f} MB, {memory / start - 1:+.1%}", flush=True
            )
    with open("/proc/self/status", encoding="utf-8") as file:
        peak = int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) / 1e3
    print(f"  peak {peak:,.0f} MB", flush=True)


def main():
    """Prints the memory of three processes."""
    options = tyro.cli(Options)
    if options.num_train:
        folder = os.path.join(options.work, f"shapes-{options.num_train}")
        read(folder, options.num_train, options.num_batches)
        return
    os.makedirs(options.work, exist_ok=True)
    for num_train, num_batches in ((1000, WARM_UP), (20_000, WARM_UP), (1000, NUM_BATCHES)):
        # Written here, so that the process that is measured only reads.
        ShapesSource(os.path.join(options.work, f"shapes-{num_train}"), num_train, num_val=1)
        print(f"{num_train:,} images, {num_batches:,} batches of {BATCH_SIZE}", flush=True)
        command = [sys.executable, "-m", "tests.benchmarks.input_memory", "--work", options.work]
        command += ["--num-train", str(num_train), "--num-batches", str(num_batches)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
