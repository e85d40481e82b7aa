"""Several sources as one, with the union of their classes."""

import numpy as np
import tensorflow as tf
from scipy import sparse

from data_prep.errors import DataError
from data_prep.records import Records
from data_prep.sources.source import Examples, Source

UNKNOWN = -1  # the label of a class that an example says nothing about


class JoinedSource(Source):
    """The examples of several sources, one after the other, over the union of their classes.

    A split holds the examples of all sources that have it. What an example of one source says
    about a class that only another one has is nothing: its label there is -1, which losses
    (`mmlearn.losses.known_labels`) and metrics leave out. Only where all sources have exactly one true
    class per example (`"multi_class"`) are the other ones known to be false, whatever their source.

    Args:
        sources: dict of str to source. Of two or more, the ids of the examples begin with this name
            and a slash; those of a single one stay. `details` of examples are left out.
        label_names: list of str. The classes in the order of the label vector, by default those of
            the sources in their order.
        label_kind: str. By default that of the sources, `"multi_label"` or `"soft"` where they differ.
            Examples of exactly one class may be taken for examples of any number, `"multi_label"`.

    Raises:
        DataError: when a source has no classes, or such as are not in `label_names`.

    Example:

    >>> import pandas
    >>> from data_prep.sources.table import TableSource
    >>> tables = {
    ...     kind: TableSource(
    ...         pandas.DataFrame({"text": ["one", "two"], "kind": [kind, f"{kind}|animal"]}),
    ...         text="text",
    ...         labels="kind",
    ...     )
    ...     for kind in ("dog", "cat")
    ... }
    >>> joined = JoinedSource(tables)
    >>> joined.label_names, joined.examples("all").ids[0]
    (['animal', 'dog', 'cat'], 'dog/all/1')
    >>> joined.examples("all").labels.tolist()
    [[0, 1, -1], [1, 1, -1], [0, -1, 1], [1, -1, 1]]
    """

    def __init__(self, sources, label_names=None, label_kind=None):
        last = list(sources.values())[-1]
        settings = {name: source.settings for name, source in sources.items()}
        super().__init__(last.root, **({"joined": settings} if len(sources) > 1 else last.settings))
        self.sources = dict(sources)
        common = _common_kind(sources)
        self.label_kind = common if label_kind is None else label_kind
        union = dict.fromkeys(name for s in sources.values() for name in s.label_names)
        self.label_names = list(union if label_names is None else label_names)
        unknown = [name for name in union if name not in set(self.label_names)]
        if unknown:
            raise DataError(
                f"{last.root!r} has classes that are not among the {len(self.label_names)} wanted "
                f"ones, the first: {unknown[0]!r}. Fix: other data, or other `label_names`."
            )
        self.splits = tuple(dict.fromkeys(name for s in sources.values() for name in s.splits))

    def _parts(self, split):
        """The number, name and source of those that have the split."""
        places = enumerate(self.sources.items())
        return [(i, name, source) for i, (name, source) in places if split in source.splits]

    def _read_split(self, split):
        parts, report = [], {}
        for number, name, source in self._parts(split):
            index = source.examples(split)
            found = source.report(split)
            ids, groups = index.ids, index.groups
            if len(self.sources) > 1:
                ids = [f"{name}/{each}" for each in ids]
                # Numbers of images, which two sources may share, hardly ever need the upper bits.
                groups = groups ^ np.int64(number << 56)
                found = {f"{what} of {name}": count for what, count in found.items()}
            parts.append((index, ids, groups, self._labels(index.labels, source)))
            report.update(found)
        indexes = [index for index, *_ in parts]
        joined = Examples(
            ids=[each for _, ids, *_ in parts for each in ids],
            groups=np.concatenate([groups for _, _, groups, _ in parts]),
            labels=_concatenate([labels for *_, labels in parts]),
            images=_join(indexes, "images", ""),
            captions=_join(indexes, "captions", []),
            audio=_join(indexes, "audio", ""),
            series=_join_series(indexes),
            table=_join_tables(indexes),
        )
        return joined, report

    def _labels(self, labels, source):
        """The labels of a source in the columns of the union."""
        column = {name: place for place, name in enumerate(self.label_names)}
        columns = [column[name] for name in source.label_names]
        is_complete = len(columns) == len(self.label_names)
        if sparse.issparse(labels) and (is_complete or self.label_kind == "multi_class"):
            own = sparse.coo_array(labels)
            places = (own.coords[0], np.asarray(columns, np.int64)[own.coords[1]])
            shape = (labels.shape[0], len(self.label_names))
            return sparse.csr_array((own.data, places), shape)
        # What is not known is no zero, so these cannot be sparse.
        dense = labels.toarray() if sparse.issparse(labels) else np.asarray(labels)
        if is_complete and columns == sorted(columns):
            return dense
        # One byte a label where that is enough: classes may be many.
        is_binary = dense.dtype.kind in "ub" or not (dense % 1).any()
        rest = 0 if self.label_kind == "multi_class" else UNKNOWN
        kind = np.int8 if is_binary else np.float32
        wide = np.full((len(dense), len(self.label_names)), rest, kind)
        wide[:, columns] = dense
        return wide

    def records(self, split):
        """The record files of all parts, if all have some and of one format.

        Raises:
            DataError: when only some of the parts have record files, or of other formats.
        """
        found = [(source, source.records(split)) for _, _, source in self._parts(split)]
        if all(records is None for _, records in found):
            return None
        if len(found) == 1:
            return found[0][1]
        if len({(r.parse, r.is_prepared) if r else None for _, r in found}) > 1:
            raise DataError(
                f"The sources of {split!r} cannot be joined: some have their images in record files "
                "of their own. Fix: prepare all of them as shards (python -m data_prep shards), or "
                "none."
            )
        return _join_records(
            [records for _, records in found], [len(source.examples(split)) for source, _ in found]
        )

    def oracles(self, split):
        """The oracles of a split that comes from one source, 0 for classes it does not have."""
        parts = self._parts(split)
        if len(parts) > 1:
            return {}
        ((_, _, source),) = parts
        columns = [self.label_names.index(name) for name in source.label_names]
        oracles = {}
        for name, values in source.oracles(split).items():
            oracles[name] = np.zeros((len(values), len(self.label_names)), np.float32)
            oracles[name][:, columns] = values
        return oracles


def _common_kind(sources):
    for source in sources.values():
        if not len(source.label_names) or source.label_kind == "regression":
            raise DataError(
                f"{source.root!r} has no classes, so that it cannot be joined. Fix: name a column of "
                "labels, --data.options labels=NAME, or leave it out."
            )
    kinds = {source.label_kind for source in sources.values()}
    if len(kinds) > 1:
        return "soft" if "soft" in kinds else "multi_label"
    return kinds.pop()


def _concatenate(labels):
    if all(sparse.issparse(each) for each in labels):
        return sparse.csr_array(sparse.vstack(labels))
    dense = [each.toarray() if sparse.issparse(each) else each for each in labels]
    return np.concatenate(dense)


def _join(indexes, name, absent):
    """One list of all values of a column; `None` where no part has it."""
    columns = [getattr(index, name) for index in indexes]
    if all(column is None for column in columns):
        return None
    return [
        value
        for index, column in zip(indexes, columns, strict=True)
        for value in ([absent] * len(index) if column is None else column)
    ]


def _join_series(indexes):
    shapes = {index.series.shape[1:] for index in indexes if index.series is not None}
    if not shapes:
        return None
    if len(shapes) > 1:
        raise DataError(
            f"Series of different shapes cannot be joined. Received: {sorted(shapes)} (length, "
            "channels). Fix: the same length and channels."
        )
    (shape,) = shapes
    return np.concatenate(
        [
            np.full((len(index), *shape), np.nan, np.float32)
            if index.series is None
            else index.series
            for index in indexes
        ]
    )


def _join_tables(indexes):
    """The union of the columns; NaN or "" where a part lacks one."""
    tables = [index.table or {} for index in indexes]
    if all(index.table is None for index in indexes):
        return None
    joined = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        kinds = {isinstance(table[name], list) for table in tables if name in table}
        if len(kinds) > 1:
            raise DataError(
                f"The column {name!r} holds numbers in one source and names in another. Fix: read it "
                "as the same kind, numeric or categorical."
            )
        if kinds == {True}:
            parts = [t.get(name, [""] * len(i)) for t, i in zip(tables, indexes, strict=True)]
            joined[name] = [value for part in parts for value in part]
        else:
            parts = [
                t.get(name, np.full(len(i), np.nan, np.float32))
                for t, i in zip(tables, indexes, strict=True)
            ]
            joined[name] = np.concatenate(parts)
    return joined


def _join_records(parts, counts):
    """The record files of several parts; a record is told to be of which by its position."""
    offsets = np.cumsum([0, *counts[:-1]])
    rows = [np.where(p.rows < 0, -1, p.rows + o) for p, o in zip(parts, offsets, strict=True)]
    first_record = tf.constant(np.cumsum([0, *(sum(p.counts) for p in parts[:-1])]), tf.int64)
    first_row = tf.constant(np.cumsum([0, *(len(each) for each in rows[:-1])]), tf.int64)
    parse = parts[0].parse

    def parse_joined(found, positions):
        which = tf.searchsorted(first_record, positions, side="right") - 1
        own_rows, data = parse(found, positions - tf.gather(first_record, which))
        return own_rows + tf.gather(first_row, which), data

    return Records(
        [path for part in parts for path in part.paths],
        [count for part in parts for count in part.counts],
        parse_joined,
        np.concatenate(rows),
        parts[0].is_prepared,
    )
