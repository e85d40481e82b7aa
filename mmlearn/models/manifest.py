"""The manifest of an exported model: what it holds, what it was made with, how exact it is.

It lies in `assets.extra/` of the SavedModel: the folder that TensorFlow leaves to others, which no
server loads, and which goes wherever the version is copied.
"""

import hashlib
import json
import os
from importlib import metadata

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

EXTRA = "assets.extra"
MANIFEST = f"{EXTRA}/manifest.json"
_FORMAT = 1
_PACKAGES = ("tensorflow", "keras", "keras-hub", "tensorflow-text", "mmlearn-keras")
_CHUNK_BYTES = 1 << 20


def write_manifest(task, folder, parity):
    """Writes the manifest of a SavedModel, when all its other files are there.

    | key | holds |
    |---|---|
    | `task` | the class of the task |
    | `versions` | of what it was made with; `null` of what is not installed as a package |
    | `labels` | by output of the model, the names of its columns |
    | `signatures` | inputs and outputs of each, with dtype and shape; the batch is `null` |
    | `ops` | all that a server must know to load it, sorted |
    | `parity` | see `mmlearn.serving.parity.measure_parity` |
    | `files` | SHA-256 and bytes of each file but the manifest, by its path |

    Args:
        task: the task that was exported.
        folder: str, the SavedModel.
        parity: dict.

    Returns:
        The manifest, a dict of plain JSON types.
    """
    with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
        graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
    heads = getattr(task, "described", {})  # a captioner has none
    manifest = {
        "format": _FORMAT,
        "task": type(task).__name__,
        "versions": {name: _version(name) for name in _PACKAGES},
        "labels": {name: list(head.label_names) for name, head in heads.items()},
        "signatures": {
            name: {"inputs": _describe(one.inputs), "outputs": _describe(one.outputs)}
            for name, one in sorted(graph.signature_def.items())
            if not name.startswith("__")  # of TensorFlow's own
        },
        "ops": _list_ops(graph.graph_def),
        "parity": parity,
        "files": _describe_files(folder),
    }
    path = os.path.join(folder, MANIFEST)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2)
    return manifest


def read_manifest(folder):
    """Reads the manifest of a SavedModel.

    Args:
        folder: str, a version.

    Raises:
        ValueError: when there is none, or it is of another format.
    """
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        known = manifest["format"] == _FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path!r} is not the manifest of an exported model ({error}). Fix: export the model again, "
            "python -m mmlearn export MODEL."
        ) from None
    if not known:
        raise ValueError(
            f"{path!r} is of format {manifest['format']}, and this version reads {_FORMAT}. Fix: export the "
            "model again, python -m mmlearn export MODEL."
        )
    return manifest


def check_files(folder):
    """Checks that the files of a version are those that were exported.

    This finds what was damaged, mixed up or swapped. Who can write a manifest can write one that fits: a
    SavedModel of somebody you do not trust is a program of theirs.

    Args:
        folder: str, a version.

    Raises:
        ValueError: naming what is missing, is there besides, or is another file.
    """
    expected, found = read_manifest(folder)["files"], _describe_files(folder)
    for what, paths in (
        ("is missing", sorted(expected.keys() - found.keys())),
        ("was not exported with it", sorted(found.keys() - expected.keys())),
        ("is not what was exported", sorted(p for p in found if found[p] != expected.get(p))),
    ):
        if paths:
            raise ValueError(
                f"{paths[0]!r} in {str(folder)!r} {what}. Fix: copy or export the model again."
            )


def check_saved_model(folder):
    """Checks a SavedModel before it is loaded, if it has a manifest, see `check_files`.

    Args:
        folder: str.
    """
    if os.path.exists(os.path.join(folder, MANIFEST)):
        check_files(folder)


def _list_ops(graph):
    # The list in the file itself leaves out what is in functions of functions.
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    functions = {one.signature.name for one in graph.library.function}
    return sorted({node.op for node in nodes} - functions)


def _describe(tensors):
    described = {}
    for name, info in sorted(tensors.items()):
        shape = [side.size if side.size >= 0 else None for side in info.tensor_shape.dim]
        shape = None if info.tensor_shape.unknown_rank else shape
        described[name] = {"dtype": tf.as_dtype(info.dtype).name, "shape": shape}
    return described


def _describe_files(folder):
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            if relative != MANIFEST:
                found[relative] = {"sha256": _hash(path), "bytes": os.path.getsize(path)}
    return dict(sorted(found.items()))


def _hash(path):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
