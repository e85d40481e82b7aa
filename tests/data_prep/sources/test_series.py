import json

import numpy as np
import pytest

from data_prep.errors import DataError
from data_prep.sources.series import align, microseconds, read_options

NAN = float("nan")
OPTIONS = {"path": "s.csv", "time": "t", "columns": ["x", "y"], "length": 3, "tolerance": "30s"}


def brute_force(row_times, row_groups, times, groups, values, length, tolerance, direction):
    """The definition, row by row; for times without repetition."""
    windows = np.full((len(row_times), length, values.shape[1]), NAN, np.float32)
    aligned = []
    for row, (time, group) in enumerate(zip(row_times, row_groups, strict=True)):
        allowed = {
            "nearest": np.abs(times - time) <= tolerance,
            "backward": (times <= time) & (time - times <= tolerance),
            "forward": (times >= time) & (times - time <= tolerance),
        }[direction] & (groups == group)
        candidates = np.flatnonzero(allowed)
        aligned.append(len(candidates) > 0)
        if len(candidates):
            # The earlier of two that are equally near.
            match = min(candidates, key=lambda r: (abs(times[r] - time), times[r]))
            before = [
                r for r in np.argsort(times) if groups[r] == group and times[r] <= times[match]
            ]
            window = values[before[-length:]]
            windows[row, length - len(window) :] = window
    return windows, np.array(aligned)


@pytest.mark.parametrize("direction", ["nearest", "backward", "forward"])
@pytest.mark.parametrize("length", [1, 4])
def test_windows_are_those_of_the_definition(direction, length):
    random = np.random.default_rng(0)
    # Whole numbers, so that readings lie exactly at the tolerance and equally far on both sides.
    times = random.permutation(120).astype(float)[:60]
    groups = random.integers(0, 3, 60)
    values = random.normal(size=(60, 2)).astype(np.float32)
    values[random.random((60, 2)) < 0.1] = NAN
    row_times = random.integers(-5, 125, 80).astype(float)
    row_times[7] = NAN
    row_groups = random.integers(-1, 3, 80)
    arguments = (row_times, row_groups, times, groups, values, length, 2.0, direction)
    windows, is_aligned = align(*arguments)
    expected, expected_aligned = brute_force(*arguments)
    assert windows.dtype == np.float32
    np.testing.assert_array_equal(windows, expected)
    np.testing.assert_array_equal(is_aligned, expected_aligned)
    assert 15 < is_aligned.sum() < 60
    assert not is_aligned[7]
    assert not is_aligned[row_groups == -1].any()


def test_readings_of_the_same_time_keep_their_order():
    times, groups = np.array([1.0, 0.0, 1.0]), np.zeros(3, np.int64)
    values = np.array([[5.0], [6.0], [7.0]], np.float32)
    windows, _ = align(np.array([1.0]), groups[:1], times, groups, values, 3, 0.0)
    assert windows[0, :, 0].tolist() == [6.0, 5.0, 7.0]


def test_no_reading_for_any_row():
    groups = np.zeros(2, np.int64)
    values = np.ones((2, 1), np.float32)
    windows, is_aligned = align(
        np.array([50.0, NAN]), groups, np.arange(2.0), groups, values, 2, 1.0
    )
    assert np.isnan(windows).all()
    assert windows.shape == (2, 2, 1)
    assert is_aligned.tolist() == [False, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01", 1_000_000),
        ("1970-01-01 00:00:00.000002Z", 2),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59", -1_000_000),
        ("2024-02-29T12:00:00", 1_709_208_000_000_000),
    ],
)
def test_microseconds(text, expected):
    assert microseconds(text) == expected


@pytest.mark.parametrize("wrong", ["now", "2023-02-29", "12:00", 5, None])
def test_what_is_no_date(wrong):
    with pytest.raises(ValueError, match=r"."):
        microseconds(wrong)


def test_options_from_json_and_with_defaults():
    options = read_options(json.dumps({**OPTIONS, "columns": "x, y"}))
    assert options == read_options(OPTIONS)
    assert (options.columns, options.by, options.direction) == (["x", "y"], None, "nearest")
    assert (options.has_dates, options.max_distance) == (True, 30_000_000.0)
    number = read_options({**OPTIONS, "tolerance": 2})
    assert (number.has_dates, number.max_distance) == (False, 2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"lenght": 3},
            r"`series` is not right: .*unknown field `lenght`.* Fix: use the keys path,",
        ),
        ({"length": 0}, r"`series` is not right: Expected `int` >= 1 - at `\$\.length`"),
        ({"length": 10**9}, r"Expected `int` <= 100000 - at `\$\.length`"),
        ({"direction": "up"}, r"Invalid enum value 'up' - at `\$\.direction`"),
        ({"columns": []}, r"`series` names no columns\. Fix: "),
        ({"columns": " , "}, r"`series` names no columns\. Fix: "),
        ({"columns": 5}, r"Expected `str \| array`, got `int` - at `\$\.columns`"),
        ({"tolerance": "30"}, r"has the tolerance '30'\. Fix: give a time such as '30s'"),
        ({"tolerance": "soon"}, r"has the tolerance 'soon'\. Fix: "),
        ({"tolerance": "-1s"}, r"has the tolerance '-1s'\. Fix: "),
        ({"tolerance": "nat"}, r"has the tolerance 'nat'\. Fix: "),
        ({"tolerance": "inf"}, r"has the tolerance 'inf'\. Fix: "),
        ({"tolerance": -1}, r"has the tolerance -1\. Fix: "),
        ({"tolerance": NAN}, r"has the tolerance nan\. Fix: "),
        ({"tolerance": 10**400}, r"has the tolerance 1000.*\. Fix: "),
    ],
)
def test_wrong_options(change, message):
    with pytest.raises(DataError, match=message):
        read_options({**OPTIONS, **change})


@pytest.mark.parametrize("wrong", ["{", "[]", 5, {}, '{"path": "\udc00"}'])
def test_options_of_another_kind(wrong):
    with pytest.raises(DataError, match=r"`series` is not right: .* Fix: use the keys path, time,"):
        read_options(wrong)
