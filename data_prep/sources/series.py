"""Time series next to a table: which readings belong to a row, and the window that ends there."""

import datetime
import math
from typing import Annotated, Literal

import msgspec
import numpy as np
import pandas as pd

from data_prep.errors import DataError

MAX_LENGTH = 100_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class SeriesOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Where the readings are and how they are matched with the rows of a table.

    Attributes:
        path: str. The table of readings, relative to the folder of the main table.
        time: str. The column of the readings' times.
        columns: list of str, or one comma-separated str. The columns of the readings' values.
        length: int. Readings per window.
        tolerance: str such as `"30s"` where times are ISO 8601, a number where times are numbers.
            The largest distance between a row and its reading.
        by: str or `None`. A column of both tables: only readings with the row's value match.
        row_time: str or `None`. The column of the rows' times, default `time`.
        direction: `"nearest"` (the earlier of two that are equally near), `"backward"` (not after
            the row) or `"forward"`.
    """

    path: str
    time: str
    columns: list[str] | str
    length: Annotated[int, msgspec.Meta(ge=1, le=MAX_LENGTH)]
    tolerance: str | int | float
    by: str | None = None
    row_time: str | None = None
    direction: Literal["nearest", "backward", "forward"] = "nearest"

    @property
    def has_dates(self):
        """Whether times are ISO 8601; else they are numbers."""
        return isinstance(self.tolerance, str)

    @property
    def max_distance(self):
        """The tolerance as a number: microseconds where times are dates."""
        if self.has_dates:
            return float(pd.Timedelta(self.tolerance) / _MICROSECOND)
        return float(self.tolerance)


def read_options(options):
    """Checks what a user wrote.

    Args:
        options: dict, or the same as a str of JSON.

    Returns:
        `SeriesOptions`.

    Raises:
        DataError: naming the option.
    """
    try:
        if isinstance(options, str):
            options = msgspec.json.decode(options, type=SeriesOptions)
        else:
            options = msgspec.convert(options, SeriesOptions)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        names = ", ".join(SeriesOptions.__struct_fields__)
        raise DataError(f"`series` is not right: {error}. Fix: use the keys {names}.") from None
    if isinstance(options.columns, str):
        options.columns = [name.strip() for name in options.columns.split(",") if name.strip()]
    if not options.columns:
        raise DataError("`series` names no columns. Fix: name those of the readings' values.")
    try:
        # "30" has no unit; pandas would take it for nanoseconds.
        is_right = not (options.has_dates and _is_number(options.tolerance))
        is_right = is_right and 0 <= options.max_distance < math.inf
    except (ValueError, OverflowError):
        is_right = False
    if not is_right:
        raise DataError(
            f"`series` has the tolerance {options.tolerance!r}. Fix: give a time such as '30s' "
            "where times are dates, a number that is not negative where they are numbers."
        )
    return options


def microseconds(date):
    """The time of a date since 1970, in UTC; a date without a time zone is taken for UTC.

    Args:
        date: `datetime.datetime`, or ISO 8601 as a str.

    Returns:
        An int.

    Raises:
        ValueError: when it is neither.

    Example:
        >>> microseconds("1970-01-01 02:00:00.5+02:00")
        500000
    """
    if isinstance(date, str):
        date = datetime.datetime.fromisoformat(date.strip())
    if not isinstance(date, datetime.datetime):
        raise ValueError(f"{type(date).__name__} is no date")
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return (date - _EPOCH) // _MICROSECOND


def align(
    row_times, row_groups, times, groups, values, length, tolerance=math.inf, direction="nearest"
):
    """Finds the reading of each row, and the window of readings that ends with it.

    Rows are matched by `pandas.merge_asof`. Readings of the same time keep their order.

    Args:
        row_times: float64 `(num_rows,)`. NaN has no reading.
        row_groups: int64 `(num_rows,)`. Only readings of the same group match; -1 has none.
        times: float64 `(num_readings,)`, in any order.
        groups: int64 `(num_readings,)`.
        values: float32 `(num_readings, num_columns)`.
        length: int. Readings per window.
        tolerance: float. The largest distance in time, that itself included.
        direction: `"nearest"`, `"backward"` or `"forward"`.

    Returns:
        Float32 `(num_rows, length, num_columns)`, NaN at the front where a group has fewer readings
        and everywhere where a row has none; and bool `(num_rows,)`, whether a row has one.

    Example:
        >>> rows, readings = np.array([2.0, 9.0]), np.array([0.0, 1.0, 2.1])
        >>> one, values = np.zeros(3, int), np.array([[5], [6], [7]], np.float32)
        >>> windows, is_aligned = align(rows, one[:2], readings, one, values, 2, tolerance=0.5)
        >>> windows[..., 0].tolist(), is_aligned.tolist()
        ([[6.0, 7.0], [nan, nan]], [True, False])
    """
    order = np.lexsort((times, groups))  # stable, group by group
    times, groups, values = times[order], groups[order], values[order]
    readings = pd.DataFrame({"time": times, "group": groups, "end": np.arange(len(times))})
    rows = pd.DataFrame({"time": row_times, "group": row_groups, "row": np.arange(len(row_times))})
    rows = rows[~np.isnan(row_times) & (row_groups >= 0)]
    matches = pd.merge_asof(
        rows.sort_values("time", kind="stable"),
        readings.sort_values("time", kind="stable"),
        on="time",
        by="group",
        tolerance=None if math.isinf(tolerance) else tolerance,
        direction=direction,
    ).dropna()
    row, end = matches["row"].to_numpy(np.int64), matches["end"].to_numpy(np.int64)
    positions = end[:, None] + np.arange(1 - length, 1)
    first = np.searchsorted(groups, groups[end])  # of the same group
    is_inside = (positions >= first[:, None])[..., None]
    windows = np.full((len(row_times), length, values.shape[1]), np.nan, np.float32)
    windows[row] = np.where(is_inside, values[np.maximum(positions, 0)], np.float32(np.nan))
    is_aligned = np.zeros(len(row_times), bool)
    is_aligned[row] = True
    return windows, is_aligned


def _is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
