"""Files of arrays that hold something else."""

import os
import pickle

import numpy as np
import pytest

from data_prep.arrays import read_arrays
from data_prep.errors import DataError
from data_prep.sources.shards import read_index


class Evil:
    """Makes a folder as soon as it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_plain_arrays_are_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(3), words=np.array(["a", "bc"]))
    found = read_arrays(tmp_path / "a.npz")
    assert {name: value.tolist() for name, value in found.items()} == {
        "x": [0, 1, 2],
        "words": ["a", "bc"],
    }


@pytest.mark.parametrize("kind", ["npz", "npy", "pickle", "empty", "cut"])
def test_pickled_objects_and_damaged_files_are_refused(kind, tmp_path):
    path, marker = tmp_path / "a.npz", tmp_path / "ran"
    with open(path, "wb") as file:
        if kind == "npz":
            np.savez(file, x=np.array([Evil(marker)], object))
        elif kind == "npy":
            np.save(file, np.array([Evil(marker)], object))
        elif kind == "pickle":
            pickle.dump(Evil(marker), file)
        elif kind == "cut":
            np.savez(file, x=np.arange(100))
            file.truncate(100)
    with pytest.raises(DataError, match=r"^'.*a\.npz' is no file of plain arrays .*Fix: [^\n]*$"):
        read_arrays(path)
    assert not marker.exists()
    if kind == "npz":
        with np.load(path, allow_pickle=True) as arrays:
            assert arrays["x"].tolist() == [None]  # what mkdir returns: it would have run
        assert marker.exists()


def test_prepared_shards_are_read_so(tmp_path):
    texts = (
        '{"ids": [], "images": null, "captions": null, "audio": null, "table": null, "details": {}}'
    )
    (tmp_path / "index-train.json").write_text(texts)
    np.savez(tmp_path / "index-train.npz", values=np.array([Evil(tmp_path / "ran")], object))
    with pytest.raises(DataError, match=r"index-train\.npz' is no file of plain arrays"):
        read_index(str(tmp_path / "index-train"))
    assert not (tmp_path / "ran").exists()
