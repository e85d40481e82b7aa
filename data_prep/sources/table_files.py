"""Reading a table from CSV, TSV, JSON lines, Parquet or a `pandas.DataFrame`, without trusting it.

Text formats are read as they are written: "007", "NA" and "null" stay text, only an empty cell is
missing. A row that does not fit the header is an error. pandas would fill a short row, take a
column that is too many for an index and rename the second of two columns of one name, all silently,
so that CSV is read with `csv` instead.
"""

import csv
import io
import os
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from data_prep.errors import DataError, no_file

MAX_SHOWN = 5


@dataclass(frozen=True)
class Table:
    """Columns of cells.

    Attributes:
        label: str. What it is called in messages: "the table 'pets.csv'".
        names: list of str, the columns. One may appear twice.
        readers: list of functions, one per column, that return its cells as a list.
        num_rows: int.
        folder: str. Where the paths in it start from, unless the user says otherwise.
        is_frame: bool. Whether the user's own program made it.
    """

    label: str
    names: list
    readers: list
    num_rows: int
    folder: str = os.curdir
    is_frame: bool = False

    def cells(self, name):
        """The cells of a column as plain Python values; `None` where one is missing or blank.

        Raises:
            DataError: when a value of the column has no Python counterpart.
        """
        try:
            return [_plain(cell) for cell in self.readers[self.names.index(name)]()]
        # Text that is not UTF-8, dates beyond the year 9999 and unknown time zones in Parquet.
        except (pa.ArrowException, ValueError, OverflowError, LookupError) as error:
            raise DataError(
                f"The column {name!r} of {self.label} cannot be read ({_line(error)}). Fix: write "
                "it as text or numbers."
            ) from None


def read_table(root):
    """Reads a file by its ending, or takes a data frame as it is.

    Args:
        root: path of a .csv, .tsv, .jsonl, .ndjson or .parquet file, or a `pandas.DataFrame`.

    Returns:
        A `Table` with at least one row.

    Raises:
        DataError: naming the file, the row where there is one, and the fix.
    """
    if isinstance(root, pd.DataFrame):
        readers = [root.iloc[:, column].tolist for column in range(root.shape[1])]
        table = Table("the table", list(map(str, root.columns)), readers, len(root), is_frame=True)
    else:
        if not isinstance(root, str | os.PathLike):
            raise DataError(
                f"A table is a path or a pandas.DataFrame. Received: {type(root).__name__}. Fix: "
                "pass one of them."
            )
        path = str(root)
        ending = os.path.splitext(path)[1].lower()
        if ending not in _READERS:
            raise DataError(
                f"{path!r} is no table that can be read. Fix: use one of {', '.join(_READERS)}."
            )
        names, readers, num_rows = _READERS[ending](path, _read_bytes(path))
        folder = os.path.dirname(path) or os.curdir
        table = Table(f"the table {path!r}", names, readers, num_rows, folder)
    if not table.num_rows:
        raise DataError(f"{sentence(table.label)} has no rows. Fix: put one row per example.")
    return table


def sentence(text):
    """The text with a capital at the start."""
    return text[:1].upper() + text[1:]


def _read_csv(path, content, delimiter=","):
    lines = csv.reader(
        io.StringIO(_decode(path, content), newline=""), delimiter=delimiter, strict=True
    )
    try:
        rows = [line for line in lines if line]  # a blank line is no row
    except csv.Error as error:
        raise DataError(
            f"{path!r}, line {lines.line_num}, is not CSV ({error}). Fix: put text with commas, "
            'quotes or line breaks in "double quotes", with "" for a quote in it.'
        ) from None
    if not rows:
        raise DataError(f"{path!r} is empty. Fix: put the column names in its first line.")
    names, rows = [name.strip() for name in rows[0]], rows[1:]
    wrong = [f"row {n} has {len(row)}" for n, row in enumerate(rows, 1) if len(row) != len(names)]
    if wrong:
        raise DataError(
            f"{path!r} has {len(names)} columns, but {shorten(wrong)}. Fix: give every row "
            f"{len(names)} cells, and put text that holds {delimiter!r} in double quotes."
        )
    columns = zip(*rows, strict=True) if rows else names
    return names, [partial(list, column) for column in columns], len(rows)


def _read_tsv(path, content):
    return _read_csv(path, content, "\t")


def _read_json_lines(path, content):
    # Not `str.splitlines`: a JSON string may hold line breaks that only Unicode knows.
    lines = [line for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    decode, rows, wrong = msgspec.json.Decoder(dict).decode, [], []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            wrong.append(f"row {number}: {_line(error)}")
    if wrong:
        raise DataError(
            f"{path!r} has rows that are no JSON object ({shorten(wrong)}). Fix: put one "
            '{"column": value} in each line.'
        )
    names = list(dict.fromkeys(name for row in rows for name in row))

    def read(name):
        return [row.get(name) for row in rows]

    return names, [partial(read, name) for name in names], len(rows)


def _read_parquet(path, content):
    try:
        table = parquet.ParquetFile(pa.BufferReader(content)).read()
        names = list(table.column_names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path!r} is not Parquet ({_line(error)}). Fix: write it again.") from None
    return names, [column.to_pylist for column in table.columns], table.num_rows


_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}


def _read_bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise no_file(path) from None
    except OSError as error:
        raise DataError(f"{path!r} cannot be read ({error.strerror}). Fix: restore it.") from None
    except ValueError:
        raise DataError(f"{path!r} is no file name (it has a NUL byte). Fix: correct it.") from None


def _decode(path, content):
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path!r}, line {line}, is not UTF-8. Fix: save the file as UTF-8."
        ) from None


def _plain(cell):
    if isinstance(cell, str):
        return None if not cell or cell.isspace() else cell
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return None
    if isinstance(cell, np.number | np.bool_ | np.ndarray):
        cell = cell.tolist()
    elif isinstance(cell, os.PathLike):
        return os.fspath(cell)
    elif isinstance(cell, tuple | set | frozenset):
        return list(cell)
    return None if isinstance(cell, float) and cell != cell else cell  # NaN


def shorten(items, limit=MAX_SHOWN):
    """The first items in one line, and how many more there are.

    Example:
        >>> shorten(["3", "5", "8"], limit=2)
        '3, 5 and 1 more'
    """
    rest = f" and {len(items) - limit:,} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + rest


def _line(error):
    text = " ".join(str(error).split())
    return text[:200]
