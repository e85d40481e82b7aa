"""Versions of an exported model: SavedModels in numbered folders, as TensorFlow Serving takes them."""

import os
import re
import shutil

import keras

from mmlearn.models.manifest import write_manifest
from mmlearn.serving.parity import made_requests, measure_parity
from mmlearn.serving.server_config import write_server_config
from mmlearn.serving.warm_up import write_warm_up

FOLDER = "serving"  # of a model, in the folder of its run


def export_version(task, folder, version=None, name=None, precision="float32"):
    """Exports a task as a version: SavedModel, warm-up requests, manifest, and the server's config.

    All is written beside its place and renamed, so a server that watches the folder never sees a half
    of it.

    Args:
        task: a task with a preprocessor.
        folder: str, of all versions.
        version: int, at least 1, or `None` for the highest so far plus 1.
        name: str, the name of the model to its clients, of letters, digits, `.`, `_` and `-`. By
            default that of the folder, or of the run's folder that holds it.
        precision: `"float32"`, or `"float16"`, in which weights take half the space.

    Returns:
        str, the folder of the version.

    Raises:
        ValueError: when the version is there, or below 1, the name is no such name, or a SavedModel has
            no such precision.
    """
    folder = str(folder)
    version = next_version(folder, version)
    path = os.path.join(folder, str(version))
    if os.path.exists(path):
        raise ValueError(
            f"{path!r} exists. Fix: export to a new version, such as "
            f"{max(find_versions(folder), default=version) + 1}, or remove it."
        )
    name = check_name(default_name(folder) if name is None else name)
    os.makedirs(folder, exist_ok=True)
    partial = os.path.join(folder, f".{version}.partial-{os.getpid()}")
    try:
        task.export(partial, precision=precision)
        # With Keras on another backend, the process that wrote the SavedModel added the rest.
        if keras.config.backend() == "tensorflow":
            requests = made_requests(task)
            write_warm_up(partial, requests, name)
            write_manifest(task, partial, measure_parity(task, partial, requests))
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    write_server_config(folder, name)
    return path


def next_version(folder, version=None):
    """The version to write: that asked for, or the highest in a folder plus 1.

    Args:
        folder: str. It may be missing.
        version: int, or `None`.

    Raises:
        ValueError: when the version is below 1.
    """
    if version is None:
        return max(find_versions(folder), default=0) + 1
    if version < 1:
        raise ValueError(f"`version` must be at least 1. Received: version={version}.")
    return version


def find_versions(folder):
    """The versions in a folder, sorted: a list of int.

    Args:
        folder: str. It may be missing.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(name) for name in names if re.fullmatch("[0-9]+", name))


def default_name(folder):
    """The name of the model whose versions a folder holds.

    Args:
        folder: str.

    Example:

    >>> default_name("saved_models/shapes/serving"), default_name("models/my dogs")
    ('shapes', 'my_dogs')
    """
    parent, name = os.path.split(os.path.abspath(folder))
    if name == FOLDER:
        name = os.path.basename(parent)
    return re.sub(r"[^A-Za-z0-9._-]", "_", name) or "model"


def check_name(name):
    """Returns the name of a model, which becomes a part of URLs and of a config.

    Raises:
        ValueError: when it has signs other than letters, digits, `.`, `_` and `-`.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise ValueError(
            f"A model is named with letters, digits, '.', '_' and '-'. Received: {name!r}. Fix: pass another "
            "name."
        )
    return name
