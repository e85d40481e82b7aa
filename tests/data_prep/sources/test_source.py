import dataclasses

import numpy as np
import pytest
from scipy import sparse

from data_prep.errors import DataError
from data_prep.sources.source import Examples, Source

LABELS = [[1, 0], [0, 1], [1, 1], [0, 0]]


def examples():
    """Four examples with every modality."""
    return Examples(
        ids=["a", "b", "c", "d"],
        groups=np.array([10, 10, 11, 12]),
        labels=np.array(LABELS, np.uint8),
        images=["a.jpg", "", "c.jpg", "d.jpg"],
        captions=[["one", "uno"], [], ["three"], ["four"]],
        audio=["", "b.wav", "", ""],
        series=np.arange(8, dtype=np.float32).reshape(4, 2, 1),
        table={"age": np.array([1, 2, np.nan, 4], np.float32), "town": ["A", "B", "C", "D"]},
        details={"kind": ["x", "y", "x", "z"], "more": {"deep": [0, 1, 2, 3]}},
    )


def assert_equal(got, expected):
    """Compares column by column, types included."""
    for field in dataclasses.fields(Examples):
        left, right = getattr(got, field.name), getattr(expected, field.name)
        assert type(left) is type(right), field.name
        np.testing.assert_equal(left, right, err_msg=field.name)


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0]), np.array([2, 0], np.int32)])
def test_take_picks_rows_of_every_column_in_their_order(rows):
    expected = Examples(
        ids=["c", "a"],
        groups=np.array([11, 10]),
        labels=np.array([[1, 1], [1, 0]], np.uint8),
        images=["c.jpg", "a.jpg"],
        captions=[["three"], ["one", "uno"]],
        audio=["", ""],
        series=np.array([[[4], [5]], [[0], [1]]], np.float32),
        table={"age": np.array([np.nan, 1], np.float32), "town": ["C", "A"]},
        details={"kind": ["x", "x"], "more": {"deep": [2, 0]}},
    )
    taken = examples().take(rows)
    assert len(taken) == 2
    assert_equal(taken, expected)
    assert taken.labels.dtype == np.uint8
    assert taken.series.dtype == taken.table["age"].dtype == np.float32


def test_take_of_all_rows_none_or_one_twice():
    assert_equal(examples().take(range(4)), examples())
    none = examples().take([])
    assert (len(none), none.captions, none.table["town"]) == (0, [], [])
    assert (none.labels.shape, none.series.shape) == ((0, 2), (0, 2, 1))
    assert examples().take([1, 1]).ids == ["b", "b"]


def test_take_leaves_the_index_as_it_was():
    index = examples()
    index.take([0, 1]).labels[:] = 7
    assert_equal(index, examples())


def test_take_of_sparse_labels_and_of_modalities_that_are_not_there():
    labels = sparse.csr_array(np.array(LABELS, np.float32) / 2)
    taken = Examples(["a", "b", "c", "d"], np.arange(4), labels).take([3, 2, 2])
    assert sparse.issparse(taken.labels)
    assert taken.labels.dtype == np.float32
    assert taken.labels.toarray().tolist() == [[0, 0], [0.5, 0.5], [0.5, 0.5]]
    assert (taken.ids, taken.groups.tolist()) == (["d", "c", "c"], [3, 2, 2])
    assert taken.images is taken.captions is taken.audio is taken.series is taken.table is None
    assert taken.details == {}
    assert taken.take([]).labels.shape == (0, 2)


def test_take_beyond_the_end_is_an_error():
    with pytest.raises(IndexError):
        examples().take([4])


class CountingSource(Source):
    """Counts how often each split was read."""

    splits = ("train", "val")
    label_names = ["x", "y"]

    def __init__(self, root, **settings):
        super().__init__(root, **settings)
        self.reads = []

    def _read_split(self, split):
        self.reads.append(split)
        return examples(), {"images": 3}


def test_a_split_is_read_when_it_is_asked_for_and_once():
    source = CountingSource("data")
    assert source.reads == []
    first = source.examples("val")
    assert source.report("val") == {"images": 3}
    assert source.examples("val") is first
    assert source.reads == ["val"]
    source.report("train")
    assert source.reads == ["val", "train"]
    assert CountingSource("data").examples("val") is not first


def test_the_settings_and_the_root_are_kept(tmp_path):
    source = CountingSource(tmp_path, strict=True, years=[2014])
    assert (source.root, source.settings) == (str(tmp_path), {"strict": True, "years": [2014]})
    assert CountingSource(None).root is None


def test_what_a_source_has_unless_it_says_more():
    source = CountingSource("data")
    assert source.label_kind == "multi_label"
    assert source.oracles("train") == {}
    assert source.records("train") is None


@pytest.mark.parametrize("read", ["examples", "report"])
def test_an_unknown_split_is_named_beside_the_known_ones(read):
    source = CountingSource("my data")
    message = (
        r"^'my data' has no split 'vla'\. Unknown split 'vla'\. Did you mean 'val'\? "
        r"Known: train, val\.$"
    )
    with pytest.raises(DataError, match=message):
        getattr(source, read)("vla")
    assert source.reads == []


def test_a_subclass_must_read():
    class Nothing(Source):
        splits = ("all",)

    with pytest.raises(NotImplementedError, match="Nothing must define `_read_split"):
        Nothing("data").examples("all")
