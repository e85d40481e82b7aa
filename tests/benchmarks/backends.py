"""What a training step of `shapes` costs with Keras on TensorFlow and on JAX.

    python -m tests.benchmarks.backends --work DIR

Each backend in a process of its own, in float32 and in the precision that it chooses; the first and
the last phase, two epochs each. Prints a JSON object per phase: milliseconds of the clock and of the
processor per step, without the first steps, in which it compiles.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import tyro

BACKENDS, PRECISIONS = ("jax", "tensorflow"), ("float32", "auto")
FIRST_STEPS = 5


@dataclass(frozen=True)
class Options:
    """Compares the backends, or measures that of this process."""

    work: str
    """Folder for the data."""
    scenes: int = 1920
    """Of the training split."""
    precision: str | None = None
    """Measures this one alone, on the backend of the process."""


def measure(options):
    """Trains and prints what a step took."""
    import keras

    from mmlearn import experiments
    from mmlearn.experiments.run import fit

    class Clock(keras.callbacks.Callback):
        def __init__(self, phase):
            super().__init__()
            self.phase = phase.name

        def on_train_batch_end(self, batch, logs=None):
            if batch + 1 == FIRST_STEPS:
                self.start = (time.perf_counter(), time.process_time())
            self.steps = batch + 1 - FIRST_STEPS

        def on_test_begin(self, logs=None):
            clock, processor = time.perf_counter(), time.process_time()
            found = {
                "backend": keras.config.backend(),
                "precision": options.precision,
                "phase": self.phase,
                "clock_ms": round(1000 * (clock - self.start[0]) / self.steps, 1),
                "processor_ms": round(1000 * (processor - self.start[1]) / self.steps, 1),
            }
            print(json.dumps(found), flush=True)

    experiment = experiments.get("shapes")
    first, _, last = experiment.training.phases
    training = dataclasses.replace(
        experiment.training,
        phases=tuple(dataclasses.replace(phase, epochs=2) for phase in (first, last)),
        precision=options.precision,
        monitor_contribution=False,
    )
    data = dataclasses.replace(
        experiment.data,
        root=os.path.join(options.work, "shapes"),
        options={"num_train": options.scenes, "num_val": 256, "seed": 0},
    )
    fit(dataclasses.replace(experiment, training=training, data=data), callbacks=[Clock])


def compare(options):
    """Measures all, each in a process of its own."""
    for precision in PRECISIONS:
        for backend in BACKENDS:
            command = [sys.executable, "-m", "tests.benchmarks.backends", "--work", options.work]
            command += ["--scenes", str(options.scenes), "--precision", precision]
            environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    chosen = tyro.cli(Options)
    if chosen.precision is None:
        compare(chosen)
    else:
        measure(chosen)
