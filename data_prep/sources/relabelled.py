"""A source as a model that knows other classes needs it."""

import dataclasses

import numpy as np
from scipy import sparse

from data_prep.sources.source import Source


class RelabelledSource(Source):
    """The same examples, labelled with other classes: those that both have keep their labels.

    A class that the source does not have is never true; one that is not wanted is left out. That is right
    where what is no class is still an answer, as of questions: a model's vocabulary is that of the
    answers it was trained with.

    Args:
        source: a source.
        label_names: list of str. The classes wanted, in the order of the label vector.

    Example:

    >>> import pandas
    >>> from data_prep.sources.table import TableSource
    >>> rows = pandas.DataFrame({"text": ["one", "two"], "kind": ["dog", "cat|pet"]})
    >>> source = RelabelledSource(TableSource(rows, text="text", labels="kind"), ["pet", "cow", "dog"])
    >>> source.examples("all").labels.toarray().tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    def __init__(self, source, label_names):
        super().__init__(source.root, **source.settings)
        self.source = source
        self.splits, self.label_kind = source.splits, source.label_kind
        self.label_names = list(label_names)
        wanted = {name: column for column, name in enumerate(self.label_names)}
        places = [wanted.get(name, -1) for name in source.label_names]
        self._own = np.flatnonzero(np.array(places) >= 0)
        self._columns = np.array(places, np.int64)[self._own]

    def _read_split(self, split):
        examples = self.source.examples(split)
        kept = sparse.coo_array(sparse.csr_array(examples.labels)[:, self._own])
        labels = sparse.csr_array(
            (kept.data.astype(np.float32), (kept.coords[0], self._columns[kept.coords[1]])),
            shape=(len(examples), len(self.label_names)),
        )
        return dataclasses.replace(examples, labels=labels), self.source.report(split)

    def records(self, split):
        """The record files of the source."""
        return self.source.records(split)

    def oracles(self, split):
        """The oracles of the source, 0 for classes that it does not have."""
        oracles = {}
        for name, values in self.source.oracles(split).items():
            oracles[name] = np.zeros((len(values), len(self.label_names)), np.float32)
            oracles[name][:, self._columns] = values[:, self._own]
        return oracles
