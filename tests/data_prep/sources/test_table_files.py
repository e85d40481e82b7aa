"""What is wrong with the files and cells of a table."""

import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.errors import DataError
from data_prep.sources.table import TableSource
from tests.data_prep.sources.test_table import write_parquet


@pytest.mark.parametrize(
    ("content", "roles", "message"),
    [
        ("x\n1_000\n", {"numeric": "x"}, r"1 cell is no number \(row 1 '1_000'\)\. Fix: "),
        ("x\nnan\nNA\n", {"numeric": "x"}, r"2 cells are no number \(row 1 'nan', row 2 'NA'\)"),
        ('x\n"1,5"\n', {"numeric": "x"}, r"1 cell is no number \(row 1 '1,5'\)"),
        ("x\n-inf\n", {"numeric": "x"}, r"1 cell is beyond the range of float32 \(row 1 '-inf'\)"),
        ("x,t\n,a\n", {"targets": "x", "text": "t"}, r"column 'x': 1 cell is empty \(row 1\)"),
        ("x,t\n,a\n", {"id": "x", "text": "t"}, r"column 'x': 1 cell is empty \(row 1\)"),
        ("x,t\n,a\n", {"split": "x", "text": "t"}, r"column 'x': 1 cell is empty \(row 1\)"),
        ("x,t\n|,a\n", {"labels": "x", "text": "t"}, r"column 'x' holds no class\. Fix: "),
        ("x,x\n1,2\n", {"numeric": "x"}, r"2 columns are called 'x'\. Fix: "),
        ("x,y\n1,2\n", {"numeric": "x,x"}, r"column 'x' is named twice\. Fix: "),
        ("x,t\n1,a\n", {"numeric": "x", "labels": "x"}, r"column 'x' has two uses\. Fix: "),
        ("x,t\n1,a\n", {"numeric": "x", "categorical": "x"}, r"column 'x' has two uses\. Fix: "),
        (
            "x,s\n,train\n1,val\n",
            {"numeric": "x", "split": "s"},
            r"column 'x': the split 'train' has no number to take the median of\. Fix: pass a number",
        ),
        (
            "x,s\n,val\n1,val\n",
            {"numeric": "x", "split": "s", "impute": "mean"},
            r"column 'x': the split 'train' has no number to take the mean of",
        ),
        ("x\n1\n", {"text": "y" * 30}, r"column 'y+' does not exist \(columns: 'x'\)\. Fix: "),
        ("", {"text": "x"}, r"pets\.csv' is empty\. Fix: put the column names"),
        ("x\n", {"text": "x"}, r"^The table '.*pets\.csv' has no rows\. Fix: put one row"),
        (
            "a,b,c\n1,2,3\n1\n1,2,3,4\n",
            {"text": "a"},
            r"pets\.csv' has 3 columns, but row 2 has 1, row 3 has 4\. Fix: give every row 3 cells",
        ),
        ('a\n"b\n', {"text": "a"}, r"pets\.csv', line 2, is not CSV \(unexpected end of data\)"),
        (b"a\nb\n\xff\n", {"text": "a"}, r"pets\.csv', line 3, is not UTF-8\. Fix: save the file"),
        (
            "a\n" + "x" * 200_000,
            {"text": "a"},
            r"line 2, is not CSV \(field larger than field limit",
        ),
    ],
)
def test_problems_of_csv(write, content, roles, message):
    with pytest.raises(DataError, match=message) as error:
        TableSource(write(content), **roles)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "roles", "message"),
    [
        ('{"a": 1}\n\n[1]\n{', {"text": "a"}, r"no JSON object \(row 2: Expected .*, row 3: Input"),
        ('{"a": ' * 5000, {"text": "a"}, r"no JSON object \(row 1: .*recursion"),
        ('{"a": NaN}', {"text": "a"}, r"no JSON object \(row 1: JSON is malformed"),
        (b'{"a": "\xff"}', {"text": "a"}, r"no JSON object \(row 1: .*utf-8"),
        ("", {"text": "a"}, r"has no rows\. Fix: "),
        (
            '{"a": 5}\n{"a": [1]}',
            {"text": "a"},
            r"2 cells are no text \(row 1 5, row 2 of type list\)",
        ),
        (
            '{"a": {}}\n{"a": "5"}\n{"a": %s}' % ("9" * 400),
            {"numeric": "a"},
            r"1 cell is no number \(row 1 of type dict\); .* float32 \(row 3 a number of 1,329 bits\)",
        ),
        (
            '{"a": [{}]}',
            {"labels": "a", "text": "t"},
            r"'a': 1 cell is no name or number \(row 1 of",
        ),
        (
            '{"a": {}}',
            {"categorical": "a"},
            r"'a': 1 cell is no name or number \(row 1 of type dict",
        ),
        ('{"a": [null]}', {"labels": "a", "text": "t"}, r"'a': 1 cell is no name or number"),
    ],
)
def test_problems_of_json_lines(write, content, roles, message):
    with pytest.raises(DataError, match=message) as error:
        TableSource(write(content, "pets.jsonl"), **roles)
    assert "\n" not in str(error.value)


def test_a_folder_and_a_file_that_is_no_parquet(tmp_path, write):
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(DataError, match=r"x\.csv' cannot be read \(Is a directory\)\. Fix: "):
        TableSource(tmp_path / "x.csv", text="a")
    content = write_parquet(pd.DataFrame({"a": ["b"]}))
    with pytest.raises(DataError, match=r"pets\.parquet' is not Parquet \(.*\)\. Fix: write it"):
        TableSource(write(content[:-5], "pets.parquet"), text="a")


def test_half_a_surrogate_pair_is_no_text():
    frame = pd.DataFrame({"a": pd.Series(["\ud800", "b"], dtype=object)})
    for role in ("text", "images", "categorical"):
        with pytest.raises(DataError, match=r"column 'a': 1 cell is no .* \(row 1 '\\ud800'\)"):
            TableSource(frame, **{role: "a"})


FUZZED = {
    "images": "a",
    "text": "b",
    "labels": "c",
    "numeric": "d",
    "categorical": "e",
    "id": "f",
    "group": "g",
    "split": "h",
}
# What each column may hold; then a few cells are replaced by anything.
RIGHT = {
    "a": st.sampled_from(["", "x.jpg", "y/z.jpg"]),
    "b": st.text(max_size=8).filter(str.isprintable),
    "c": st.sampled_from(["cat", "dog"]),
    "d": st.sampled_from(["", "1", "-2e3", 7]),
    "e": st.sampled_from(["", "red", "NA"]),
    "f": st.uuids().map(str),
    "g": st.sampled_from(["", "1", "2"]),
    "h": st.sampled_from(["train", "dev", "test"]),
}
WRONG = st.one_of(
    st.sampled_from(["", "a|b", "nan", "-inf", "1e99", "../x", "/x", '"', 2**64, 10**400]),
    st.text(max_size=8),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.lists(st.text(max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
)


@st.composite
def tables(draw):
    """The ending and bytes of a file that is a table, or nearly, or not at all."""
    ending = draw(st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
    damages = st.sampled_from(["none", "cells", "columns", "rows", "bytes", "cut", "random"])
    damage = draw(damages)
    if damage == "random":
        return ending, draw(st.binary(max_size=60))
    rows = draw(st.lists(st.fixed_dictionaries(RIGHT), min_size=1, max_size=4))
    names = list(RIGHT)
    if damage == "cells":
        for _ in range(draw(st.integers(1, 3))):
            draw(st.sampled_from(rows))[draw(st.sampled_from(names))] = draw(WRONG)
    elif damage == "columns":
        names = draw(st.lists(st.sampled_from(names), max_size=9))
    content = bytearray(write_rows(ending, names, rows, is_ragged=damage == "rows"))
    if damage == "bytes" and content:
        for _ in range(draw(st.integers(1, 3))):
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    elif damage == "cut":
        content = content[: draw(st.integers(0, len(content)))]
    return ending, bytes(content)


def write_rows(ending, names, rows, is_ragged):
    if ending == "parquet":
        # Of one type per column, as the format demands.
        columns = {name: [str(row[name]) for row in rows] for name in names}
        return write_parquet(pd.DataFrame(columns))
    if ending == "jsonl":
        return "\n".join(json.dumps({name: row[name] for name in names}) for row in rows).encode()
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="," if ending == "csv" else "\t")
    cells = [[row[name] for name in names] for row in rows]
    if is_ragged:
        cells.append(["x"])
    writer.writerows([names, *cells])
    return text.getvalue().encode("utf-8", "surrogatepass")


@settings(
    derandomize=True,
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=tables(), used=st.sets(st.sampled_from(sorted(FUZZED)), min_size=1))
def test_whatever_is_in_a_file_it_loads_or_says_why_not(tmp_path, table, used):
    ending, content = table
    used.add("text")
    path = tmp_path / f"fuzzed.{ending}"
    path.write_bytes(content)
    try:
        source = TableSource(path, **{role: FUZZED[role] for role in used})
    except DataError as error:
        assert re.fullmatch(r".+ Fix: .+\.", str(error))
        return
    for split in source.splits:
        examples = source.examples(split)
        assert len(examples) == source.report(split)["examples"] > 0
        assert len(set(examples.ids)) == len(examples.groups) == len(examples)
        assert examples.labels.shape == (len(examples), len(source.label_names))
        assert all(p == "" or p.startswith(str(tmp_path)) for p in examples.images or [])
        assert np.isfinite((examples.table or {}).get("d", 0)).all()
