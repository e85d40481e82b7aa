"""Reproducible splits, by group, so that all examples of one image are on the same side.

`by_fraction` and `k_fold` return a source whose splits are rows of another source's.
"""

import dataclasses

import numpy as np
from scipy import sparse

from data_prep.errors import DataError
from data_prep.sources.source import Source

FRACTIONS = {"train": 0.8, "val": 0.2}


class Selection(Source):
    """A source whose splits are chosen rows of the splits of another one.

    Args:
        source: a source.
        rows: dict of split name to `(split of the source, int array of rows)`.
        **settings: how the rows were chosen, for the record of a run.
    """

    def __init__(self, source, rows, **settings):
        origin = dict(source.settings)
        if origin.keys() & settings.keys():  # a selection of a selection: both are kept
            origin = {"selected_from": origin}
        super().__init__(source.root, **origin, **settings)
        self.source = source
        self.rows = {name: (origin, np.asarray(r, np.int64)) for name, (origin, r) in rows.items()}
        self.splits = tuple(rows)
        self.label_names, self.label_kind = source.label_names, source.label_kind

    def _read_split(self, split):
        origin, rows = self.rows[split]
        whole = self.source.examples(origin)
        chosen = {f"of the {len(whole):,} examples of {origin!r}": len(rows)}
        if len(rows) == len(whole):
            chosen = {}
        return whole.take(rows), {**chosen, **self.source.report(origin)}

    def records(self, split):
        """The record files, with the rows that are not chosen left out."""
        origin, rows = self.rows[split]
        records = self.source.records(origin)
        if records is None:
            return None
        place = np.full(len(self.source.examples(origin)) + 1, -1)  # the last one is for -1
        place[rows] = np.arange(len(rows))
        return dataclasses.replace(records, rows=place[records.rows])

    def oracles(self, split):
        """The oracles of the source, for the chosen rows."""
        origin, rows = self.rows[split]
        return {name: values[rows] for name, values in self.source.oracles(origin).items()}


def by_fraction(source, split="all", fractions=None, *, seed=0, stratify=False):
    """Splits one split of a source at random.

    Args:
        source: a source.
        split: str. The split that is divided; further ones keep their names.
        fractions: dict of new split name to its share of the groups; by default 0.8 train, 0.2 val.
        seed: int.
        stratify: bool. Whether each part gets its share of every label.

    Raises:
        DataError: when a part would be empty, or a name is taken.
        ValueError: when the fractions are not positive or do not sum to 1, or regression targets
            are to be stratified.
    """
    fractions = dict(FRACTIONS if fractions is None else fractions)
    index = source.examples(split)
    others = {name: (name, np.arange(len(source.examples(name)))) for name in source.splits}
    del others[split]
    for name in fractions:
        if name in others:
            raise DataError(
                f"{source.root!r} has a split {name!r} already. Fix: other names for the fractions."
            )
    labels = _strata(source, index) if stratify else None
    parts = assign(index.groups, list(fractions.values()), seed, labels)
    rows = {name: (split, np.flatnonzero(parts == i)) for i, name in enumerate(fractions)}
    for name, (_, chosen) in rows.items():
        if not len(chosen):
            raise DataError(
                f"The part {name!r} of {split!r} would be empty ({len(index)} examples). Fix: a "
                "larger share, or more data."
            )
    settings = {"fractions": fractions, "split_seed": seed, "stratify": stratify}
    return Selection(source, {**rows, **others}, **settings)


def k_fold(source, split="all", num_folds=5, fold=0, *, seed=0, stratify=False):
    """Makes one fold of a split of a source the validation data, the rest the training data.

    Args:
        source: a source.
        split: str. The split that is divided.
        num_folds: int, at least 2.
        fold: int in [0, num_folds). Which fold is `val`.
        seed: int. The same for all folds, or they would not fit together.
        stratify: bool. Whether each fold gets its share of every label.

    Returns:
        A source with the splits `train` and `val`, and the other ones of the source, such as `test`;
        not its own `train` or `val`.

    Raises:
        DataError: when there are fewer groups than folds.
        ValueError: when there is no such fold, or regression targets are to be stratified.
    """
    if not 0 <= fold < num_folds or num_folds < 2:
        raise ValueError(
            f"`fold` must be in [0, num_folds), of at least 2 folds. Received: fold={fold}, "
            f"num_folds={num_folds}."
        )
    index = source.examples(split)
    labels = _strata(source, index) if stratify else None
    folds = assign(index.groups, [1 / num_folds] * num_folds, seed, labels)
    if len(np.unique(folds)) < num_folds:
        raise DataError(
            f"{split!r} has too few images for {num_folds} folds. Fix: fewer folds, or more data."
        )
    others = [name for name in source.splits if name not in (split, "train", "val")]
    rows = {
        "train": (split, np.flatnonzero(folds != fold)),
        "val": (split, np.flatnonzero(folds == fold)),
        **{name: (name, np.arange(len(source.examples(name)))) for name in others},
    }
    settings = {"num_folds": num_folds, "fold": fold, "split_seed": seed, "stratify": stratify}
    return Selection(source, rows, **settings)


def check_has_labels(source, option):
    """Refuses an option that counts classes where the labels are regression targets.

    Args:
        source: a source whose examples were read.
        option: str. Its name, for the message.

    Raises:
        ValueError: when the source is of regression targets.
    """
    if source.label_kind == "regression":
        raise ValueError(
            f"`{option}` needs labels, but {source.root!r} has regression targets. Fix: leave it out."
        )


def _strata(source, index):
    check_has_labels(source, "stratify")
    return index.labels


def assign(groups, fractions, seed=0, labels=None):
    """Deals groups out to parts.

    Args:
        groups: int64 `(num_examples,)`. Examples of one group go to the same part.
        fractions: list of float, the shares of the parts; they sum to 1.
        seed: int.
        labels: array or sparse array `(num_examples, num_classes)`, or `None`. With labels, each part
            gets its share of every label as nearly as possible.

    Returns:
        int64 `(num_examples,)`: the part of each example.

    Raises:
        ValueError: when the fractions are not positive or do not sum to 1.

    Reference:
        Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", 2011,
        algorithm 1 (iterative stratification), here over groups.

    Example:

    >>> assign([7, 7, 8, 8, 9, 9], [0.7, 0.3], seed=0).tolist()
    [0, 0, 1, 1, 0, 0]
    """
    shares = np.asarray(fractions, np.float64)
    if not (shares > 0).all() or not abs(shares.sum() - 1) <= 1e-6:  # also when one is NaN
        raise ValueError(
            f"Fractions must be positive and sum to 1. Received: {[float(s) for s in shares]}."
        )
    shares = shares / shares.sum()  # or the last of many groups would get no part
    different, members = np.unique(np.asarray(groups), return_inverse=True)
    num_groups = len(different)
    random = np.random.default_rng(seed)
    if labels is None:
        ends = np.rint(np.cumsum(shares) * num_groups).astype(int)
        parts = np.searchsorted(ends, np.arange(num_groups), side="right")
        dealt = np.empty(num_groups, np.int64)
        dealt[random.permutation(num_groups)] = parts
        return dealt[members]
    one_per_group = sparse.csr_array(
        (np.ones(len(members)), (members, np.arange(len(members)))), (num_groups, len(members))
    )
    has_label = (one_per_group @ sparse.csr_array(labels)) > 0
    return _deal_by_label(sparse.csc_array(has_label), shares, random)[members]


def _deal_by_label(has_label, shares, random):
    """Deals groups, those of the rarest label first, to the part that wants the label most."""
    num_groups, num_classes = has_label.shape
    by_group = sparse.csr_array(has_label)
    wanted = np.asarray(has_label.sum(axis=0), np.float64).ravel()[None, :] * shares[:, None]
    room = num_groups * shares
    left = np.asarray(has_label.sum(axis=0)).ravel().astype(int)
    parts = np.full(num_groups, -1)
    order = random.permutation(num_groups)

    def give(group, wants):
        best = np.flatnonzero(wants == wants.max())
        best = best[room[best] == room[best].max()]
        part = best[0] if len(best) == 1 else random.choice(best)
        parts[group] = part
        room[part] -= 1
        columns = by_group.indices[by_group.indptr[group] : by_group.indptr[group + 1]]
        wanted[part, columns] -= 1
        left[columns] -= 1

    rank = np.empty(num_groups, int)
    rank[order] = np.arange(num_groups)
    for _ in range(num_classes):
        rarest = int(np.argmin(np.where(left > 0, left, num_groups + 1)))
        if left[rarest] <= 0:
            break
        groups = has_label.indices[has_label.indptr[rarest] : has_label.indptr[rarest + 1]]
        for group in sorted(groups[parts[groups] < 0], key=lambda g: rank[g]):
            give(group, wanted[:, rarest])
    for group in order[parts[order] < 0]:  # without any label
        give(group, room.copy())
    return parts


def ready_for_training(
    source, *, val_fraction=None, stratify=False, num_folds=None, fold=0, seed=0
):
    """Gives a source the splits `train` and `val`, if it lacks them or others are asked for.

    Args:
        source: a source.
        val_fraction: float in (0, 1), or `None`. The share that is kept for validation; by default
            the given splits, or 0.2 where the format gives none.
        stratify: bool. Whether each part gets its share of every label.
        num_folds: int or `None`. Cross-validation: fold number `fold` is the validation split.
        fold: int.
        seed: int.
    """
    if {"train", "val"} <= set(source.splits) and val_fraction is None and num_folds is None:
        return source
    origin = next((name for name in ("train", "all") if name in source.splits), source.splits[0])
    if num_folds is not None:
        return k_fold(source, origin, num_folds, fold, seed=seed, stratify=stratify)
    share = FRACTIONS["val"] if val_fraction is None else val_fraction
    if not 0 < share < 1:
        raise ValueError(f"`val_fraction` must be in (0, 1). Received: val_fraction={share}.")
    kept = [name for name in source.splits if name == origin or name not in ("train", "val")]
    whole = {name: (name, np.arange(len(source.examples(name)))) for name in kept}
    fractions = {"train": 1 - share, "val": share}
    return by_fraction(Selection(source, whole), origin, fractions, seed=seed, stratify=stratify)
