"""Cells as typed values; what is wrong with them is collected and raised at once."""

import datetime
import decimal
import difflib
import numbers
import os

import numpy as np

from data_prep.errors import DataError
from data_prep.sources.files import PARENT_FIX, ImageFolder
from data_prep.sources.series import microseconds
from data_prep.sources.table_files import MAX_SHOWN, sentence, shorten

_MAX_COLUMNS_SHOWN = 20
_MAX_CELL_SHOWN = 40
_MAX_PATH_BYTES = 4096
_LARGEST = float(np.finfo(np.float32).max)
_NO_KEY = ("no name or number", "write one plain value per cell")


class Problems:
    """What is wrong with a table, in the order in which it was found, and how to mend it."""

    def __init__(self):
        self._texts = []
        self._fixes = {}  # a set that keeps its order

    def add(self, text, fix):
        """Notes a problem.

        Args:
            text: str. What is wrong.
            fix: str. What to do about it; told once for all problems of this kind.
        """
        self._texts.append(text)
        self._fixes[fix] = None

    def __len__(self):
        return len(self._texts)

    def raise_if_any(self, label):
        """Raises all problems as one `DataError`.

        Args:
            label: str. What has them ("the table 'pets.csv'").
        """
        if self._texts:
            count = f"{len(self._texts)} problem{'s' if len(self._texts) > 1 else ''}"
            what, fixes = "; ".join(self._texts), "; ".join(self._fixes)
            raise DataError(f"{sentence(label)} has {count}: {what}. Fix: {fixes}.")


class Cells:
    """The columns of a table by type. Rows are counted from 1, without the header.

    Each method returns one value per row, an empty one in the place of a cell that is wrong. An empty
    cell is a problem where `required` says so.

    Args:
        table: `data_prep.sources.table_files.Table`.
        problems: `Problems` to add to.
        where: str. Stands before each problem, where there are several tables.
    """

    def __init__(self, table, problems, where=""):
        self.table = table
        self.problems = problems
        self._where = where

    def existing(self, names):
        """Those of the names that are a column, once each. The others are a problem.

        Args:
            names: list of str.
        """
        found = []
        for name in names:
            count = self.table.names.count(name)
            if name in found:
                self._add(f"column {name!r} is named twice", "name it once")
            elif count == 1:
                found.append(name)
            elif count:
                self._add(f"{count} columns are called {name!r}", "give columns different names")
            else:
                close = difflib.get_close_matches(name, self.table.names, n=1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                known = shorten([_shown(each) for each in self.table.names], _MAX_COLUMNS_SHOWN)
                text = f"column {name!r} does not exist ({hint}columns: {known})"
                self._add(text, "name columns that exist")
        return found

    def numbers(self, name, required=False):
        """A column of numbers as float64 `(num_rows,)`, NaN where a cell is empty."""
        cells = self._cells(name, required)
        values = np.full(len(cells), np.nan)
        wrong, large = [], []
        for row, cell in enumerate(cells):
            if cell is not None:
                try:
                    values[row] = _number(cell)
                except ValueError:
                    wrong.append(row)
                if abs(values[row]) > _LARGEST:
                    values[row] = np.nan
                    large.append(row)
        self.report(name, wrong, "no number", "write numbers as 1.5 or 2e3", cells)
        self.report(name, large, "beyond the range of float32", "scale the numbers", cells)
        return values

    def times(self, name, has_dates, required=False):
        """A column of times as float64 `(num_rows,)`, NaN where a cell is empty.

        Args:
            name: str.
            has_dates: bool. Whether they are ISO 8601 (the values are microseconds since 1970) or
                numbers.
            required: bool.
        """
        if not has_dates:
            return self.numbers(name, required)
        cells = self._cells(name, required)
        values = np.full(len(cells), np.nan)
        wrong = []
        for row, cell in enumerate(cells):
            if cell is not None:
                try:
                    values[row] = microseconds(cell)
                except (ValueError, OverflowError):
                    wrong.append(row)
        fix = "write times as 2024-05-31 12:00:00, or give the tolerance as a number"
        self.report(name, wrong, "no time", fix, cells)
        return values

    def texts(self, name):
        """A column of text as a list of str, `None` where a cell is empty."""
        cells = self.table.cells(name)
        wrong = [row for row, cell in enumerate(cells) if cell is not None and not _is_text(cell)]
        self.report(name, wrong, "no text", 'put text in "quotes"', cells)
        return _without(cells, wrong)

    def keys(self, name, required=False):
        """A column of names or whole numbers as a list of str, `None` where a cell is empty."""
        cells = self._cells(name, required)
        keys = [None if cell is None else _key(cell) for cell in cells]
        wrong = [r for r, cell in enumerate(cells) if cell is not None and keys[r] is None]
        self.report(name, wrong, *_NO_KEY, cells)
        return keys

    def classes(self, name, separator):
        """A column of classes, of which cells may hold several. If none does, each must hold one.

        Args:
            name: str.
            separator: str or `None`. What stands between the classes of a cell.

        Returns:
            A list of lists of str, empty where a cell is; and bool, whether any cell is a list.
        """
        cells, classes, wrong, has_lists = self._cells(name), [], [], False
        for row, cell in enumerate(cells):
            if isinstance(cell, list):
                has_lists, parts = True, cell
            elif separator and isinstance(cell, str) and separator in cell:
                has_lists, parts = True, [p for p in cell.split(separator) if p and not p.isspace()]
            else:
                parts = [] if cell is None else [cell]
            keys = list(map(_key, parts))
            if None in keys:
                wrong.append(row)
            classes.append([key for key in keys if key is not None])
        self.report(name, wrong, *_NO_KEY, cells)
        if not has_lists:
            self._require(name, cells)
        return classes, has_lists

    def paths(self, name, folder):
        """A column of file names as a list of str, paths in the folder; "" where a cell is empty.

        Args:
            name: str.
            folder: str. An existing folder. No path may lead out of it, but the absolute ones of a
                data frame, which the user's own program made.
        """
        find = ImageFolder(folder).find
        paths, wrong, reason = [], [], ""
        for row, cell in enumerate(self.texts(name)):
            path = cell or ""
            if path and not (self.table.is_frame and os.path.isabs(path) and _is_path(path)):
                try:
                    path = find(path, f"row {row + 1} of {self.table.label}")
                except DataError as error:
                    wrong.append(row)
                    # "The row 3 of the table has a file name that is absolute: '/a'. Fix: ..."
                    text = str(error).removesuffix(f". Fix: {PARENT_FIX}.")
                    reason = reason or text.partition(" has a file name that ")[2]
            paths.append(path)
        self.report(name, wrong, f"no path in the folder, the first {reason}", PARENT_FIX)
        return paths

    def report(self, name, rows, what, fix, shown=None):
        """Notes that cells of a column are wrong, if any are.

        Args:
            name: str.
            rows: list of int, counted from 0.
            what: str. What the cells are ("no number").
            fix: str.
            shown: list with a value per row, or dict of row to value, to be shown with the rows.
        """
        if not rows:
            return
        cells = "1 cell is" if len(rows) == 1 else f"{len(rows):,} cells are"
        if shown is None:
            where = f"{'row' if len(rows) == 1 else 'rows'} {shorten([str(r + 1) for r in rows])}"
        else:
            first = [f"row {row + 1} {_shown(shown[row])}" for row in rows[:MAX_SHOWN]]
            where = shorten(first + [""] * (len(rows) - len(first)))
        self._add(f"column {name!r}: {cells} {what} ({where})", fix)

    def _add(self, text, fix):
        self.problems.add(self._where + text, fix)

    def _cells(self, name, required=False):
        cells = self.table.cells(name)
        if required:
            self._require(name, cells)
        return cells

    def _require(self, name, cells):
        empty = [row for row, cell in enumerate(cells) if cell is None]
        self.report(name, empty, "empty", "fill the empty cells or leave these rows out")


def _number(cell):
    """The number in a cell; bools are 0 and 1. Raises `ValueError`."""
    if isinstance(cell, str):
        if "_" in cell:
            raise ValueError  # Python would take 1_000
    elif not isinstance(cell, numbers.Real | decimal.Decimal):
        raise ValueError
    try:
        value = float(cell)
    except OverflowError:
        return np.inf
    if value != value:
        raise ValueError  # the text "nan"
    return value


def _key(cell):
    """A name, number, bool or date as text: 3.0 is "3". `None` for anything else."""
    if isinstance(cell, str):
        return cell.strip() or None if _is_text(cell) else None
    if isinstance(cell, datetime.date):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, int) and cell.bit_length() > 4096:
        return None  # Python refuses to write numbers of more than 4,300 digits
    return str(cell) if isinstance(cell, numbers.Real | decimal.Decimal) else None


def _is_text(cell):
    if not isinstance(cell, str):
        return False
    try:
        cell.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _is_path(name):
    return "\0" not in name and len(name.encode()) <= _MAX_PATH_BYTES


def _without(cells, rows):
    for row in rows:
        cells[row] = None
    return cells


def _shown(cell):
    if isinstance(cell, str):
        return repr(cell if len(cell) <= _MAX_CELL_SHOWN else cell[:_MAX_CELL_SHOWN] + "...")
    if isinstance(cell, int) and cell.bit_length() > 64:
        return f"a number of {cell.bit_length():,} bits"
    if isinstance(cell, int | float):
        return repr(cell)
    return f"of type {type(cell).__name__}"
