"""Whether a machine has the devices, memory, room and network that are needed, and what to do if not."""

import concurrent.futures
import os
import shutil
import tempfile

import keras
import psutil
import requests

from mmlearn.experiments.requirements import FINE, FIX, NOTE, Finding
from mmlearn.training.precision import choose, find_cpu_flags, find_gpus

HUBS = {
    "Keras (ImageNet)": "https://storage.googleapis.com/tensorflow/keras-applications/",
    "Kaggle (KerasHub)": "https://www.kaggle.com/models",
    "Hugging Face": "https://huggingface.co/keras",
}
GIGABYTE = 1e9
# A training step of the full-size model peaks at 6.7 GB on a CPU (tests.benchmarks.full_size).
FULL_SIZE_MEMORY, SMALL_MEMORY = 8 * GIGABYTE, 3 * GIGABYTE
FULL_SIZE_DISK, SMALL_DISK = 25 * GIGABYTE, 1 * GIGABYTE  # COCO 2017 has 19 GB


def check_machine(data="data", models="saved_models", timeout_seconds=3.0):
    """Looks at devices, memory, folders and the network.

    Args:
        data: str. The folder where data sets are written.
        models: str. The folder where runs are written.
        timeout_seconds: float. How long each hub of weights may take to answer.

    Returns:
        A list of `Finding`.

    Example:

    >>> check_folder("models", "saved_models").topic
    'models in saved_models/'
    """
    return [
        check_devices(),
        check_memory(psutil.virtual_memory().available),
        check_folder("data", data),
        check_folder("models", models),
        check_hubs(HUBS, timeout_seconds),
    ]


def check_devices():
    """Says what would compute, and in which precision."""
    backend, gpus = keras.config.backend(), find_gpus()
    if backend not in ("tensorflow", "jax"):
        todo = "Set KERAS_BACKEND to tensorflow or jax."
        return Finding("devices", FIX, f"Keras runs on {backend}", todo)
    policy, why = choose("auto", gpus, find_cpu_flags(), backend)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    what = f"{len(gpus)} GPUs, {cores} CPU cores, Keras on {backend}; {policy}: {why}"
    if gpus:
        return Finding("devices", FINE, what)
    todo = (
        "Small models train in minutes on this CPU; for `coco` at full size, a GPU. If there is one: "
        "pip install 'tensorflow[and-cuda]', and look at what nvidia-smi says."
    )
    return Finding("devices", NOTE, what, todo)


def check_memory(available):
    """Says what fits into memory.

    Args:
        available: int. Bytes.
    """
    what = f"{available / GIGABYTE:.1f} GB free"
    if available < SMALL_MEMORY:
        return Finding("memory", FIX, what, "End other programs: a small model needs about 3 GB.")
    if available < FULL_SIZE_MEMORY:
        todo = "Enough for small models; training at full size takes 7 GB with batches of 16."
        return Finding("memory", NOTE, what, todo)
    return Finding("memory", FINE, what)


def check_folder(topic, folder):
    """Says whether a folder can be written to, and how much fits into it.

    Args:
        topic: str. What is written there.
        folder: str. It need not exist.
    """
    topic, there = f"{topic} in {folder}/", os.path.abspath(folder)
    while not os.path.exists(there):  # what would be made
        there = os.path.dirname(there)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        todo = (
            f"Make {there} a folder that you may write to, or pass another by --{topic.split()[0]}."
        )
        return Finding(topic, FIX, f"cannot be written ({error.strerror})", todo)
    what = f"can be written, {free / GIGABYTE:,.0f} GB free"
    if free < SMALL_DISK:
        return Finding(topic, FIX, what, "Make room: a small run takes some 100 MB.")
    if free < FULL_SIZE_DISK:
        return Finding(topic, NOTE, what, "Enough for small runs; COCO 2017 has 19 GB.")
    return Finding(topic, FINE, what)


def check_hubs(hubs, timeout_seconds):
    """Says whether published weights can be downloaded.

    Args:
        hubs: dict of name to address.
        timeout_seconds: float. All are asked at once.
    """
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda address: _answers(address, timeout_seconds), hubs.values()))
    silent = [name for name, answer in zip(hubs, answers, strict=True) if not answer]
    if not silent:
        return Finding("network", FINE, f"{', '.join(hubs)} answer")
    todo = (
        "Published weights cannot be downloaded from there; `shapes` and `coco_small` need none. Else "
        "copy them here, and pass the file or folder to --model.images.weights and --model.text.weights."
    )
    return Finding("network", NOTE, f"no answer from {', '.join(silent)}", todo)


def _answers(address, timeout_seconds):
    """Whether anything is answered at all."""
    try:
        requests.head(address, timeout=timeout_seconds)
    except requests.RequestException:
        return False
    return True
