import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from data_prep.errors import DataError
from data_prep.records import Records
from data_prep.splits import Selection, assign, by_fraction, k_fold, ready_for_training
from tests.examples_source import ExamplesSource, examples


def source_of(**counts):
    """A source of splits with that many examples, each of a group of its own."""
    return ExamplesSource({split: examples(range(count)) for split, count in counts.items()})


def sizes(source):
    return {split: len(source.examples(split)) for split in source.splits}


def groups_of(source, split):
    return set(source.examples(split).groups.tolist())


def test_assign_of_a_few_groups():
    assert assign([5, 5, 5, 5], [1.0]).tolist() == [0, 0, 0, 0]
    # One group and two parts: the larger share gets it.
    assert assign([5, 5], [0.6, 0.4]).tolist() == [0, 0]
    parts = assign([9, 7, 9, 8, 7, 8], [2 / 3, 1 / 3], seed=3)
    assert parts[0] == parts[2]
    assert parts[1] == parts[4]
    assert parts[3] == parts[5]
    assert sorted(parts[[0, 1, 3]].tolist()) == [0, 0, 1]


@pytest.mark.parametrize(
    ("fractions", "expected"),
    [
        ([0.8, 0.2], [80, 20]),
        ([0.7, 0.15, 0.15], [70, 15, 15]),
        ([1 / 3, 1 / 3, 1 / 3], [33, 34, 33]),
        ([0.996, 0.004], [100, 0]),
        ([0.006, 0.994], [1, 99]),
    ],
)
def test_the_parts_have_their_shares_of_the_groups(fractions, expected):
    parts = assign(np.arange(100), fractions)
    assert parts.dtype == np.int64
    assert np.bincount(parts, minlength=len(fractions)).tolist() == expected


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9), min_size=1, max_size=60),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_groups_stay_together_and_parts_are_of_their_size(groups, weights, seed, stratify):
    shares = np.array(weights) / sum(weights)
    labels = np.array([[group % 2, group % 3 == 0] for group in groups], np.uint8)
    parts = assign(groups, shares.tolist(), seed, labels if stratify else None)
    part_of = {}
    for group, part in zip(groups, parts.tolist(), strict=True):
        assert part_of.setdefault(group, part) == part
        assert 0 <= part < len(shares)
    if not stratify:
        found = np.bincount(list(part_of.values()), minlength=len(shares))
        assert (np.abs(found - shares * len(part_of)) <= 1).all()
    again = assign(groups, shares.tolist(), seed, labels if stratify else None)
    assert again.tolist() == parts.tolist()


def test_another_seed_is_another_split():
    groups = np.arange(100)
    labels = np.eye(2, dtype=np.uint8)[groups % 2]
    for given_labels in (None, labels):
        parts = [assign(groups, [0.5, 0.5], seed, given_labels).tolist() for seed in (0, 0, 1)]
        assert parts[0] == parts[1] != parts[2]


def test_every_group_gets_a_part_where_the_shares_are_rounded():
    shares = [0.5, 0.4999991]
    assert np.bincount(assign(np.arange(600_000), shares)).tolist() == [300_000, 300_000]


@pytest.mark.parametrize(
    "fractions", [[0.8, 0.3], [0.5], [1.0, 0.0], [1.5, -0.5], [], [float("nan"), 0.5]]
)
def test_fractions_that_are_no_shares(fractions):
    message = r"^Fractions must be positive and sum to 1\. Received: \["
    with pytest.raises(ValueError, match=message):
        assign([1, 2, 3], fractions)


def rare_labels(num_groups=400):
    """Labels of 2 examples per group, from half of the groups to 8 of them."""
    random = np.random.default_rng(7)
    shares = np.array([0.5, 0.2, 0.05, 0.02])
    labels = np.zeros((num_groups, 4), np.uint8)
    for column, share in enumerate(shares):
        labels[random.choice(num_groups, int(share * num_groups), replace=False), column] = 1
    return np.repeat(np.arange(num_groups), 2), np.repeat(labels, 2, axis=0)


def worst_share(parts, labels, shares):
    """The largest difference of a part's share of a label from its share of all."""
    found = np.stack([labels[parts == part].sum(0) / labels.sum(0) for part in range(len(shares))])
    return np.abs(found - np.array(shares)[:, None]).max()


def test_stratified_parts_have_their_share_of_every_label():
    groups, labels = rare_labels()
    shares = [0.75, 0.25]
    stratified, at_random = [], []
    for seed in range(10):
        parts = assign(groups, shares, seed, labels)
        assert (parts[::2] == parts[1::2]).all()
        assert abs((parts == 0).mean() - 0.75) < 0.01
        stratified.append(worst_share(parts, labels, shares))
        at_random.append(worst_share(assign(groups, shares, seed), labels, shares))
    assert max(stratified) < 0.02
    assert np.mean(at_random) > 0.1  # the 8 groups of the rarest label


def test_stratification_of_literal_labels():
    labels = np.array([[1, 0]] * 6 + [[0, 1]] * 2 + [[0, 0]] * 2, np.uint8)
    for seed in range(5):
        parts = assign(np.arange(10), [0.5, 0.5], seed, labels)
        assert np.bincount(parts[:6]).tolist() == [3, 3]
        assert np.bincount(parts[6:8]).tolist() == [1, 1]
        assert np.bincount(parts[8:]).tolist() == [1, 1]


def test_sparse_and_soft_labels_are_stratified_like_dense_ones():
    groups, labels = rare_labels(100)
    expected = assign(groups, [0.6, 0.4], 5, labels).tolist()
    assert assign(groups, [0.6, 0.4], 5, sparse.csr_array(labels)).tolist() == expected
    assert assign(groups, [0.6, 0.4], 5, labels * np.float32(0.3)).tolist() == expected


def test_by_fraction():
    index = examples(np.repeat(np.arange(10), 3), details={"kind": list(range(30))})
    source = ExamplesSource({"all": index, "test": examples([77])}, strict=True)
    parts = by_fraction(source, "all", {"train": 0.6, "val": 0.3, "held out": 0.1}, seed=4)
    assert parts.splits == ("train", "val", "held out", "test")
    assert sizes(parts) == {"train": 18, "val": 9, "held out": 3, "test": 1}
    assert groups_of(parts, "test") == {77}
    found = [groups_of(parts, split) for split in ("train", "val", "held out")]
    assert [len(groups) for groups in found] == [6, 3, 1]
    assert set.union(*found) == set(range(10))
    for split in parts.splits[:3]:  # in the order of the source
        kinds = parts.examples(split).details["kind"]
        assert kinds == sorted(kinds)
        assert parts.examples(split).ids == [str(kind) for kind in kinds]
    assert parts.settings == {
        "strict": True,
        "fractions": {"train": 0.6, "val": 0.3, "held out": 0.1},
        "split_seed": 4,
        "stratify": False,
    }
    json.dumps(parts.settings)


def test_by_fraction_keeps_a_fifth_for_validation_by_default():
    assert sizes(by_fraction(source_of(all=50))) == {"train": 40, "val": 10}


def test_by_fraction_may_keep_the_name_of_the_split():
    assert sizes(by_fraction(source_of(train=10, test=3), "train")) == {
        "train": 8,
        "val": 2,
        "test": 3,
    }


def test_by_fraction_with_strata():
    groups, labels = rare_labels()
    parts = by_fraction(ExamplesSource({"all": examples(groups, labels)}), stratify=True)
    assert parts.settings["stratify"] is True
    rarest = {split: int(parts.examples(split).labels[:, 3].sum()) for split in parts.splits}
    assert rarest in ({"train": 12, "val": 4}, {"train": 14, "val": 2})  # of 16, in twos


def test_by_fraction_refuses_empty_parts_taken_names_and_unknown_splits():
    with pytest.raises(DataError, match=r"^The part 'val' of 'all' would be empty \(2 examples\)"):
        by_fraction(source_of(all=2))
    with pytest.raises(DataError, match=r"^The part 'train' of 'all' would be empty \(0 examples"):
        by_fraction(source_of(all=0))
    with pytest.raises(DataError, match=r"'my data' has a split 'val' already\. Fix: other names"):
        by_fraction(source_of(train=10, val=3), "train")
    with pytest.raises(DataError, match=r"'my data' has no split 'all'"):
        by_fraction(source_of(train=10))
    with pytest.raises(ValueError, match=r"sum to 1\. Received: \[0\.5, 0\.4\]"):
        by_fraction(source_of(all=10), "all", {"train": 0.5, "val": 0.4})


@pytest.mark.parametrize("stratify", [False, True])
def test_every_group_is_in_exactly_one_fold(stratify):
    groups, labels = rare_labels(23)
    source = ExamplesSource({"all": examples(groups, labels)})
    seen = Counter()
    for fold in range(5):
        folds = k_fold(source, "all", 5, fold, seed=2, stratify=stratify)
        assert folds.splits == ("train", "val")
        train, val = groups_of(folds, "train"), groups_of(folds, "val")
        assert not train & val
        assert train | val == set(range(23))
        assert 3 <= len(val) <= 7
        if not stratify:
            assert len(val) in (4, 5)
        assert len(folds.examples("val")) == 2 * len(val)
        seen.update(val)
        assert folds.settings == {
            "num_folds": 5,
            "fold": fold,
            "split_seed": 2,
            "stratify": stratify,
        }
        again = k_fold(source, "all", 5, fold, seed=2, stratify=stratify)
        assert again.examples("val").ids == folds.examples("val").ids
    assert seen == Counter(range(23))
    other = k_fold(source, "all", 5, 4, seed=3, stratify=stratify)
    assert other.examples("val").ids != folds.examples("val").ids


def test_stratified_folds_have_their_share_of_every_label():
    groups, labels = rare_labels()
    source = ExamplesSource({"all": examples(groups, labels)})
    for fold in range(4):
        val = k_fold(source, "all", 4, fold, stratify=True).examples("val")
        assert val.labels.sum(0).tolist() == [100, 40, 10, 4]


def test_folds_keep_the_other_splits_but_not_their_own_names():
    source = source_of(dev=20, train=3, val=5, test=7)
    folds = k_fold(source, "dev", 5, 1)
    assert sizes(folds) == {"train": 16, "val": 4, "test": 7}
    assert groups_of(folds, "train") | groups_of(folds, "val") == set(range(20))
    assert folds.examples("test").ids == source.examples("test").ids
    assert folds.report("test") == {"examples found": 7}
    assert folds.report("train") == {"of the 20 examples of 'dev'": 16, "examples found": 20}


def test_regression_targets_have_no_strata():
    source = source_of(all=20)
    source.label_kind = "regression"
    message = (
        r"^`stratify` needs labels, but 'my data' has regression targets\. Fix: leave it out\.$"
    )
    for divide in (
        lambda **options: by_fraction(source, **options),
        lambda **options: k_fold(source, "all", 5, **options),
        lambda **options: ready_for_training(source, **options),
        lambda **options: ready_for_training(source, num_folds=5, **options),
    ):
        with pytest.raises(ValueError, match=message):
            divide(stratify=True)
        assert sizes(divide()) == {"train": 16, "val": 4}


@pytest.mark.parametrize(("num_folds", "fold"), [(1, 0), (0, 0), (5, 5), (5, -1)])
def test_a_fold_that_is_not_there(num_folds, fold):
    message = rf"^`fold` must be in \[0, num_folds\).*fold={fold}, num_folds={num_folds}\.$"
    with pytest.raises(ValueError, match=message):
        k_fold(source_of(all=9), "all", num_folds, fold)


def test_too_few_groups_for_the_folds():
    source = ExamplesSource({"all": examples([1, 1, 1, 2, 2, 2])})
    assert groups_of(k_fold(source, "all", 2), "val") in ({1}, {2})
    with pytest.raises(
        DataError, match=r"^'all' has too few images for 3 folds\. Fix: fewer folds"
    ):
        k_fold(source, "all", 3)


class SourceWithRecords(ExamplesSource):
    """Its images lie in two record files of 3 and 2, of which one was left out before."""

    label_kind = "soft"

    def records(self, split):
        """The record files."""
        return Records(["0", "1"], [3, 2], "a function", np.array([0, 1, -1, 2, 3]))


def test_a_selection_shows_the_chosen_rows_of_everything():
    labels = np.eye(4, 2, dtype=np.float32)
    index = examples([5, 6, 7, 8], labels, captions=[["a"], ["b"], ["c"], []])
    source = SourceWithRecords({"all": index}, strict=False)
    selection = Selection(source, {"some": ("all", np.array([2, 0]))}, why="a test")
    assert (selection.root, selection.splits, selection.label_kind) == (
        "my data",
        ("some",),
        "soft",
    )
    assert selection.label_names == ["x", "y"]
    assert selection.settings == {"strict": False, "why": "a test"}
    found = selection.examples("some")
    assert found.ids == ["2", "0"]
    assert found.groups.tolist() == [7, 5]
    assert found.labels.tolist() == [[0, 0], [1, 0]]
    assert found.captions == [["c"], ["a"]]
    assert selection.examples("some") is found
    assert list(selection.report("some").items()) == [
        ("of the 4 examples of 'all'", 2),
        ("examples found", 4),
    ]
    assert selection.oracles("some")["rows"].tolist() == [[2, 2], [0, 0]]
    records = selection.records("some")
    assert (records.paths, records.counts, records.parse) == (["0", "1"], [3, 2], "a function")
    assert records.rows.tolist() == [1, -1, -1, 0, -1]
    with pytest.raises(DataError, match=r"'my data' has no split 'all'.*Known: some\."):
        selection.examples("all")


def test_a_selection_of_a_source_without_records_has_none():
    assert by_fraction(source_of(all=10)).records("val") is None


def test_a_selection_of_a_selection():
    source = SourceWithRecords({"all": examples([5, 6, 7, 8])}, strict=False)
    outer = Selection(source, {"dev": ("all", np.array([3, 1, 0]))}, why="first")
    inner = Selection(outer, {"val": ("dev", np.array([2, 0]))}, how="second")
    assert inner.examples("val").groups.tolist() == [5, 8]
    assert inner.settings == {"strict": False, "why": "first", "how": "second"}
    assert list(inner.report("val").items()) == [
        ("of the 3 examples of 'dev'", 2),
        ("of the 4 examples of 'all'", 3),
        ("examples found", 4),
    ]
    assert inner.oracles("val")["rows"].tolist() == [[0, 0], [3, 3]]
    assert inner.records("val").rows.tolist() == [0, -1, -1, -1, 1]


def test_a_split_of_a_split_keeps_the_settings_of_both():
    source = ExamplesSource({"all": examples(range(40))}, strict=True)
    outer = by_fraction(source, "all", {"dev": 0.75, "test": 0.25}, seed=1)
    inner = k_fold(by_fraction(outer, "dev", seed=2), "train", 4, 3, seed=3)
    assert inner.settings == {
        "num_folds": 4,
        "fold": 3,
        "split_seed": 3,
        "stratify": False,
        "selected_from": {
            "fractions": {"train": 0.8, "val": 0.2},
            "split_seed": 2,
            "stratify": False,
            "selected_from": {"strict": True, **outer.settings},
        },
    }
    assert sizes(inner) == {"train": 18, "val": 6, "test": 10}
    assert groups_of(inner, "test") == groups_of(outer, "test")
    assert not groups_of(inner, "val") & groups_of(outer, "test")


@pytest.mark.parametrize(
    ("counts", "options", "expected"),
    [
        ({"all": 20}, {}, {"train": 16, "val": 4}),
        ({"all": 20}, {"val_fraction": 0.5}, {"train": 10, "val": 10}),
        ({"all": 20}, {"num_folds": 10}, {"train": 18, "val": 2}),
        ({"train": 20}, {}, {"train": 16, "val": 4}),
        ({"train": 20, "test": 7}, {}, {"train": 16, "val": 4, "test": 7}),
        ({"train": 20, "val": 5}, {"val_fraction": 0.1}, {"train": 18, "val": 2}),
        ({"train": 20, "val": 5}, {"num_folds": 4}, {"train": 15, "val": 5}),
        (
            {"train": 20, "val": 5, "test": 7},
            {"num_folds": 10},
            {"train": 18, "val": 2, "test": 7},
        ),
        ({"all": 20, "test": 7}, {"num_folds": 10}, {"train": 18, "val": 2, "test": 7}),
        (
            {"train": 20, "val": 5, "test": 7},
            {"val_fraction": 0.25},
            {"train": 15, "val": 5, "test": 7},
        ),
        ({"dev": 20, "test": 7}, {}, {"train": 16, "val": 4, "test": 7}),
        ({"val": 20}, {}, {"train": 16, "val": 4}),
    ],
)
def test_ready_for_training_makes_what_is_not_there(counts, options, expected):
    source = source_of(**counts)
    ready = ready_for_training(source, **options)
    assert sizes(ready) == expected
    assert not groups_of(ready, "train") & groups_of(ready, "val")
    origin = next(iter(counts))
    assert ready.report("train") == {
        f"of the 20 examples of {origin!r}": expected["train"],
        "examples found": 20,
    }
    if "test" in counts:
        assert ready.report("test") == {"examples found": 7}


def test_ready_for_training_leaves_given_splits_alone():
    for counts in ({"train": 20, "val": 5}, {"train": 20, "val": 5, "test": 7}):
        source = source_of(**counts)
        assert ready_for_training(source, seed=3) is source


def test_ready_for_training_passes_its_options_on():
    groups, labels = rare_labels()
    source = ExamplesSource({"all": examples(groups, labels)})
    ready = ready_for_training(source, val_fraction=0.25, stratify=True, seed=6)
    expected = by_fraction(source, "all", {"train": 0.75, "val": 0.25}, seed=6, stratify=True)
    assert ready.settings == expected.settings
    assert ready.examples("val").ids == expected.examples("val").ids
    ready = ready_for_training(source, num_folds=4, fold=3, stratify=True, seed=6)
    expected = k_fold(source, "all", 4, 3, seed=6, stratify=True)
    assert ready.settings == expected.settings
    assert ready.examples("val").ids == expected.examples("val").ids


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_ready_for_training_refuses_what_is_no_share(share):
    message = rf"^`val_fraction` must be in \(0, 1\)\. Received: val_fraction={share}\.$"
    with pytest.raises(ValueError, match=message):
        ready_for_training(source_of(all=20), val_fraction=share)
