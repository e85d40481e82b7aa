"""Several sources as one: ids, groups, classes, what is unknown, files."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from data_prep.errors import DataError
from data_prep.fingerprint import fingerprint
from data_prep.pipeline import build_dataset
from data_prep.records import Records
from data_prep.sources.joined import JoinedSource
from data_prep.splits import Selection
from tests.examples_source import ExamplesSource, examples


def source(labels, names, groups=None, splits=("train",), kind="multi_label", **columns):
    labels = labels if sparse.issparse(labels) else np.asarray(labels)
    groups = range(labels.shape[0]) if groups is None else groups
    found = ExamplesSource({s: examples(groups, labels, **columns) for s in splits}, names)
    found.label_kind = kind
    return found


@pytest.fixture
def animals():
    return source(np.array([[1, 0], [0, 1]], np.uint8), ["dog", "cat"], captions=[["a"], ["b"]])


@pytest.fixture
def rooms():
    labels = np.array([[1, 0], [1, 1], [0, 0]], np.uint8)
    return source(labels, ["cat", "sofa"], captions=[["c"], [], ["e", "f"]])


def test_labels_of_the_other_source_are_unknown(animals, rooms):
    joined = JoinedSource({"old": animals, "new": rooms})
    assert joined.label_names == ["dog", "cat", "sofa"]
    index = joined.examples("train")
    assert index.labels.tolist() == [[1, 0, -1], [0, 1, -1], [-1, 1, 0], [-1, 1, 1], [-1, 0, 0]]
    assert index.ids == ["old/0", "old/1", "new/0", "new/1", "new/2"]
    assert index.captions == [["a"], ["b"], ["c"], [], ["e", "f"]]
    assert joined.report("train") == {"examples found of old": 2, "examples found of new": 3}


def test_batches_hold_the_unknown_labels(animals, rooms):
    joined = JoinedSource({"old": animals, "new": rooms})
    found = [example["labels"].numpy().tolist() for example in build_dataset(joined, "train")]
    assert found == joined.examples("train").labels.tolist()


def test_images_of_two_sources_are_never_the_same(animals, rooms):
    joined = JoinedSource({"old": animals, "new": rooms})
    groups = joined.examples("train").groups
    assert len(set(groups.tolist())) == 5
    assert groups[:2].tolist() == [0, 1]
    twice = source(np.ones((3, 1)), ["dog"], groups=[7, 7, 8])
    groups = JoinedSource({"a": twice, "b": twice}).examples("train").groups
    assert groups[3] == groups[4] != groups[5]
    assert not set(groups[:3]) & set(groups[3:])


def test_a_split_is_of_the_sources_that_have_it(animals):
    both = source(np.ones((2, 1), np.uint8), ["sofa"], splits=("train", "val"))
    joined = JoinedSource({"old": animals, "new": both})
    assert joined.splits == ("train", "val")
    assert joined.examples("val").ids == ["new/0", "new/1"]
    assert joined.examples("val").labels.tolist() == [[-1, -1, 1], [-1, -1, 1]]
    assert joined.oracles("train") == {}


def test_a_single_source_keeps_its_ids_and_may_get_more_classes(rooms):
    joined = JoinedSource({"new": rooms}, ["dog", "sofa", "cat"])
    index = joined.examples("train")
    assert index.ids == ["0", "1", "2"]
    assert index.labels.tolist() == [[-1, 0, 1], [-1, 1, 1], [-1, 0, 0]]
    assert joined.settings == rooms.settings
    same = JoinedSource({"new": rooms})
    assert fingerprint(same) == fingerprint(rooms)
    # The predictions of observers are for the source's own classes.
    (oracle,) = joined.oracles("train").values()
    assert oracle.tolist() == [[0, 0, 0], [0, 1, 1], [0, 2, 2]]


def test_of_exactly_one_class_the_others_are_known():
    kinds = {"kind": "multi_class"}
    first = source(np.array([[1, 0], [0, 1]], np.uint8), ["dog", "cat"], **kinds)
    second = source(np.array([[1]], np.uint8), ["sofa"], **kinds)
    joined = JoinedSource({"a": first, "b": second})
    assert joined.label_kind == "multi_class"
    assert joined.examples("train").labels.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_one_class_each_beside_any_number_is_any_number():
    one = source(np.array([[1, 0], [0, 1]], np.uint8), ["dog", "cat"], kind="multi_class")
    joined = JoinedSource({"a": one, "b": source(np.array([[1]], np.uint8), ["sofa"])})
    assert joined.label_kind == "multi_label"
    assert joined.examples("train").labels.tolist() == [[1, 0, -1], [0, 1, -1], [-1, -1, 1]]
    alone = JoinedSource({"a": one}, ["dog", "cat", "sofa"], "multi_label")
    assert alone.label_kind == "multi_label"
    assert alone.examples("train").labels.tolist() == [[1, 0, -1], [0, 1, -1]]


def test_soft_labels_keep_their_values():
    soft = source(np.array([[0.3]], np.float32), ["yes"], kind="soft")
    joined = JoinedSource({"a": soft, "b": source(np.array([[1]], np.uint8), ["dog"])})
    assert joined.label_kind == "soft"
    np.testing.assert_allclose(joined.examples("train").labels, [[0.3, -1], [-1, 1]])


def test_sparse_labels_stay_sparse_where_all_is_known():
    dense = np.array([[1, 0], [0, 1]], np.float32)
    first = source(sparse.csr_array(dense), ["dog", "cat"])
    second = source(sparse.csr_array(dense), ["cat", "dog"])
    labels = JoinedSource({"a": first, "b": second}).examples("train").labels
    assert sparse.issparse(labels)
    assert labels.toarray().tolist() == [[1, 0], [0, 1], [0, 1], [1, 0]]
    other = source(sparse.csr_array(dense), ["cat", "sofa"])
    labels = JoinedSource({"a": first, "b": other}).examples("train").labels
    assert labels.tolist() == [[1, 0, -1], [0, 1, -1], [-1, 1, 0], [-1, 0, 1]]


def test_a_modality_that_one_source_lacks_is_absent_in_its_examples(animals):
    table = {"age": np.array([3.0], np.float32), "town": ["A"]}
    series = np.ones((1, 2, 1), np.float32)
    other = source([[1]], ["sofa"], images=["c.jpg"], table=table, series=series)
    index = JoinedSource({"old": animals, "new": other}).examples("train")
    assert index.images == ["", "", "c.jpg"]
    assert index.captions == [["a"], ["b"], []]
    assert index.audio is None
    np.testing.assert_array_equal(index.table["age"], [np.nan, np.nan, 3])
    assert index.table["town"] == ["", "", "A"]
    np.testing.assert_array_equal(index.series[:, 0, 0], [np.nan, np.nan, 1])


def parse(records, positions):
    """Each record is the row it has in its source, a comma, and what it holds."""
    parts = tf.strings.split(records, ",").to_tensor()
    return tf.strings.to_number(parts[:, 0], tf.int64), parts[:, 1]


class RecordsSource(ExamplesSource):
    """Images that lie in record files."""

    def __init__(self, folder, name, rows, parse=parse):
        super().__init__({"train": examples(range(len(rows)), images=["there"] * len(rows))})
        self.path = str(folder / name)
        with tf.io.TFRecordWriter(self.path) as file:
            for row in rows:
                file.write(f"{row},{name}{row}")
        self.parse = parse

    def records(self, split):
        count = len(self.examples(split))
        return Records([self.path], [count], self.parse, np.arange(count))


def test_record_files_are_read_as_one(tmp_path):
    first = RecordsSource(tmp_path, "a", [2, 0, 1])
    first = Selection(first, {"train": ("train", [2, 1])})  # one is left out, the others turned
    joined = JoinedSource({"old": first, "new": RecordsSource(tmp_path, "b", [1, 0])})
    records = joined.records("train")
    assert (len(records.paths), records.counts) == (2, [3, 2])
    data = tf.constant(["2,a2", "0,a0", "1,a1", "1,b1", "0,b0"])
    rows, found = records.parse(data, tf.range(5, dtype=tf.int64))
    in_index = {
        records.rows[row]: name for row, name in zip(rows.numpy(), found.numpy(), strict=True)
    }
    assert in_index == {0: b"a2", 1: b"a1", -1: b"a0", 2: b"b0", 3: b"b1"}
    assert joined.examples("train").ids == ["old/2", "old/1", "new/0", "new/1"]


def test_record_files_of_other_formats_are_refused(tmp_path, animals):
    first = RecordsSource(tmp_path, "a", [0, 1])
    second = RecordsSource(tmp_path, "b", [0], parse=lambda found, places: (places, found))
    for other in (second, source([[1]], ["x"])):
        joined = JoinedSource({"old": first, "new": other})
        with pytest.raises(DataError, match=r"cannot be joined: .* Fix: prepare all of them"):
            joined.records("train")
    assert JoinedSource({"old": animals, "new": animals}).records("train") is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            source([[1.5]], ["x"], kind="regression"),
            r"'my data' has no classes.*Fix: name a column",
        ),
        (source(np.zeros((1, 0)), []), r"'my data' has no classes"),
    ],
)
def test_what_cannot_be_joined_is_refused(animals, other, message):
    with pytest.raises(DataError, match=message):
        JoinedSource({"old": animals, "new": other})


def test_a_class_that_is_not_wanted_is_named(rooms):
    with pytest.raises(DataError, match=r"not among the 2 wanted ones, the first: 'sofa'\. Fix:"):
        JoinedSource({"new": rooms}, ["dog", "cat"])


def test_series_and_columns_must_fit():
    def with_series(length):
        return source([[1]], ["x"], series=np.ones((1, length, 1), np.float32))

    with pytest.raises(DataError, match=r"Series of different shapes .*\[\(2, 1\), \(3, 1\)\]"):
        JoinedSource({"a": with_series(2), "b": with_series(3)}).examples("train")
    numbers = source([[1]], ["x"], table={"age": np.ones(1, np.float32)})
    names = source([[1]], ["x"], table={"age": ["old"]})
    with pytest.raises(DataError, match="The column 'age' holds numbers in one source and names"):
        JoinedSource({"a": numbers, "b": names}).examples("train")
