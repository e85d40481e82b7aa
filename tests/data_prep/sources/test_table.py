import csv
import io
import json
import os
import pathlib

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from data_prep.errors import DataError
from data_prep.sources.table import TableSource

PETS = """name,photo,caption,more,kind,age,color,part
a1,p/cat.jpg,"a cat, asleep",NA,cat,2,red,train
a2,,null,,dog,,blue,train
a3,p/cat.jpg,"two
lines",None,cat,8,,train
a4,q.jpg,,  ,dog,,red,validation
"""
ROLES = {
    "images": "photo",
    "text": ["caption", "more"],
    "labels": "kind",
    "numeric": "age",
    "categorical": "color",
    "id": "name",
    "split": "part",
}


def write_parquet(frame):
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def test_a_table_with_every_kind_of_column(write, tmp_path):
    source = TableSource(write(PETS), **ROLES)
    assert source.splits == ("train", "val")
    assert (source.label_kind, source.label_names) == ("multi_class", ["cat", "dog"])
    train, val = source.examples("train"), source.examples("val")
    assert train.ids == ["train/a1", "train/a2", "train/a3"]
    assert val.ids == ["val/a4"]
    cat = str(tmp_path / "p/cat.jpg")
    assert train.images == [cat, "", cat]
    assert val.images == [str(tmp_path / "q.jpg")]
    assert train.captions == [["a cat, asleep", "NA"], ["null"], ["two lines", "None"]]
    assert val.captions == [[]]
    assert (train.labels.dtype, train.labels.tolist()) == (np.uint8, [[1, 0], [0, 1], [1, 0]])
    assert (train.groups.dtype, train.groups.tolist()) == (np.int64, [0, 1, 0])
    assert val.groups.tolist() == [2]
    # The median of the train split, 2 and 8.
    assert train.table["age"].dtype == np.float32
    assert train.table["age"].tolist() == [2.0, 5.0, 8.0]
    assert val.table["age"].tolist() == [5.0]
    assert train.table["color"] == ["red", "blue", ""]
    assert (train.audio, train.series) == (None, None)
    assert source.examples("train") is train


def test_the_report_counts_what_was_found(write):
    source = TableSource(write(PETS), **ROLES)
    assert list(source.report("train").items()) == [
        ("examples", 3),
        ("images", 2),
        ("missing images", 1),
        ("texts", 5),
        ("missing texts", 0),
        ("labels", 3),
        ("missing labels", 0),
        ("imputed in 'age'", 1),
        ("missing in 'color'", 1),
        ("classes without an example", 0),
    ]
    assert source.report("val")["missing texts"] == 1
    assert source.report("val")["imputed in 'age'"] == 1
    assert source.report("val")["classes without an example"] == 1


def test_all_formats_give_the_same_examples(write, tmp_path):
    rows = list(csv.DictReader(io.StringIO(PETS)))
    for row in rows:
        row["age"] = int(row["age"]) if row["age"] else None
    lines = "\n".join(json.dumps({k: v for k, v in row.items() if v != ""}) for row in rows)
    frame = pd.DataFrame(rows)
    tabs = io.StringIO(newline="")
    csv.writer(tabs, delimiter="\t").writerows([rows[0].keys(), *(row.values() for row in rows)])
    expected = TableSource(write(PETS), **ROLES)
    for root in (
        write("\ufeff" + PETS.replace("\n", "\r\n"), "windows.CSV"),
        write(tabs.getvalue(), "pets.tsv"),
        write(lines, "pets.jsonl"),
        write("\ufeff\n" + lines + "\n\n", "pets.ndjson"),
        write(write_parquet(frame), "pets.parquet"),
        pathlib.Path(write(PETS)),
        frame,
    ):
        source = TableSource(root, folder=str(tmp_path), **ROLES)
        for split in ("train", "val"):
            one, other = expected.examples(split), source.examples(split)
            assert other.ids == one.ids
            assert other.images == one.images
            assert other.captions == one.captions
            assert other.labels.tolist() == one.labels.tolist()
            assert other.groups.tolist() == one.groups.tolist()
            assert other.table["age"].tolist() == one.table["age"].tolist()
            assert other.table["color"] == one.table["color"]
            assert source.report(split) == expected.report(split)


def test_a_line_break_of_unicode_is_no_end_of_a_json_line(write):
    path = write('{"text": "one\u2028two\x85three"}\n{"text": "x"}', "lines.jsonl")
    assert TableSource(path, text="text").examples("all").captions == [["one two three"], ["x"]]


def test_without_a_split_or_id_rows_are_numbered_and_all_impute(write):
    source = TableSource(write("x,y\n1,a\n\n,b\n5,c\n,\n"), numeric="x", categorical="y")
    assert source.splits == ("all",)
    examples = source.examples("all")
    assert examples.ids == ["all/1", "all/2", "all/3", "all/4"]
    assert examples.table["x"].tolist() == [1.0, 3.0, 5.0, 3.0]
    assert examples.table["y"] == ["a", "b", "c", ""]
    assert examples.groups.tolist() == [0, 1, 2, 3]
    assert (examples.labels.shape, examples.images, examples.captions) == ((4, 0), None, None)
    assert (source.label_names, source.misaligned("all")) == ([], [])


@pytest.mark.parametrize(
    ("impute", "expected"),
    [("median", 2.0), ("mean", 4.0), (0, 0.0), (-1.5, -1.5), ("none", float("nan"))],
)
def test_impute(impute, expected):
    frame = pd.DataFrame({"x": [1, 2, 9, None, 100], "s": ["train"] * 4 + ["test"]})
    source = TableSource(frame, numeric="x", split="s", impute=impute)
    values = source.examples("train").table["x"]
    np.testing.assert_array_equal(values, np.float32([1, 2, 9, expected]))
    what = "missing in 'x'" if impute == "none" else "imputed in 'x'"
    assert source.report("train") == {"examples": 4, what: 1}


@pytest.mark.parametrize(
    ("cells", "names", "kind", "labels"),
    [
        (["b", "a", "b"], ["a", "b"], "multi_class", [[0, 1], [1, 0], [0, 1]]),
        ([10, 9, 10], ["9", "10"], "multi_class", [[0, 1], [1, 0], [0, 1]]),
        ([1.0, 0.0, 1.0], ["0", "1"], "multi_class", [[0, 1], [1, 0], [0, 1]]),
        ([True, False], ["False", "True"], "multi_class", [[0, 1], [1, 0]]),
        (["b | a|b|", "", "a"], ["a", "b"], "multi_label", [[1, 1], [0, 0], [1, 0]]),
        ([["b", "a"], [], None], ["a", "b"], "multi_label", [[1, 1], [0, 0], [0, 0]]),
        ([np.array([3, 1]), (1,)], ["1", "3"], "multi_label", [[1, 1], [1, 0]]),
    ],
)
def test_labels(cells, names, kind, labels):
    source = TableSource(pd.DataFrame({"t": "x", "y": cells}), text="t", labels="y")
    assert (source.label_names, source.label_kind) == (names, kind)
    examples = source.examples("all")
    assert (examples.labels.dtype, examples.labels.tolist()) == (np.uint8, labels)
    report = source.report("all")
    assert report["labels"] == sum(map(sum, labels))
    assert report["missing labels"] == sum(not any(row) for row in labels)


def test_label_names_and_separator_of_the_user():
    frame = pd.DataFrame({"t": ["x", "y"], "y": ["b;a|c", "b"]})
    names = ["b", "a|c", "d"]
    source = TableSource(frame, text="t", labels="y", separator=";", label_names=names)
    assert source.label_names == names
    assert source.examples("all").labels.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert source.report("all")["classes without an example"] == 1
    with pytest.raises(DataError, match=r"'y': 1 cell is not in `label_names` \(row 1 'a\|c'\)\."):
        TableSource(frame, text="t", labels="y", separator=";", label_names="b,a")
    message = r"The table has 1 problem: `label_names` has a name twice\. Fix: name each class once"
    with pytest.raises(DataError, match=message):
        TableSource(frame, text="t", labels="y", separator=";", label_names=[*names, "d"])


def test_many_classes_are_sparse():
    frame = pd.DataFrame({"t": "x", "y": [f"{row}|{row + 1}|{row}" for row in range(512)]})
    source = TableSource(frame, text="t", labels="y")
    labels = source.examples("all").labels
    assert isinstance(labels, scipy.sparse.csr_array)
    assert (labels.shape, labels.dtype) == ((512, 513), np.float32)
    assert labels.toarray()[511].nonzero()[0].tolist() == [511, 512]
    assert (labels.sum(), labels.max()) == (1024, 1)
    fewer = TableSource(frame[:511], text="t", labels="y").examples("all").labels
    assert (type(fewer), fewer.shape) == (np.ndarray, (511, 512))


def test_targets(write):
    path = write("t,a,b\nx,1,2e3\ny,-0.5,0\n")
    source = TableSource(path, text="t", targets="b, a")
    assert (source.label_kind, source.label_names) == ("regression", ["b", "a"])
    labels = source.examples("all").labels
    assert (labels.dtype, labels.tolist()) == (np.float32, [[2000.0, 1.0], [0.0, -0.5]])
    assert source.report("all") == {"examples": 2, "texts": 2, "missing texts": 0}


def test_groups_of_a_column_and_of_images(write):
    path = write("g,i\nb,x.jpg\n,./x.jpg\n,\nb,\n7,y.jpg\n")
    by_column = TableSource(path, images="i", group="g").examples("all").groups
    assert by_column.tolist() == [0, 1, 2, 0, 3]
    assert TableSource(path, images="i").examples("all").groups.tolist() == [0, 0, 1, 2, 3]


def test_absolute_paths_are_for_data_frames_only(write, tmp_path):
    frame = pd.DataFrame({"wav": ["/data/a.wav", pathlib.Path("/data/b.wav"), "c.wav", None]})
    examples = TableSource(frame, audio="wav", folder=tmp_path).examples("all")
    assert examples.audio == ["/data/a.wav", "/data/b.wav", str(tmp_path / "c.wav"), ""]
    assert TableSource(frame, audio="wav").examples("all").audio[2] == os.path.join(".", "c.wav")
    path = write("wav\n/data/a.wav\nok.wav\n../b.wav\n")
    message = (
        r"pets\.csv' has 1 problem: column 'wav': 2 cells are no path in the folder, the first is "
        r"absolute: '/data/a\.wav' \(rows 1, 3\)\. Fix: use a plain file name, .* without '\.\.'\.$"
    )
    with pytest.raises(DataError, match=message):
        TableSource(path, audio="wav")
    for wrong in ("/a\0b", "/" + "x" * 4096):
        with pytest.raises(DataError, match=r"column 'wav': 1 cell is no path .*\(row 2\)"):
            TableSource(pd.DataFrame({"wav": ["/a", wrong]}), audio="wav")


def test_the_settings_rebuild_the_source(write):
    write("t,v\n0,1\n", "s.csv")
    series = '{"path": "s.csv", "time": "t", "columns": "v", "length": 2, "tolerance": 5}'
    path = write("t,a,b,y\n0,1,x,u|v\n3,,y,\n")
    source = TableSource(path, numeric="a", categorical="b", labels="y", series=series, impute=0)
    saved = json.loads(json.dumps(source.settings))
    assert saved["series"]["columns"] == ["v"]
    again = TableSource(path, **saved)
    assert again.settings == source.settings
    one, other = source.examples("all"), again.examples("all")
    np.testing.assert_array_equal(other.series, one.series)
    assert other.table["a"].tolist() == one.table["a"].tolist() == [1.0, 0.0]
    assert other.labels.tolist() == one.labels.tolist()
    assert TableSource(pd.DataFrame({"t": ["x"]}), text="t").root == "the table"


READINGS = """timestamp,device,x,y
2024-05-01T00:00:00,A,1,10
2024-05-01T00:02:00,A,3,30
2024-05-01T00:01:00,A,2,
2024-05-01T00:01:00,B,9,90
"""
SERIES = {
    "path": "sensors.csv",
    "time": "timestamp",
    "columns": ["x", "y"],
    "length": 2,
    "tolerance": "30s",
    "by": "device",
    "row_time": "taken",
}
NAN = float("nan")


def test_series(write):
    write(READINGS, "sensors.csv")
    path = write(
        "taken,device,part\n"
        "2024-05-01 00:01:20,A,train\n"
        "2024-05-01T02:00:30+02:00,B,train\n"
        "2024-05-01 00:01:50Z,A,test\n"
        "2024-05-01 00:05:00,A,test\n"
        ",A,test\n"
        "2024-05-01 00:01:00,,test\n"
    )
    source = TableSource(path, series=SERIES, split="part")
    train, test = source.examples("train").series, source.examples("test").series
    assert train.dtype == np.float32
    np.testing.assert_array_equal(train, [[[1, 10], [2, NAN]], [[NAN, NAN], [9, 90]]])
    np.testing.assert_array_equal(test[0], [[2, NAN], [3, 30]])
    assert np.isnan(test[1:]).all()
    assert source.misaligned("train") == []
    assert source.misaligned("test") == [4, 5, 6]
    assert source.report("test") == {"examples": 4, "rows without a reading within 30s": 3}


def test_series_with_numbers_for_times(write):
    write("t,v\n10,1\n20,2\n", "s.csv")
    options = {"path": "s.csv", "time": "t", "columns": "v", "length": 1, "tolerance": 4}
    path = write("t\n14\n15.5\n15\n")
    source = TableSource(path, series={**options, "direction": "backward"})
    np.testing.assert_array_equal(source.examples("all").series, [[[1]], [[NAN]], [[NAN]]])
    assert source.misaligned("all") == [2, 3]
    assert source.report("all")["rows without a reading within 4"] == 2


@pytest.mark.parametrize(
    ("readings", "rows", "message"),
    [
        (
            READINGS.replace("2024-05-01T00:02:00,A,3", "yesterday,A,three"),
            "taken,device\n12:00,A\n",
            r"has 3 problems: column 'taken': 1 cell is no time \(row 1 '12:00'\); in "
            r"'.*sensors\.csv', column 'timestamp': 1 cell is no time \(row 2 'yesterday'\); in "
            r"'.*sensors\.csv', column 'x': 1 cell is no number \(row 2 'three'\)\. Fix: write times",
        ),
        (
            READINGS.replace("y\n", "z\n", 1),
            "taken\n2024-05-01\n",
            r"has 2 problems: column 'device' does not exist \(columns: 'taken'\); in "
            r"'.*sensors\.csv', column 'y' does not exist \(columns: 'timestamp', 'device', 'x', 'z'\)",
        ),
        (
            READINGS.replace(",B,", ",,").replace("2024-05-01T00:02:00", ""),
            "taken,device\n2024-05-01,A\n",
            r"has 2 problems: in '.*sensors\.csv', column 'timestamp': 1 cell is empty \(row 2\); in "
            r"'.*sensors\.csv', column 'device': 1 cell is empty \(row 4\)\. Fix: fill",
        ),
        ("", "taken,device\n2024-05-01,A\n", r"sensors\.csv' is empty\. Fix: "),
    ],
)
def test_problems_of_series(write, readings, rows, message):
    write(readings, "sensors.csv")
    with pytest.raises(DataError, match=message):
        TableSource(write(rows), series=SERIES)


def test_problems_of_both_tables_are_told_at_once(write):
    write(READINGS.replace("A,1", "A,one"), "sensors.csv")
    path = write("taken,device,age\nsoon,A,old\n")
    message = (
        r"pets\.csv' has 3 problems: column 'age': 1 cell is no number \(row 1 'old'\); column "
        r"'taken': 1 cell is no time \(row 1 'soon'\); in '.*sensors\.csv', column 'x': 1 cell is no"
    )
    with pytest.raises(DataError, match=message):
        TableSource(path, numeric="age", series=SERIES)


def test_all_problems_are_told_at_once(write):
    lines = [f"r{n % 18},{n % 4 or 'x'},{'cat' if n % 3 else ''},train" for n in range(1, 20)]
    path = write("name,age,label,split\n" + "\n".join(lines) + "\nr0,1e39,cat,trial\n")
    with pytest.raises(DataError) as error:
        TableSource(
            path, images="nmae", numeric="age,agee", labels="label", id="name", split="split"
        )
    assert str(error.value) == (
        f"The table '{path}' has 7 problems: "
        "column 'nmae' does not exist (did you mean 'name'? columns: 'name', 'age', 'label', 'split'); "
        "column 'agee' does not exist (did you mean 'age'? columns: 'name', 'age', 'label', 'split'); "
        "column 'split': 1 cell is no split (row 20 'trial'); "
        "column 'label': 6 cells are empty (rows 3, 6, 9, 12, 15 and 1 more); "
        "column 'age': 4 cells are no number (row 4 'x', row 8 'x', row 12 'x', row 16 'x'); "
        "column 'age': 1 cell is beyond the range of float32 (row 20 '1e39'); "
        "column 'name': 2 cells are repeated (row 19 'r1', row 20 'r0'). "
        "Fix: name columns that exist; call the splits train, val and test; fill the empty cells or "
        "leave these rows out; write numbers as 1.5 or 2e3; scale the numbers; give every row an id "
        "of its own."
    )


@pytest.mark.parametrize(
    ("root", "options", "message"),
    [
        ("none.csv", {"text": "a"}, r"^There is no file 'none\.csv' in '.*'\. Fix: "),
        ("a\0.csv", {"text": "a"}, r"is no file name \(it has a NUL byte\)\. Fix: "),
        ("a.xlsx", {"text": "a"}, r"'a\.xlsx' is no table .* use one of \.csv, \.tsv, \.jsonl,"),
        (7, {"text": "a"}, r"A table is a path or a pandas\.DataFrame\. Received: int\. Fix: "),
        ("a.csv", {}, r"^No column is an input\. Fix: "),
        ("a.csv", {"labels": "a"}, r"^No column is an input\. Fix: "),
        ("a.csv", {"text": "a", "labels": "b", "targets": "c"}, r"exclude each other\. Fix: "),
        ("a.csv", {"text": 1.5}, r"`text` takes names\. Received: 1\.5\. Fix: "),
        ("a.csv", {"images": ["a", "b"]}, r"`images` takes one column\. Received: \['a', 'b'\]"),
        ("a.csv", {"text": "a", "impute": "mode"}, r"`impute` is 'mode'\. Fix: use median, mean,"),
        ("a.csv", {"text": "a", "impute": NAN}, r"`impute` is nan\. Fix: "),
        ("a.csv", {"text": "a", "impute": True}, r"`impute` is True\. Fix: "),
        (
            "a.csv",
            {"text": "a", "separator": 5},
            r"`separator` must be a str\. Received: 5\. Fix: ",
        ),
        ("a.csv", {"series": "{"}, r"^`series` is not right: "),
        (
            pd.DataFrame({"a": ["b"]}),
            {"images": "a", "folder": "no/such"},
            r"^There is no folder 'no/such'\. Fix: pass the folder of the images\.",
        ),
    ],
)
def test_wrong_roots_and_options(root, options, message):
    with pytest.raises(DataError, match=message):
        TableSource(root, **options)


def test_an_unknown_split_lists_the_known_ones(write):
    source = TableSource(write(PETS), **ROLES)
    for ask in (source.examples, source.report, source.misaligned):
        with pytest.raises(DataError, match=r"has no split 'test'\. .* Known: train, val\."):
            ask("test")
