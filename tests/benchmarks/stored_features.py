"""Training of the fusion on stored features, beside computing them in each epoch, at full size.

    python -m tests.benchmarks.stored_features --photos COCO --work DIR --vocabulary vocab.txt

The experiment `coco` (ResNet-50, BERT-base, random weights) on some photos, its second phase: frozen
encoders. Steps of both kinds alternate in one process per precision; the rates are medians over the
rounds. Then the whole phase is trained both ways from the same weights, and the metrics of each epoch
are compared.
"""

import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
import tyro

from data_prep.fingerprint import fingerprint
from data_prep.sources.coco import CocoSource
from mmlearn import experiments
from mmlearn.experiments.build import build_data, build_task
from mmlearn.training.feature_cache import FeatureCache
from mmlearn.training.optimizers import build_optimizer
from mmlearn.training.phases import run_phases
from tests.examples_source import ExamplesSource


@dataclass(frozen=True)
class Options:
    """Measures and compares."""

    photos: str
    """Folder of a COCO data set."""
    work: str
    """Folder for the features, emptied first."""
    vocabulary: str
    """File of BERT's vocabulary."""
    precisions: tuple[str, ...] = ("float32", "mixed_bfloat16")
    """Each in a process of its own."""
    examples: int = 256
    """Photos for training; half as many for validation."""
    epochs: int = 2
    """Of the phase, where metrics are compared."""
    rounds: int = 5
    """How often the rates are taken."""
    steps: tuple[int, int] = (4, 32)
    """Of a round: computed, stored."""


class StepTimer(keras.callbacks.Callback):
    """Seconds per step of a `fit`, without the first one."""

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if batch == 0:
            self.first = now
        else:
            self.seconds = (now - self.first) / batch


def build(options, precision):
    """The task, the data and the phase."""
    experiment = experiments.get("coco")
    model = dataclasses.replace(
        experiment.model,
        images=dataclasses.replace(experiment.model.images, weights="none"),
        text=dataclasses.replace(
            experiment.model.text, weights="none", vocabulary=options.vocabulary
        ),
    )
    photos = CocoSource(options.photos)
    counts = {"train": options.examples, "val": options.examples // 2}
    indexes = {s: photos.examples(s).take(np.arange(count)) for s, count in counts.items()}
    source = ExamplesSource(indexes, photos.label_names)
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    task = build_task(model, source, dtype=precision)
    phase = dataclasses.replace(experiment.training.phases[1], epochs=options.epochs)
    data = build_data(dataclasses.replace(experiment, model=model), source, task.preprocessor)
    return task, data.for_phase(phase), phase, fingerprint(source)


def rates(options, task, data, phase, cache):
    """Examples per second of both kinds, and the seconds that storing took."""
    task.set_trainable(phase.trainable)
    start = time.perf_counter()
    learner, stored = cache.prepare(task, phase, data)
    found = {"storing": time.perf_counter() - start, "computed": [], "stored": []}
    sides = {"computed": (task, data), "stored": (learner, stored)}
    for model, _ in sides.values():
        model.compile(
            build_optimizer(model, phase, data.steps_per_epoch), loss_weights=phase.loss_weights
        )
    for number in range(options.rounds + 1):
        for (kind, (model, batches)), steps in zip(sides.items(), options.steps, strict=True):
            timer = StepTimer()
            model.fit(batches.build(), steps_per_epoch=steps, callbacks=[timer], verbose=0)
            if number:  # the first round compiles
                found[kind].append(data.batch_size / timer.seconds)
    return {kind: statistics.median(v) if kind != "storing" else v for kind, v in found.items()}


def metrics(task, data, phase, cache):
    """The largest difference of a metric between the two ways, over the epochs of the phase."""
    variables = [np.array(keras.ops.convert_to_numpy(v)) for v in task.variables]
    histories = []
    for feature_cache in (None, cache):
        for variable, value in zip(task.variables, variables, strict=True):
            variable.assign(value)
        (record,) = run_phases(task, [phase], data, feature_cache=feature_cache)
        histories.append(record["history"])
    plain, stored = histories
    return {
        name: max(abs(a - b) for a, b in zip(plain[name], stored[name], strict=True))
        for name in plain
    }


def measure(options, precision):
    """Prints the figures of one precision as JSON."""
    task, data, phase, data_print = build(options, precision)
    cache = FeatureCache(os.path.join(options.work, precision), data_print)
    found = rates(options, task, data, phase, cache)
    found["ratio"] = found["stored"] / found["computed"]
    found["metric_differences"] = metrics(task, data, phase, cache)
    print(json.dumps({"precision": precision, **found}))


def main(options):
    """Measures each precision in its process, and prints the ratios between them."""
    if len(options.precisions) == 1:
        measure(options, options.precisions[0])
        return
    shutil.rmtree(options.work, ignore_errors=True)
    results = []
    for precision in options.precisions:
        words = [sys.executable, "-m", "tests.benchmarks.stored_features", *sys.argv[1:]]
        done = subprocess.run(
            [*words, "--precisions", precision], stdout=subprocess.PIPE, text=True, check=True
        )
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(done.stdout.splitlines()[-1], flush=True)
    fastest = max(result["computed"] for result in results)
    for result in results:
        print(
            f"{result['precision']}: stored {result['stored']:.1f}, computed "
            f"{result['computed']:.1f} examples/s, {result['ratio']:.1f}x; "
            f"{result['stored'] / fastest:.1f}x the fastest that computes"
        )


if __name__ == "__main__":
    main(tyro.cli(Options))
