"""The contract of a source: files in some format -> an index of examples.

A subclass of `Source` sets `splits` and `label_names` and defines `_read_split(split)`. Images are
not opened here: an index holds paths, and what the disk has of them is the business of
`data_prep.screening` and `data_prep.doctor`.
"""

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np

from data_prep.errors import DataError
from data_prep.names import find


@dataclass(frozen=True)
class Examples:
    """An index of examples, column by column. A modality that the data does not have is `None`.

    Attributes:
        ids: list of str, unique.
        groups: int64 `(num_examples,)`, equal for examples of the same image (folds, positives).
        labels: uint8 or float32 array, or a float32 `scipy.sparse.csr_array` where classes are
            many, `(num_examples, num_classes)`: 0 or 1, or soft targets, or regression targets. Of
            joined sources -1 where an example says nothing about a class.
        images: list of str, paths; "" where an example has none.
        captions: list of lists of str; an empty list where an example has no text.
        audio: list of str, paths of WAV files; "" where an example has none.
        series: float32 `(num_examples, length, num_channels)`, NaN where there is no reading.
        table: dict of column name to a float32 array or a list of str, one value per example.
        details: dict of str to a list with one value per example: what an evaluation needs and no
            model sees, such as the kind of a question.
    """

    ids: list
    groups: np.ndarray
    labels: object
    images: list | None = None
    captions: list | None = None
    audio: list | None = None
    series: np.ndarray | None = None
    table: dict | None = None
    details: dict = dataclasses.field(default_factory=dict)

    def __len__(self):
        return len(self.ids)

    @property
    def modalities(self):
        """The modalities that the data have: dict of name to column."""
        columns = {"images": self.images, "text": self.captions, "audio": self.audio}
        columns.update({"series": self.series, "table": self.table})
        return {name: column for name, column in columns.items() if column is not None}

    def take(self, rows):
        """The index of these examples alone, in this order.

        Args:
            rows: int array or list. A row may come twice; the ids then do, too.
        """
        rows = np.asarray(rows, np.int64)

        def pick(column):
            if isinstance(column, dict):
                return {name: pick(values) for name, values in column.items()}
            if isinstance(column, list):
                return [column[row] for row in rows]
            return column if column is None else column[rows]

        return Examples(**{f.name: pick(getattr(self, f.name)) for f in dataclasses.fields(self)})


class Source:
    """A data set in some format. Base class.

    Attributes:
        splits: tuple of str, for example `("train", "val")`. `("all",)` where the format has none:
            `data_prep.splits` makes them.
        label_names: list of str, the classes in the order of the label vector; empty where the
            format has no labels.
        label_kind: `"multi_label"` (any number of classes is true), `"multi_class"` (exactly one
            is), `"soft"` (targets in [0, 1], any number) or `"regression"` (`label_names` are the
            targets' names).
        settings: dict of what else defines the data, for the record of a run. Plain JSON types.
        root: str. The folder or file.
        default_root: str, where a source that makes its data puts them; or `None`.
    """

    label_kind = "multi_label"
    default_root = None
    splits = ()
    label_names = ()

    def __init__(self, root, **settings):
        self.root = root if root is None else str(root)
        self.settings = settings
        self._read_once = functools.cache(self._read_split)

    def _read_split(self, split):
        """Returns the `Examples` of a split, and the report: dict of str to int."""
        raise NotImplementedError(f"{type(self).__name__} must define `_read_split(split)`.")

    def _read(self, split):
        try:
            find(split, self.splits, "split")
        except ValueError as error:
            raise DataError(f"{self.root!r} has no split {split!r}. {error}") from None
        return self._read_once(split)

    def examples(self, split):
        """The `Examples` of a split, read once and kept."""
        return self._read(split)[0]

    def report(self, split):
        """What was found, left out or odd, in reading order: dict of str to int."""
        return self._read(split)[1]

    def records(self, split):
        """The `data_prep.records.Records` that hold the images of a split, if files do not: `None`."""

    def oracles(self, split):
        """The predictions of observers who know the truth in part; none, unless data are made.

        Returns:
            A dict of str to float32 `(num_examples, num_classes)`.
        """
        return {}
