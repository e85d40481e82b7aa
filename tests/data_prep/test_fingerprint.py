import dataclasses
import hashlib
import re
import struct

import numpy as np
import pytest
from scipy import sparse

from data_prep.errors import DataError
from data_prep.fingerprint import fingerprint
from data_prep.records import Records
from data_prep.sources.source import Examples
from data_prep.splits import Selection
from tests.examples_source import ExamplesSource


@pytest.fixture
def index(tmp_path):
    """Two examples with every modality; their files have 3, 4 and 5 bytes."""
    paths = [str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.wav")]
    for size, path in enumerate(paths, 3):
        with open(path, "wb") as file:
            file.write(b"x" * size)
    return Examples(
        ids=["a", "b"],
        groups=np.array([1, 2]),
        labels=np.array([[1, 0], [0, 1]], np.uint8),
        images=paths[:2],
        captions=[["one", "uno"], []],
        audio=["", paths[2]],
        series=np.array([[[1.0]], [[np.nan]]], np.float32),
        table={"age": np.array([30, 40], np.float32), "town": ["A", "B"]},
    )


def of(index, split="train"):
    return fingerprint(ExamplesSource({split: index}))


def test_it_is_64_hexadecimal_digits_and_always_the_same(index):
    assert re.fullmatch("[0-9a-f]{64}", of(index))
    assert of(index) == of(dataclasses.replace(index)) == of(index.take([0, 1]))


def test_it_is_that_of_earlier_runs():
    index = Examples(["a", "b"], np.array([1, 2]), np.array([[1], [0]], np.uint8))
    numbers = struct.pack("<qqBB", 1, 2, 1, 0)
    content = b'["x", "y"]["train", ["a", "b"], null, [], {}]' + numbers
    assert of(index) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"ids": ["a", "c"]},
        {"groups": np.array([1, 1])},
        {"labels": np.array([[1, 0], [1, 0]], np.uint8)},
        {"labels": np.array([[1, 0], [0, 1]], np.float32)},
        {"captions": [["one", "uno"], [""]]},
        {"captions": [["one"], ["uno"]]},
        {"captions": None},
        {"images": ["", ""]},
        {"audio": None},
        {"series": np.array([[[1.0]], [[2.0]]], np.float32)},
        {"series": None},
        {"table": {"age": np.array([30, 41], np.float32), "town": ["A", "B"]}},
        {"table": {"age": np.array([30, 40], np.float32), "town": ["A", "C"]}},
        {"table": {"year": np.array([30, 40], np.float32), "town": ["A", "B"]}},
        {"table": {"age": np.array([30, 40], np.float32), "city": ["A", "B"]}},
        {"table": {"town": ["A", "B"]}},
    ],
    ids=str,
)
def test_whatever_a_model_learns_from_changes_it(index, change):
    assert of(dataclasses.replace(index, **change)) != of(index)


def test_the_names_of_the_labels_change_it(index):
    found = {
        fingerprint(ExamplesSource({"train": index}, label_names=names))
        for names in (["x", "y"], ["y", "x"], ["x", "z"])
    }
    assert len(found) == 3
    assert of(index) in found


def test_the_order_of_the_examples_and_the_name_of_the_split_change_it(index):
    assert of(index.take([1, 0])) != of(index)
    assert of(index, "val") != of(index)


def test_another_size_of_a_file_changes_it_and_another_folder_does_not(index, tmp_path):
    first = of(index)
    moved = tmp_path / "moved"
    moved.mkdir()
    images = [str(moved / name) for name in ("a.jpg", "other name.jpg")]
    for path, old in zip(images, index.images, strict=True):
        with open(old, "rb") as file, open(path, "wb") as copy:
            copy.write(file.read())
    assert of(dataclasses.replace(index, images=images)) == first
    with open(images[0], "ab") as file:
        file.write(b"x")
    assert of(dataclasses.replace(index, images=images)) != first


def test_what_only_an_evaluation_needs_does_not_change_it(index):
    assert of(dataclasses.replace(index, details={"kind": ["x", "y"]})) == of(index)


def test_it_is_that_of_the_splits_that_are_asked_for(index):
    source = ExamplesSource({"train": index, "val": index.take([0])})
    assert fingerprint(source, ("train",)) == of(index)
    assert fingerprint(source, ("val",)) == of(index.take([0]), "val")
    both = fingerprint(source)
    assert both == fingerprint(source, ["train", "val"])
    assert len({both, fingerprint(source, ["val", "train"]), of(index)}) == 3


def test_a_selection_of_everything_is_the_same_data(index):
    labels = sparse.csr_array(np.array([[0, 0.5, 0], [1, 0, 0.25]], np.float32))
    for kind in (index, dataclasses.replace(index, labels=labels)):
        source = ExamplesSource({"train": kind})
        whole = Selection(source, {"train": ("train", np.arange(2))}, note="all of it")
        assert fingerprint(whole) == fingerprint(source)
        part = Selection(source, {"train": ("train", np.array([1]))})
        assert fingerprint(part) != fingerprint(source)


def test_sparse_labels(index):
    dense = np.array([[0, 0.5, 0], [1, 0, 0.25]], np.float32)
    labels = sparse.csr_array(dense)
    first = of(dataclasses.replace(index, labels=labels))
    assert first == of(dataclasses.replace(index, labels=labels.copy()))
    wide = sparse.csr_array(
        (labels.data, labels.indices.astype(np.int64), labels.indptr.astype(np.int64)), (2, 3)
    )
    assert wide.indices.dtype != labels.indices.dtype
    assert of(dataclasses.replace(index, labels=wide)) == first
    for change in (dense[:, ::-1], dense * 2, dense[::-1]):
        other = sparse.csr_array(np.ascontiguousarray(change))
        assert of(dataclasses.replace(index, labels=other)) != first


class InRecords(ExamplesSource):
    """Its images lie in a record file."""

    path = ""

    def records(self, split):
        """The one record file."""
        return Records([self.path], [2], "a function", np.arange(2))


def test_of_prepared_shards_the_record_files_count(index, tmp_path):
    source = InRecords({"train": dataclasses.replace(index, images=["gone", "too"])})
    found = set()
    for size in (10, 20):
        source.path = str(tmp_path / f"{size}.tfrecord")
        with open(source.path, "wb") as file:
            file.write(b"x" * size)
        found.add(fingerprint(source))
    assert len(found) == 2


def test_a_file_that_is_gone_is_named(index):
    gone = dataclasses.replace(index, images=[index.images[0], index.images[1] + ".gone"])
    path = re.escape(index.images[1] + ".gone")
    message = rf"^'{path}' cannot be read \(No such file or directory\)\. Fix: restore it\.$"
    with pytest.raises(DataError, match=message):
        of(gone)
