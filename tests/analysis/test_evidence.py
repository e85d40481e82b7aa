"""The format in which measurements are left beside a run."""

import json

import pytest

from mmlearn.analysis.evidence import read_all_evidence, read_evidence, write_evidence

TABLE = {"title": "a", "columns": ["fusion", "mAP"], "rows": [["concat", 0.5]]}
GOOD = {"tables": [TABLE], "figures": []}


def test_what_was_written_is_read(tmp_path):
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "curve.png").write_bytes(b"")
    rows = [["concat", {"value": 0.5, "low": 0.4, "high": 0.6}], ["late", None]]
    content = {
        "tables": [{**TABLE, "rows": rows, "note": "one seed"}],
        "figures": ["curve.png"],
        "captions": {"curve.png": "mAP"},
        "remarks": ["It falls."],
        "command": "mmlearn ablate",
        "seeds": [0, 1],
    }
    path = write_evidence(tmp_path, "ablation", content)
    assert read_evidence(path) == content
    assert read_all_evidence(tmp_path) == {"ablation": content}


def test_a_run_without_evidence_has_none(tmp_path):
    assert read_all_evidence(tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": None}, "`tables` must be a list"),
        ({"figures": "a.png"}, "`figures` must be a list"),
        ({"tables": [{**TABLE, "rows": [["concat"]]}]}, r"rows\[0\]` must be a list of 2 cells"),
        ({"tables": [{**TABLE, "rows": [["a", True]]}]}, "must hold strings, numbers, null"),
        ({"tables": [{**TABLE, "rows": [["a", {"value": 1}]]}]}, "null or intervals"),
        ({"tables": [{**TABLE, "columns": [1, 2]}]}, "columns` must be strings"),
        ({"tables": [{**TABLE, "title": 3}]}, "title` must be a string"),
        ({"figures": ["../secret.png"]}, "PNG files in the same folder"),
        ({"figures": ["missing.png"]}, "the picture is missing"),
        ({"remarks": "It falls."}, "`remarks` must be strings"),
    ],
)
def test_other_content_is_refused_when_written_and_when_read(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_evidence(tmp_path, "ablation", {**GOOD, **change})
    path = tmp_path / "evidence" / "ablation.json"
    assert not path.exists()
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(ValueError, match=r"ablation\.json"):
        read_all_evidence(tmp_path)


def test_a_file_that_is_no_json_and_a_folder_that_is_none_are_named(tmp_path):
    path = write_evidence(tmp_path, "errors", GOOD)
    with open(path, "a") as file:
        file.write("}")
    with pytest.raises(ValueError, match=r"errors\.json' cannot be read"):
        read_evidence(path)
    with pytest.raises(ValueError, match="is not a folder"):
        write_evidence(tmp_path / "nowhere", "errors", GOOD)
    with pytest.raises(ValueError, match="`topic` must be lower-case"):
        write_evidence(tmp_path, "../errors", GOOD)
