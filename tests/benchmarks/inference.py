r"""Predictions of the full-size model: what this project exports and PyTorch, one after the other in turn.

    python -m tests.benchmarks.inference --work DIR \
        --torch-python /path/to/an/environment/with/torch,transformers,openvino,nncf/bin/python

Both sides have ResNet-50 at 224 px + BERT-base at 32 tokens + 8-head cross-attention both ways at 512 +
a head for 80 labels, random weights, and inputs that are in memory as pixels and token ids. This side is
the experiment `coco`, exported to each format and loaded by `mmlearn.models.formats`; PyTorch is eager
with channels last, in float32 and bfloat16, and exported to OpenVINO in int8 by the same tools. Both
processes stay alive, and only one works at a time. In each round each candidate answers `--calls` single
examples, then a batch of each size; medians are over rounds, ratios within a round. About 3 GB are written.
"""

import json
import os
import time
from dataclasses import dataclass
from statistics import median

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from mmlearn import experiments
from mmlearn.analysis.profile import size_of
from mmlearn.experiments.build import build_task
from mmlearn.models import formats
from tests.benchmarks.torch_process import TorchProcess
from tests.benchmarks.train_step import (
    NUM_CLASSES,
    VOCABULARY_SIZE,
    table_of_labels,
    without_weights,
)

EXPORTS = {  # name: format, precision
    "SavedModel float32": ("tf_saved_model", "float32"),
    "OpenVINO float32": ("openvino", "float32"),
    "OpenVINO bfloat16": ("openvino", "float16"),  # stored in float16, computed so by the CPU
    "OpenVINO int8": ("openvino", "int8"),
}
TORCH = ("float32", "bfloat16", "OpenVINO int8")
SINGLE = ("PyTorch OpenVINO int8",)  # a traced model keeps the size of the batch it was traced with
NUM_CALIBRATION = 8


@dataclass(frozen=True)
class Options:
    """Compares latency, throughput and size."""

    work: str
    """Folder for the exports, which stay there."""
    torch_python: str | None = None
    """Python of an environment with torch, transformers, openvino and nncf."""
    rounds: int = 9
    """Rounds that count; one before them does not."""
    calls: int = 5
    """Single examples per round, of which the median counts."""
    batch_sizes: tuple[int, ...] = (4, 8, 16, 32)
    """Batches of which the best counts as throughput."""
    threads: int = os.cpu_count()
    """Threads of PyTorch; the others take all cores."""


def make_inputs(model, count, seed=0):
    """Model inputs of `coco`: random pixels, and texts that fill half of the tokens."""
    random = np.random.default_rng(seed)
    size, length = model.images.image_size, model.text.sequence_length
    mask = np.zeros((count, length), "int32")
    mask[:, : length // 2] = 1
    return {
        "images": random.uniform(0, 255, (count, size, size, 3)).astype("float32"),
        "images_present": np.ones(count, "int32"),
        "token_ids": random.integers(5, VOCABULARY_SIZE, (count, length)).astype("int32"),
        "segment_ids": np.zeros((count, length), "int32"),
        "padding_mask": mask,
        "text_present": np.ones(count, "int32"),
    }


def export(work):
    """Writes what is not there yet; returns `{name: folder}`."""
    model = without_weights(experiments.get("coco").model)
    folders = {name: os.path.join(work, name.replace(" ", "-")) for name in EXPORTS}
    missing = [name for name, folder in folders.items() if not os.path.isdir(folder)]
    if missing:
        task = build_task(model, table_of_labels())
        os.makedirs(work, exist_ok=True)
        for name in missing:
            format, precision = EXPORTS[name]
            calibration = [make_inputs(model, NUM_CALIBRATION, seed=1)]
            task.export(folders[name], format, precision, calibration)
    return folders


def timed(call, inputs):
    """Seconds of a call."""
    start = time.perf_counter()
    call(inputs)
    return time.perf_counter() - start


def start_torch(options, model):
    """Starts the PyTorch side, which is asked for `(name in TORCH, batch_size)` and says seconds."""
    settings = {
        "threads": options.threads,
        "image_size": model.images.image_size,
        "sequence_length": model.text.sequence_length,
        "num_classes": NUM_CLASSES,
        "vocabulary_size": VOCABULARY_SIZE,
        "num_calibration": NUM_CALIBRATION,
        "largest_batch": max(options.batch_sizes),
    }
    return TorchProcess(options.torch_python, "inference_torch.py", settings)


def main():
    """Prints a row per candidate, and one JSON object with all rounds."""
    options = tyro.cli(Options)
    console = Console(width=110)
    model = experiments.get("coco").model
    folders = export(options.work)
    inputs = make_inputs(model, max(options.batch_sizes))
    candidates = {}
    for name, folder in folders.items():
        call = formats.load(folder)
        candidates[name] = lambda size, call=call: timed(
            call, {key: values[:size] for key, values in inputs.items()}
        )
    if options.torch_python:
        torch = start_torch(options, model)
        for name in TORCH:
            candidates[f"PyTorch {name}"] = lambda size, name=name: torch.ask(name, size)
    sizes = {name: () if name in SINGLE else options.batch_sizes for name in candidates}
    seconds = {name: {size: [] for size in (1, *sizes[name])} for name in candidates}
    for number in range(options.rounds + 1):
        for size in (1, *options.batch_sizes):
            for name, measure in candidates.items():
                if size not in seconds[name]:
                    continue
                found = median(measure(size) for _ in range(options.calls if size == 1 else 1))
                if number:
                    seconds[name][size].append(found)
        console.print(f"round {number} of {options.rounds}", highlight=False)
    table = Table("", "1 example, ms", "from", "to", "examples/s", "batch", "MB")
    best = {}
    for name, found in seconds.items():
        rates = {size: size / median(values) for size, values in found.items()}
        best[name] = max(rates, key=rates.get)
        single = [1000 * value for value in found[1]]
        table.add_row(
            name,
            *(f"{value:.1f}" for value in (median(single), min(single), max(single))),
            f"{rates[best[name]]:.1f}",
            str(best[name]),
            f"{size_of(folders[name]) / 1e6:.1f}" if name in folders else "",
        )
    console.print(table)
    if options.torch_python:
        torch.close()
        console.print(_ratios(seconds, best))
    print(json.dumps({"seconds": seconds}))


def _ratios(seconds, best):
    table = Table("", "beside", "latency", "throughput", title="median of the ratios within rounds")
    for name in EXPORTS:
        for other in (f"PyTorch {each}" for each in TORCH):
            latency = _median_ratio(seconds[name][1], seconds[other][1])
            own, its = best[name], best[other]
            per_example = _median_ratio(seconds[name][own], seconds[other][its]) * its / own
            table.add_row(name, other, f"{latency:.2f}", f"{1 / per_example:.2f}")
    return table


def _median_ratio(first, second):
    return median(a / b for a, b in zip(first, second, strict=True))


if __name__ == "__main__":
    main()
