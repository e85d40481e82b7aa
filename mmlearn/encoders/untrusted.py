"""Checks of files that somebody else may have made, before anything loads them."""

import json
import os
import stat
import tarfile
import zipfile

import h5py

# Layers that carry Python code or load other files when they are made of their config.
_RUNS_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper")


def check_untrusted(path):
    """Checks a preset directory or a file of a model before it is loaded.

    Keras and KerasHub refuse most of this on their own, some of it late and in many lines. Here all of it
    is refused first, in one line, and nothing is unpacked, written or run.

    | what | refused |
    |---|---|
    | directory | links that lead out of it, and what is no file, such as a pipe; its files as below |
    | `.keras` | member names that lead out of the archive, links; its config and weights as below |
    | `.h5` | soft and external links, and values that are in other files |
    | `.json` | layers that run code when they are loaded |
    | other archives | all: one may hold links that are followed while it is unpacked |

    Args:
        path: str. What is not there, such as the name of a preset, is left to who loads it.

    Raises:
        ValueError: naming the file, what is wrong and the fix.

    Reference:
        Keras, "Security policy", and CVE-2025-1550 and CVE-2025-9905 for what a config can do.
    """
    path = str(path)
    if os.path.isdir(path):
        _check_directory(path)
    elif os.path.isfile(path):
        _check_file(path)


def _check_directory(folder):
    inside = os.path.realpath(folder) + os.sep
    for place, names, files in os.walk(folder):
        for name in (*names, *files):
            path = os.path.join(place, name)
            if not os.path.realpath(path).startswith(inside):
                raise _refusal(
                    path, f"is a link that leads out of {folder!r}", "copy the file itself there"
                )
        for name in files:
            path = os.path.join(place, name)
            if not os.path.isfile(path):
                raise _refusal(path, "is no file that can be read", "remove it")
            if path.endswith((".h5", ".json", ".keras")):
                _check_file(path)


def _check_file(path):
    if path.endswith(".keras"):
        _check_keras(path)
    elif path.endswith((".h5", ".hdf5")):
        _check_hdf5(path, path)
    elif path.endswith(".json"):
        with open(path, "rb") as file:
            _check_config(file.read(), path)
    elif zipfile.is_zipfile(path) or tarfile.is_tarfile(path):
        fix = "unpack it (tar: python -m tarfile -e FILE DIR --filter data) and pass the directory"
        raise _refusal(path, "is an archive, which may hold links that lead out of it", fix)


def _check_keras(path):
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename
                parts = name.replace("\\", "/").split("/")
                if not parts[0] or ".." in parts or ":" in parts[0]:
                    raise _refusal(path, f"holds {name!r}, which leads out of the archive")
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise _refusal(path, f"holds the link {name!r}")
                if name.endswith(".json"):
                    _check_config(archive.read(member), path)
                elif name.endswith(".h5"):
                    with archive.open(member) as file:
                        _check_hdf5(file, path)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _unreadable(path, error) from None


def _check_hdf5(file, path):
    def wrong_link(name, link):  # what is returned ends the visit; an error would be lost in h5py
        if isinstance(link, h5py.HardLink):
            return None
        kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
        return f"holds {kind} link, {name!r}"

    def wrong_values(name, item):
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            return f"has the values of {name!r} in another file"
        return None

    try:
        with h5py.File(file, "r") as content:
            wrong = content.visititems_links(wrong_link) or content.visititems(wrong_values)
    except (OSError, RuntimeError) as error:  # HDF5 has both
        raise _unreadable(path, error) from None
    if wrong:
        raise _refusal(path, wrong)


def _check_config(text, path):
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("class_name") in _RUNS_CODE:
                what = (
                    f"has a {value['class_name'].strip('_')} layer, which runs what the file says"
                )
                raise _refusal(path, what, "build it of registered layers and save it again")
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _refusal(path, what, fix="have it saved again by a program that you trust"):
    return ValueError(f"{path!r} {what}. It is not loaded. Fix: {fix}.")


def _unreadable(path, error):
    reason = " ".join(str(error).split())[:200]
    return ValueError(f"{path!r} cannot be read ({reason}). Fix: copy or save it again.")
