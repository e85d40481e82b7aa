"""Checkpoints of a training run: whole, or not there."""

import json
import os
import re
import time
import warnings
import zipfile
from dataclasses import dataclass

import numpy as np

_NAME = re.compile(r"(\d{12})\.npz")
_STATE, _ARRAY = "state", "array"
# NotImplementedError: zipfile's, for a way of compression that it does not know.
_CORRUPT = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError)


@dataclass(frozen=True)
class Checkpoint:
    """What was saved.

    Attributes:
        state: plain JSON types.
        arrays: list of numpy arrays.
    """

    state: dict
    arrays: list


class Checkpoints:
    """A folder with the last few checkpoints, each one file.

    A file is written under another name and renamed when it is on the disk, so that a process
    killed at any moment leaves the earlier ones as they were. Every array carries a checksum.

    Args:
        folder: str. Made when it is missing.
        keep: int. How many are kept; the older ones stand in for one that turns out damaged.
    """

    def __init__(self, folder, keep=2):
        if keep < 1:
            raise ValueError(f"`keep` must be positive. Received: keep={keep}.")
        self.folder = folder
        self.keep = keep
        self._saved_at = time.monotonic()
        os.makedirs(folder, exist_ok=True)

    def save(self, number, state, arrays):
        """Writes a checkpoint and removes the oldest.

        Args:
            number: int. Grows with the training.
            state: dict of plain JSON types.
            arrays: list of numpy arrays.

        Raises:
            OSError: when it cannot be written; the earlier ones are still there.
        """
        path = os.path.join(self.folder, f"{number:012d}.npz")
        partial = f"{path}.partial"
        members = {f"{_ARRAY}{place}": array for place, array in enumerate(arrays)}
        content = np.frombuffer(json.dumps({**state, "num_arrays": len(arrays)}).encode(), np.uint8)
        try:
            with open(partial, "wb") as file:
                np.savez(file, **{_STATE: content}, **members)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError as error:
            if os.path.exists(partial):
                os.remove(partial)
            size = sum(array.nbytes for array in arrays) / 1e6
            raise OSError(
                error.errno,
                f"The checkpoint ({size:,.0f} MB) cannot be written: {error.strerror}. Fix: make room "
                "and start the same command again; it goes on from the last checkpoint",
                self.folder,
            ) from None
        for old in self._numbers()[: -self.keep]:
            os.remove(os.path.join(self.folder, f"{old:012d}.npz"))
        self._saved_at = time.monotonic()

    def is_due(self, seconds):
        """Whether the last one was saved, or this object made, that many seconds ago."""
        return time.monotonic() - self._saved_at >= seconds

    def latest(self):
        """Returns the newest `Checkpoint` that is whole, or `None`; warns about damaged ones."""
        for number in reversed(self._numbers()):
            path = os.path.join(self.folder, f"{number:012d}.npz")
            try:
                return _read(path)
            except _CORRUPT as error:
                warnings.warn(
                    f"The checkpoint {path!r} is damaged ({error}) and is left out.", stacklevel=2
                )
        return None

    def _numbers(self):
        matches = (_NAME.fullmatch(name) for name in os.listdir(self.folder))
        return sorted(int(match[1]) for match in matches if match)


def _read(path):
    # Everything is read, and its checksum compared, before anything is returned.
    with open(path, "rb") as content, np.load(content, allow_pickle=False) as file:
        state = json.loads(file[_STATE].tobytes())
        if not isinstance(state, dict):
            raise ValueError("no state")
        arrays = [file[f"{_ARRAY}{place}"] for place in range(state.pop("num_arrays"))]
    return Checkpoint(state, arrays)
