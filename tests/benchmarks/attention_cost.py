"""What a step of cross-attention costs as tokens grow, and what one of linear attention costs.

    python -m tests.benchmarks.attention_cost

Forward and backward of the fusion alone, on random tokens of two modalities, as many of each, one
example. Every measurement is a process of its own, the two fusions in turn, so that the peak of memory
is of that one: `ru_maxrss` after the steps less that before the first. Prints medians, and the slopes of
their logarithms, over all sizes and over the last two, where what any step costs matters least: 1
grows as the tokens do, 2 as their square.
"""

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

FUSIONS = ("cross_attention", "linear_attention")
MODALITIES = ("images", "text")


@dataclass(frozen=True)
class Options:
    """Measures time and memory."""

    tokens: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    """Of each modality."""
    hidden_dim: int = 256
    """Size of a token."""
    num_heads: int = 8
    """Attention heads."""
    rounds: int = 5
    """Processes per fusion and size."""
    steps: int = 5
    """Timed in each process, after one that is not."""
    fusion: str | None = None
    """Of a process that measures; set by the one that starts it."""


def measure(options):
    """Prints seconds per step and the peak of memory of one fusion at one size, as JSON."""
    import tensorflow as tf

    from mmlearn import fusions

    (length,) = options.tokens
    random = np.random.default_rng(0)
    shape = (1, length, options.hidden_dim)
    features = {m: tf.constant(random.normal(size=shape), tf.float32) for m in MODALITIES}
    masks = {m: tf.ones((1, length), bool) for m in MODALITIES}
    fusion = fusions.get(options.fusion, num_heads=options.num_heads)
    fusion.build(dict.fromkeys(MODALITIES, shape))
    weights = [weight.value for weight in fusion.trainable_weights]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(features)  # as encoders below would
            fused = fusion(features, masks, training=True)["fused_features"]
            loss = tf.reduce_sum(fused**2)
        return tape.gradient(loss, [weights, features])

    step.get_concrete_function()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        gradients = step()
        gradients[1]["text"].numpy()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"ms": 1e3 * median(seconds), "mb": peak / 1024}))


def call(options, fusion, length):
    """Measures in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.attention_cost", "--fusion", fusion]
    command += ["--tokens", str(length), "--steps", str(options.steps)]
    command += ["--hidden-dim", str(options.hidden_dim), "--num-heads", str(options.num_heads)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def slope(sizes, values):
    """Of the line through the logarithms, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-3)), 1)[0])


def main():
    """Prints a row per size, the slopes, and one JSON object with all rounds."""
    options = tyro.cli(Options)
    if options.fusion:
        measure(options)
        return
    console = Console(width=100)
    found = {fusion: {length: [] for length in options.tokens} for fusion in FUSIONS}
    for number in range(options.rounds):
        for length in options.tokens:
            for fusion in FUSIONS:
                found[fusion][length].append(call(options, fusion, length))
        console.print(f"round {number + 1} of {options.rounds}", highlight=False)
    medians = {
        (fusion, unit): [median(run[unit] for run in runs) for runs in by_length.values()]
        for fusion, by_length in found.items()
        for unit in ("ms", "mb")
    }
    columns = [(fusion, unit) for unit in ("ms", "mb") for fusion in FUSIONS]
    shown = {"ms": "ms a step", "mb": "MB peak"}
    table = Table("tokens", *(f"{fusion}, {shown[unit]}" for fusion, unit in columns))
    for row, length in enumerate(options.tokens):
        table.add_row(f"{length:,}", *(f"{medians[column][row]:,.1f}" for column in columns))
    slopes = {}
    if len(options.tokens) > 1:
        table.add_section()
        for name, first in (("slope", 0), ("of the last two", -2)):
            slopes[name] = {
                f"{fusion} {unit}": slope(options.tokens[first:], medians[fusion, unit][first:])
                for fusion, unit in columns
            }
            table.add_row(name, *(f"{value:.2f}" for value in slopes[name].values()))
    console.print(table)
    print(json.dumps({"slopes": slopes, "rounds": found}))


if __name__ == "__main__":
    main()
