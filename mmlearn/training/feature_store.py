"""Features of one modality of one split on disk, in 16 bits: a row per value."""

import json
import os

import numpy as np

_NOTE = "note.json"


class FeatureStore:
    """A folder with three files: features, mask and presence. They may be filled bit by bit.

    Args:
        folder: str. Made by `begin`.
        count: int. Number of values.
        length: int. Positions per value.
        dim: int. Size of each position's feature.
    """

    def __init__(self, folder, count, length, dim):
        self.folder = folder
        self.count, self.length, self.dim = count, length, dim
        self.columns = {  # name of the file: dtype, shape
            "features": (np.dtype(np.float16), (count, length, dim)),
            "mask": (np.dtype(np.uint8), (count, length)),
            "present": (np.dtype(np.uint8), (count,)),
        }

    @property
    def size(self):
        """Bytes on the disk, when it is whole."""
        return sum(dtype.itemsize * int(np.prod(shape)) for dtype, shape in self.columns.values())

    @property
    def num_written(self):
        """How many values were written for certain; 0 where the folder is missing or damaged."""
        return self._read_note()[0]

    @property
    def is_whole(self):
        """Whether all values are there."""
        return self._read_note()[1]

    def _read_note(self):
        try:
            sizes = [os.path.getsize(self._path(name)) for name in self.columns]
            with open(self._path(_NOTE), encoding="utf-8") as file:
                note = json.load(file)
            num_written, is_whole = int(note["values"]), bool(note["is_whole"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, False
        return num_written, is_whole and sum(sizes) == self.size

    def begin(self):
        """Makes the files where they are missing.

        Returns:
            The number of values that are there from an interrupted time.
        """
        os.makedirs(self.folder, exist_ok=True)
        num_written = self.num_written
        for name in self.columns:
            open(self._path(name), "ab" if num_written else "wb").close()
        return num_written

    def write(self, places, features, mask, present):
        """Writes some values.

        Args:
            places: int array `(n,)`. Where they belong.
            features: float array `(n, length, dim)`.
            mask: array `(n, length)`.
            present: array `(n,)`.

        Raises:
            OverflowError: when a feature is too large for 16 bits, or no number.
            OSError: when the disk is full.
        """
        with np.errstate(over="ignore"):
            rounded = features.astype(np.float16)
        if not np.isfinite(rounded).all():
            raise OverflowError
        # Ordinary writes: a full disk is an error then, while a memory map kills the process.
        starts = np.flatnonzero(np.diff(places, prepend=places[0] - 2) != 1)
        runs = list(zip(starts, [*starts[1:], len(places)], strict=True))
        values = {"features": rounded, "mask": mask, "present": present}
        for name, (dtype, shape) in self.columns.items():
            with open(self._path(name), "r+b") as file:
                for start, end in runs:
                    file.seek(int(places[start]) * dtype.itemsize * int(np.prod(shape[1:])))
                    file.write(np.ascontiguousarray(values[name][start:end], dtype))

    def note(self, num_written, is_whole=False):
        """Notes how much is on the disk, after making sure that it is."""
        for name in self.columns:
            with open(self._path(name), "rb") as file:
                os.fsync(file.fileno())
        partial = self._path(f"{_NOTE}.partial")
        with open(partial, "w", encoding="utf-8") as file:
            json.dump({"values": num_written, "is_whole": is_whole}, file)
        os.replace(partial, self._path(_NOTE))

    def read(self):
        """Opens the columns: dict of name to an array that is read from the disk as it is needed."""
        return {
            name: np.memmap(self._path(name), dtype, "r", shape=shape)
            for name, (dtype, shape) in self.columns.items()
        }

    def _path(self, name):
        return os.path.join(self.folder, name)
