"""A table of your own: one row per example, from a file or a `pandas.DataFrame`.

What the columns are is said by arguments, so that the table stays as it is. Rows are called by their
number, counted from 1 without the header; blank lines do not count. A line number would not do: text
in quotes may hold line breaks.
"""

import os

import msgspec
import numpy as np
import pandas as pd
import scipy.sparse

from data_prep.errors import DataError
from data_prep.sources.series import align, read_options
from data_prep.sources.source import Examples, Source
from data_prep.sources.table_cells import Cells, Problems
from data_prep.sources.table_files import read_table

MAX_DENSE_CLASSES = 512
_SPLITS = {
    "train": "train",
    "val": "val",
    "validation": "val",
    "valid": "val",
    "dev": "val",
    "test": "test",
}
_PATHS = ("images", "audio")
_INPUTS = ("text", "numeric", "categorical")
_IMPUTES = ("median", "mean", "none")


class TableSource(Source):
    """Examples from the rows of a table, with any of the five modalities.

    An empty cell is an absent text, image, or recording. Only the empty cell is missing: the text
    "NA" is a text, and in a column of numbers it is an error. All that is wrong with a table is told
    in one message, with the rows.

    Args:
        root: path of a .csv, .tsv, .jsonl, .ndjson or .parquet file, or a `pandas.DataFrame`.
        images: str. Column of image paths.
        text: str or list of str. Columns of text; each is one more caption of the example.
        labels: str. Column of classes. Where cells hold the separator or are lists, any number of
            classes is true (`"multi_label"`), else exactly one is (`"multi_class"`).
        targets: list of str. Columns of numbers to predict (`"regression"`).
        numeric: list of str. Columns of numbers, an input.
        categorical: list of str. Columns of names, an input; "" where one is missing.
        audio: str. Column of paths of WAV files.
        series: dict, or the same as JSON: `data_prep.sources.series.SeriesOptions`. Its path starts
            from the folder of the table.
        id: str. Column of unique ids. By default they are the row numbers.
        group: str. Column whose equal values are one group; an empty cell is a group of its own. By
            default rows of the same image are one group.
        split: str. Column of train, val (also validation, valid, dev) and test. Without it the one
            split is `"all"`.
        folder: str. Where the paths start from, default the folder of the table, or the working
            directory for a data frame. Absolute paths are for data frames only.
        separator: str. What stands between the classes of a cell.
        impute: `"median"`, `"mean"` or a number: what missing numbers become, column by column,
            computed from the train split (from all rows if there are no splits). `"none"` keeps NaN.
        label_names: list of str. The classes in the order of the label vector. By default those of
            the table, sorted; whole numbers by value.

    A list of columns may also be one comma-separated string, as on a command line.

    Raises:
        DataError: with all problems of the table, or that of an option.

    Example:
        >>> frame = pd.DataFrame({"text": ["soft", "", "loud"], "kind": ["cat", "cat", "dog"]})
        >>> source = TableSource(frame, text="text", labels="kind")
        >>> source.label_names, source.examples("all").labels.tolist()
        (['cat', 'dog'], [[1, 0], [1, 0], [0, 1]])
        >>> source.report("all")["missing texts"]
        1
    """

    def __init__(
        self,
        root,
        *,
        images=None,
        text=None,
        labels=None,
        targets=None,
        numeric=(),
        categorical=(),
        audio=None,
        series=None,
        id=None,
        group=None,
        split=None,
        folder=None,
        separator="|",
        impute="median",
        label_names=None,
    ):
        series = None if series is None else read_options(series)
        super().__init__(
            "the table" if isinstance(root, pd.DataFrame) else root,
            images=_read_name("images", images),
            text=_read_names("text", text),
            labels=_read_name("labels", labels),
            targets=_read_names("targets", targets),
            numeric=_read_names("numeric", numeric),
            categorical=_read_names("categorical", categorical),
            audio=_read_name("audio", audio),
            series=None if series is None else msgspec.to_builtins(series),
            id=_read_name("id", id),
            group=_read_name("group", group),
            split=_read_name("split", split),
            folder=None if folder is None else str(folder),
            separator=separator,
            impute=_read_impute(impute),
            label_names=None if label_names is None else _read_names("label_names", label_names),
        )
        self._check_settings()
        cells = Cells(read_table(root), Problems())
        columns = self._find_columns(cells)
        num_rows = cells.table.num_rows
        self._tallies = {"examples": np.ones(num_rows, np.int64)}
        split_of = self._read_splits(cells, columns["split"])
        images = self._read_paths(cells, "images", columns["images"])
        captions = self._read_captions(cells, columns["text"])
        audio = self._read_paths(cells, "audio", columns["audio"])
        labels = self._read_labels(cells, columns["labels"], columns["targets"])
        table = self._read_table(cells, columns["numeric"], columns["categorical"])
        self._is_aligned = np.ones(num_rows, bool)
        windows = None if series is None else self._read_series(cells, series)
        ids = self._read_ids(cells, columns["id"])
        groups = self._read_groups(cells, columns["group"], images)
        cells.problems.raise_if_any(cells.table.label)
        self._all = Examples(
            ids=[f"{split}/{each}" for split, each in zip(split_of, ids, strict=True)],
            groups=groups,
            labels=labels,
            images=images,
            captions=captions,
            audio=audio,
            series=windows,
            table=table,
        )

    def misaligned(self, split):
        """The numbers of the rows whose reading is not within the tolerance: list of int.

        Args:
            split: str.
        """
        self._read(split)  # names an unknown split
        rows = self._rows[split]
        return (rows[~self._is_aligned[rows]] + 1).tolist()

    def _read_split(self, split):
        rows = self._rows[split]
        examples = self._all.take(rows)
        report = {what: int(counts[rows].sum()) for what, counts in self._tallies.items()}
        if self.label_kind != "regression" and self.label_names:
            used = np.asarray(examples.labels.sum(0)).ravel() > 0
            report["classes without an example"] = len(used) - int(used.sum())
        return examples, report

    def _check_settings(self):
        settings = self.settings
        if settings["labels"] and settings["targets"]:
            raise DataError(
                "`labels` (classes) and `targets` (numbers) exclude each other. Fix: give one."
            )
        if not isinstance(settings["separator"], str | None):
            raise DataError(
                f"`separator` must be a str. Received: {settings['separator']!r}. Fix: give one, "
                "such as '|'."
            )
        if not any(settings[role] for role in (*_PATHS, *_INPUTS, "series")):
            raise DataError(
                "No column is an input. Fix: name columns for images, text, audio, numeric or "
                "categorical, or a series."
            )

    def _find_columns(self, cells):
        """The existing columns by role: a name or `None`, or a list of names."""
        columns = {}
        for role in (*_PATHS, "labels", "id", "group", "split"):
            name = self.settings[role]
            columns[role] = next(iter(cells.existing([name] if name else [])), None)
        for role in (*_INPUTS, "targets"):
            columns[role] = cells.existing(self.settings[role])
        truth = {columns["labels"], *columns["targets"]}
        inputs = [*columns["numeric"], *columns["categorical"]]
        for name in dict.fromkeys(inputs):
            if name in truth or inputs.count(name) > 1:
                cells.problems.add(f"column {name!r} has two uses", "give a column one use")
        return columns

    def _read_splits(self, cells, name):
        """Sets `splits` and the rows of each; returns the split of each row."""
        if name is None:
            split_of = ["all"] * cells.table.num_rows
        else:
            keys = cells.keys(name, required=True)
            unknown = [row for row, key in enumerate(keys) if key and key not in _SPLITS]
            cells.report(name, unknown, "no split", "call the splits train, val and test", keys)
            split_of = [_SPLITS.get(key) for key in keys]
        self.splits = tuple(s for s in ("train", "val", "test", "all") if s in split_of)
        # Compared as objects: an array of str would cost four bytes a letter.
        array = np.array(split_of, object)
        self._rows = {split: np.flatnonzero(array == split) for split in self.splits}
        return split_of

    def _read_ids(self, cells, name):
        if name is None:
            return list(range(1, cells.table.num_rows + 1))
        ids = cells.keys(name, required=True)
        seen, again = set(), []
        for row, key in enumerate(ids):
            if key in seen:
                again.append(row)
            elif key is not None:
                seen.add(key)
        cells.report(name, again, "repeated", "give every row an id of its own", ids)
        return ids

    def _read_groups(self, cells, name, images):
        if name is not None:
            keys = cells.keys(name)
        elif images is not None:
            keys = [os.path.normpath(path) if path else None for path in images]
        else:
            return np.arange(cells.table.num_rows, dtype=np.int64)
        numbers = {}
        groups = [
            numbers.setdefault(row if key is None else key, len(numbers))
            for row, key in enumerate(keys)
        ]
        return np.array(groups, np.int64)

    def _read_paths(self, cells, modality, name):
        if name is None:
            return None
        folder = self.settings["folder"]
        folder = cells.table.folder if folder is None else folder
        if not os.path.isdir(folder):
            raise DataError(
                f"There is no folder {folder!r}. Fix: pass the folder of the {modality}."
            )
        paths = cells.paths(name, folder)
        self._count(modality, [bool(path) for path in paths])
        return paths

    def _read_captions(self, cells, names):
        if not names:
            return None
        columns = [cells.texts(name) for name in names]
        captions = [
            [" ".join(text.split()) for text in texts if text]
            for texts in zip(*columns, strict=True)
        ]
        self._count("texts", list(map(len, captions)))
        return captions

    def _count(self, what, counts):
        counts = np.array(counts, np.int64)
        self._tallies[what] = counts
        self._tallies[f"missing {what}"] = counts == 0

    def _read_labels(self, cells, name, targets):
        """Sets `label_kind` and `label_names`; returns the labels."""
        self.label_names = []
        if targets:
            self.label_kind, self.label_names = "regression", targets
            columns = [cells.numbers(target, required=True) for target in targets]
            return np.stack(columns, 1).astype(np.float32)
        if name is None:
            return np.zeros((cells.table.num_rows, 0), np.uint8)
        classes, has_lists = cells.classes(name, self.settings["separator"])
        self.label_kind = "multi_label" if has_lists else "multi_class"
        self._count("labels", [len(set(each)) for each in classes])
        self.label_names = self.settings["label_names"] or _sorted_names(set().union(*classes))
        columns = {each: column for column, each in enumerate(self.label_names)}
        if len(columns) < len(self.label_names):
            cells.problems.add("`label_names` has a name twice", "name each class once")
        if has_lists and not columns:
            cells.problems.add(f"column {name!r} holds no class", "leave out `labels`")
        unknown = {
            row: each for row, found in enumerate(classes) for each in found if each not in columns
        }
        cells.report(name, list(unknown), "not in `label_names`", "correct the classes", unknown)
        pairs = [
            (row, columns[each])
            for row, found in enumerate(classes)
            for each in set(found)
            if each in columns
        ]
        return _one_hot(np.array(pairs, np.int64).reshape(-1, 2), (len(classes), len(columns)))

    def _read_table(self, cells, numeric, categorical):
        if not numeric and not categorical:
            return None
        table = {name: self._read_numbers(cells, name) for name in numeric}
        for name in categorical:
            keys = cells.keys(name)
            missing = [key is None for key in keys]
            if any(missing):
                self._tallies[f"missing in {name!r}"] = np.array(missing)
            table[name] = [key or "" for key in keys]
        return table

    def _read_numbers(self, cells, name):
        num_problems = len(cells.problems)
        values = cells.numbers(name)
        missing = np.isnan(values)
        if missing.any() and len(cells.problems) == num_problems:
            is_kept = self.settings["impute"] == "none"
            self._tallies[f"{'missing' if is_kept else 'imputed'} in {name!r}"] = missing
            values[missing] = self._fill_value(cells, name, values)
        return values.astype(np.float32)

    def _fill_value(self, cells, name, values):
        impute = self.settings["impute"]
        if impute not in ("median", "mean"):
            return np.nan if impute == "none" else impute
        split = "train" if self.settings["split"] else "all"
        known = values[self._rows.get(split, [])]
        known = known[~np.isnan(known)]
        if not len(known):
            cells.problems.add(
                f"column {name!r}: the split {split!r} has no number to take the {impute} of",
                "pass a number as `impute`, or leave the column out",
            )
            return np.nan
        return np.median(known) if impute == "median" else np.mean(known)

    def _read_series(self, cells, options):
        path = os.path.join(cells.table.folder, options.path)
        readings = Cells(read_table(path), cells.problems, where=f"in {path!r}, ")
        num_problems = len(cells.problems)
        row_columns, columns = [options.row_time or options.time], [options.time]
        if options.by is not None:
            row_columns.append(options.by)
            columns.append(options.by)
        row_columns, columns = cells.existing(row_columns), readings.existing(columns)
        features = readings.existing(options.columns)
        if len(cells.problems) > num_problems:
            return None
        row_times = cells.times(row_columns[0], options.has_dates)
        times = readings.times(options.time, options.has_dates, required=True)
        values = np.stack([readings.numbers(name) for name in features], 1).astype(np.float32)
        row_groups = np.zeros(len(row_times), np.int64)
        groups = np.zeros(len(times), np.int64)
        if options.by is not None:
            keys = readings.keys(options.by, required=True)
            numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
            groups = np.array([numbers[key] for key in keys], np.int64)
            row_keys = cells.keys(options.by)
            row_groups = np.array([numbers.get(key, -1) for key in row_keys], np.int64)
        if cells.problems:
            return None
        windows, self._is_aligned = align(
            row_times,
            row_groups,
            times,
            groups,
            values,
            options.length,
            options.max_distance,
            options.direction,
        )
        self._tallies[f"rows without a reading within {options.tolerance}"] = ~self._is_aligned
        return windows


def _read_name(option, name):
    names = _read_names(option, name, separator=None)
    if len(names) > 1:
        raise DataError(f"`{option}` takes one column. Received: {name!r}. Fix: name one.")
    return names[0] if names else None


def _read_names(option, names, separator=","):
    """A list of str from a list, or from one str with commas."""
    if names is None:
        return []
    if isinstance(names, str):
        words = names.split(separator) if separator else [names]
        names = [word.strip() for word in words if word.strip()]
    elif isinstance(names, int) and not isinstance(names, bool):
        names = [str(names)]  # a command line makes a number of the column "0"
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"`{option}` takes names. Received: {names!r}. Fix: pass a list of str, or one str."
        )
    return list(names)


def _read_impute(impute):
    is_number = isinstance(impute, int | float) and not isinstance(impute, bool)
    if impute in _IMPUTES or (is_number and abs(impute) <= float(np.finfo(np.float32).max)):
        return impute
    raise DataError(f"`impute` is {impute!r}. Fix: use median, mean, none or a number.")


def _sorted_names(names):
    if all(name.isascii() and name.isdigit() for name in names):
        return sorted(names, key=lambda name: (len(name), name))  # 2 before 10
    return sorted(names)


def _one_hot(pairs, shape):
    if shape[1] > MAX_DENSE_CLASSES:
        ones = np.ones(len(pairs), np.float32)
        return scipy.sparse.csr_array((ones, (pairs[:, 0], pairs[:, 1])), shape=shape)
    labels = np.zeros(shape, np.uint8)
    labels[pairs[:, 0], pairs[:, 1]] = 1
    return labels
