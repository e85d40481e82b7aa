"""What a saved model costs: parameters, operations, size, speed, memory."""

import dataclasses
import multiprocessing
import os
import platform
import resource
import shlex
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import keras
import numpy as np
import psutil
import tensorflow as tf
import tensorflow_text  # noqa: F401, registers the tokenizer's ops

from data_prep.quiet import quiet_start
from mmlearn.analysis.architecture import parameters_by_part
from mmlearn.analysis.flops import count_flops, count_macs
from mmlearn.encoders.untrusted import check_untrusted
from mmlearn.models.compiled import compile_function
from mmlearn.models.made_inputs import made_inputs
from mmlearn.models.manifest import check_saved_model
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset

PRESET, SERVING = "preset", "serving_default"
WARM_UP = 3  # calls whose time does not count, after the first
MB = 1e6


@dataclass(frozen=True)
class ProfileOptions:
    """How long and with what is measured."""

    batch_sizes: tuple[int, ...] = (1, 8, 32)
    """Examples per call whose throughput is measured."""
    repeats: int = 50
    """Calls of each kind that count."""
    train_batch_size: int = 32
    """Examples per step of training."""
    train_steps: int = 5
    """Steps of training that count, after one that does not; 0 for none."""

    def __post_init__(self):
        for name in ("repeats", "train_batch_size", "train_steps"):
            if getattr(self, name) < (0 if name == "train_steps" else 1):
                raise ValueError(f"`{name}` must be positive. Received: {getattr(self, name)}.")
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise ValueError(
                f"`batch_sizes` must be positive. Received: batch_sizes={self.batch_sizes}."
            )


def profile_model(model, options=ProfileOptions(), progress=lambda what: None):
    """Measures what a saved model costs. TensorFlow only.

    Each artefact is loaded and called in a process of its own, so that the first call is cold and memory
    is its own; so is training. What is measured depends on the machine, which is named.

    - `parameters`, `flops`, `macs`: of the model; operations of one prediction with batch 1, see
      `mmlearn.analysis.flops`. The preset's call takes model inputs; that of a SavedModel takes
      files and strings, and decodes and tokenizes them too.
    - `load_seconds`, `first_call_ms`: cold. `latency_ms_p50`, `latency_ms_p95`: warm, one example a call.
    - `throughput`: examples a second by batch size, from the median of the warm calls.
    - `peak_memory_mb`: of the process (`ru_maxrss`), which has Python and TensorFlow in it; and
      `gpu_peak_memory_mb` where there is a GPU.

    Args:
        model: str. Output folder of a run, or a preset directory.
        options: `ProfileOptions`.
        progress: function of a str, told what is measured next.

    Returns:
        A dict of `machine`, `parameters` (by part), `flops`, `macs`, `artefacts` (dict of name to what is
        measured of it, `None` where something was not) and `training`, or `None` for no steps.

    Raises:
        ValueError: when there is no saved model, or a process of the measurement ends early.
    """
    preset = find_preset(model)
    progress("counting")
    result = {
        "machine": describe_machine(),
        "options": dataclasses.asdict(options),
        **_in_own_process(_count, preset),
        "artefacts": {},
        "training": None,
    }
    for name, path in find_artefacts(model).items():
        progress(name)
        measured = _in_own_process(_measure_artefact, path, options)
        result["artefacts"][name] = {"size_mb": size_of(path) / MB, **measured}
    if options.train_steps:
        progress("training")
        result["training"] = _in_own_process(_measure_training, preset, options)
    return result


def find_artefacts(model):
    """Finds what a model was saved as: dict of name (`preset`, `serving/1`, `x.keras`) to path.

    Args:
        model: str. Output folder of a run, or a preset directory.
    """
    found = {PRESET: find_preset(model)}
    serving = os.path.join(model, "serving")
    versions = os.listdir(serving) if os.path.isdir(serving) else []
    for version in sorted(filter(str.isdecimal, versions), key=int):
        found[f"serving/{version}"] = os.path.join(serving, version)
    for name in sorted(os.listdir(model)):
        if name.endswith(".keras"):
            found[name] = os.path.join(model, name)
    return found


def size_of(path):
    """The size of a file, or of all files in a folder, in bytes."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    files = (os.path.join(folder, n) for folder, _, names in os.walk(path) for n in names)
    return sum(map(os.path.getsize, files))


def describe_machine():
    """What the figures depend on: a dict of plain JSON types."""
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "cpu_cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpus": gpus,
        "system": platform.system(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def _count(preset):
    task = PredictionTask.from_preset(preset, load_weights=False)
    return {
        "parameters": {**parameters_by_part(task), "all": task.count_params()},
        "flops": count_flops(task),
        "macs": count_macs(task),
    }


def _in_own_process(function, *args):
    """Calls a function in a fresh process, and returns what it returns."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit TensorFlow's threads
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        with quiet_start():  # the process inherits where its chatter goes; errors come back
            measuring = pool.submit(function, *args)
        try:
            return measuring.result()
        except BrokenProcessPool:
            raise ValueError(
                f"The process that measured {args[0]!r} was killed, most likely for want of memory. Fix: "
                "smaller batches, or a machine with more memory."
            ) from None


def _measure_artefact(path, options):
    """Loads and calls an artefact; the first in its process."""
    check_saved_model(path)
    check_untrusted(path)
    start = time.perf_counter()
    call, make_inputs, kept = _load(path)
    loaded = time.perf_counter()
    one = make_inputs(1)
    before = time.perf_counter()
    call(one)
    first = time.perf_counter() - before
    times = _time_calls(call, one, options.repeats)
    throughput = {}
    for size in options.batch_sizes:
        inputs = make_inputs(size)
        middle = np.median(times if size == 1 else _time_calls(call, inputs, options.repeats))
        throughput[str(size)] = float(size / middle)
    del kept
    return {
        "load_seconds": loaded - start,
        "first_call_ms": 1000 * first,
        "latency_ms_p50": 1000 * float(np.quantile(times, 0.5)),
        "latency_ms_p95": 1000 * float(np.quantile(times, 0.95)),
        "throughput": throughput,
        **_peak_memory(),
    }


def _load(path):
    """Loads an artefact: what calls it, what makes its inputs, and what must stay alive."""
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        loaded = tf.saved_model.load(path)
        signature = loaded.signatures[SERVING]
        spec = signature.structured_input_signature[1]

        def call(inputs):
            return {name: value.numpy() for name, value in signature(**inputs).items()}

        return call, lambda size: made_inputs(spec, size), loaded
    if path.endswith(".keras"):
        task = keras.saving.load_model(path, compile=False)
    else:
        task = PredictionTask.from_preset(path)
    run = compile_function(lambda x: task(x, training=False), task)

    def call_task(inputs):
        return keras.tree.map_structure(np.asarray, run(inputs))

    return call_task, lambda size: model_inputs(task, size), task


def model_inputs(task, batch_size):
    """Model inputs of that many examples, everything present: how long a call takes depends on no more.

    Args:
        task: a task.
        batch_size: int.
    """
    specs = {
        name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)
        for name, tensor in task.input.items()
    }
    return made_inputs(specs, batch_size)


def _measure_training(preset, options):
    """Trains everything for some steps, with the task's own losses and AdamW."""
    task = PredictionTask.from_preset(preset)
    task.set_trainable(["all"])
    task.compile()
    loaded = _peak_memory()
    size = options.train_batch_size
    inputs = model_inputs(task, size)
    columns = sum(head.num_columns for head in task.described.values())
    labels = np.zeros((size, columns), np.float32)
    labels[:, 0] = 1
    start = time.perf_counter()
    task.train_on_batch(inputs, labels)  # traces
    first = time.perf_counter() - start
    times = []
    for _ in range(options.train_steps):
        start = time.perf_counter()
        task.train_on_batch(inputs, labels)
        times.append(time.perf_counter() - start)
    peak = _peak_memory()
    return {
        "batch_size": size,
        "first_step_seconds": first,
        "step_seconds": float(np.median(times)),
        "examples_per_second": float(size / np.median(times)),
        **peak,
        "memory_before_mb": loaded["peak_memory_mb"],
    }


def _time_calls(call, inputs, repeats):
    for _ in range(WARM_UP):
        call(inputs)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call(inputs)
        times.append(time.perf_counter() - start)
    return times


def _peak_memory():
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    gpus = tf.config.list_logical_devices("GPU")
    on_gpus = [tf.config.experimental.get_memory_info(gpu.name)["peak"] for gpu in gpus]
    return {
        "peak_memory_mb": peak / MB,
        "gpu_peak_memory_mb": max(on_gpus) / MB if on_gpus else None,
    }


def profile_evidence(result, model):
    """Puts a profile into tables.

    Args:
        result: dict, as `profile_model` returns.
        model: str, of which it is; for the command.

    Returns:
        A dict in the format of `mmlearn.analysis.evidence`, with the profile itself as `profile`.
    """
    machine, artefacts, training = (result[n] for n in ("machine", "artefacts", "training"))
    where = f"{machine['cpu_cores']} CPU core(s), {machine['memory_gb']} GB"
    where += "".join(f", {gpu}" for gpu in machine["gpus"])
    rows = [[name.replace("_", " "), count] for name, count in result["parameters"].items()]
    tables = [
        {"title": "Parameters", "columns": ["part", "parameters"], "rows": rows},
        {
            "title": "Operations of one prediction",
            "columns": ["what", "number, in millions"],
            "rows": [
                ["MACs: multiply-accumulates of matrices and convolutions", result["macs"] / 1e6],
                ["FLOPs: all floating-point operations, two for a MAC", result["flops"] / 1e6],
            ],
        },
        {
            "title": "Artefacts",
            "columns": ["", *artefacts],
            "rows": [
                [label, *(get(found) for found in artefacts.values())]
                for label, get in _artefact_rows(result["options"]["batch_sizes"], machine["gpus"])
            ],
            "note": (
                f"On {where}. Each in a process of its own, with TensorFlow imported; the preset takes model "
                "inputs, a SavedModel files and strings, which it decodes."
            ),
        },
    ]
    if training is not None:
        rows = [
            ["first step, with tracing, s", training["first_step_seconds"]],
            ["step, median, s", training["step_seconds"]],
            ["examples a second", training["examples_per_second"]],
            ["peak memory of the process, MB", training["peak_memory_mb"]],
            ["of which before training, MB", training["memory_before_mb"]],
        ]
        if machine["gpus"]:
            rows.append(["peak memory of the GPU, MB", training["gpu_peak_memory_mb"]])
        note = f"On {where}, in float32, everything trainable, AdamW, one replica."
        title = f"Training, batches of {training['batch_size']}"
        tables.append({"title": title, "columns": ["", "value"], "rows": rows, "note": note})
    return {
        "tables": tables,
        "figures": [],
        "command": f"python -m mmlearn profile {shlex.quote(str(model))}",
        "profile": result,
    }


def _artefact_rows(batch_sizes, gpus):
    """What is shown of an artefact: pairs of label and a function of what was measured."""
    rows = [
        ("size, MB", lambda found: found["size_mb"]),
        ("load, s", lambda found: found["load_seconds"]),
        ("first call, ms", lambda found: found["first_call_ms"]),
        ("latency p50, ms", lambda found: found["latency_ms_p50"]),
        ("latency p95, ms", lambda found: found["latency_ms_p95"]),
    ]
    for size in batch_sizes:
        label = f"examples a second, batch {size}"
        rows.append((label, lambda found, size=size: found["throughput"].get(str(size))))
    rows.append(("peak memory of the process, MB", lambda found: found["peak_memory_mb"]))
    if gpus:
        rows.append(("peak memory of the GPU, MB", lambda found: found["gpu_peak_memory_mb"]))
    return rows
