import os
import re
import shutil
import sys

import pytest

from data_prep import sources
from data_prep.__main__ import main


def test_spec_prints_counts_and_keys(shapes_root, capsys):
    # "coco", because "shapes" would write its 7,000 default scenes over the small folder.
    assert main(["spec", "coco", "--root", shapes_root]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"24 images", "120 captions", "8 labels"} <= set(lines)
    keys = [line.split()[0] for line in lines[lines.index("example") + 1 :]]
    assert sorted(keys) == ["group", "id", "images", "labels", "text"]
    assert "id string () train/1" in lines
    assert "images uint8 (None, None, 3) (96, 96, 3)" in lines
    assert any(line.startswith("labels float32 (8,)") for line in lines)


def test_spec_of_another_split(shapes_root, capsys):
    assert main(["spec", "coco", "--root", shapes_root, "--split", "val"]) == 0
    assert "       12 images\n" in capsys.readouterr().out


def test_shapes_writes_the_data_set_once(tmp_path, capsys):
    root = tmp_path / "made"
    args = ["shapes", "--output", str(root), "--num-train", "2", "--num-val", "1"]
    assert main(args) == 0
    assert capsys.readouterr().out == f"train: 2 scenes in {root}\nval: 1 scenes in {root}\n"
    written = (root / "shapes.json").stat().st_mtime_ns
    assert main([*args, "--seed", "0"]) == 0
    assert (root / "shapes.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["spec", "cocoo"],
            "Unknown source 'cocoo'. Did you mean 'coco'? Known: captions_csv, coco,",
        ),
        (["spek", "coco"], "Unknown command 'spek'. Did you mean 'spec'? Known: doctor, shapes,"),
        (
            ["spec", "coco", "--root", "/nowhere/at/all"],
            "There is no folder '/nowhere/at/all'. Fix:",
        ),
        (
            ["shapes", "--output", "/nowhere/never", "--num-train", "0"],
            "`num_train` must be a whole number from 1",
        ),
    ],
)
def test_user_errors_exit_with_2_and_one_line(args, message, capsys):
    assert main(args) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"Error: {message}")
    assert output.err.count("\n") == 1


def test_an_unknown_split_exits_with_2(shapes_root, capsys):
    assert main(["spec", "coco", "--root", shapes_root, "--split", "test"]) == 2
    assert re.search(r"has no split 'test'\..* Known: train, val\.", capsys.readouterr().err)


def test_an_unknown_flag_exits_with_2_and_a_suggestion(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["spec", "coco", "--rot", "x"])
    assert exit_info.value.code == 2
    assert "--root" in capsys.readouterr().err


def test_debug_raises_instead(tmp_path):
    with pytest.raises(ValueError, match="There is no folder"):
        main(["spec", "coco", "--root", str(tmp_path / "missing"), "--debug"])


@pytest.mark.parametrize("args", [[], ["--help"]])
def test_help_lists_the_commands(args, capsys):
    assert main(args) == 0
    assert "{spec,doctor,shards,shapes}" in capsys.readouterr().out


def test_sources_are_found_by_name():
    for name in sources.SOURCES:
        assert sources.get(name).__name__.lower() == f"{name.replace('_', '')}source"
    with pytest.raises(ValueError, match=r"Unknown source 'shape'\. Did you mean 'shapes'"):
        sources.get("shape")


def test_flags_in_messages_are_those_of_this_command(tmp_path, capsys):
    assert main(["spec", "vqa_v2", "--root", str(tmp_path / "missing")]) == 2
    error = capsys.readouterr().err
    assert "--root DIR" in error
    assert "--data." not in error


def test_spec_of_a_table_with_options(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("title,kind,age\na dog,dog,3\na cat,cat,\n")
    options = ["--options", "text=title", "labels=kind", "numeric=age"]
    assert main(["spec", "table", "--root", str(tmp_path / "a.csv"), *options]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "labels float32 (2,) dog" in lines
    assert "table.age float32 () 3.0" in lines


def test_doctor_reports_writes_and_tells_by_its_exit_code(shapes_root, tmp_path, capsys):
    root = shutil.copytree(shapes_root, tmp_path / "shapes")
    arguments = ["doctor", "coco", "--root", str(root), "--output", str(tmp_path / "report")]
    assert main(arguments) == 0
    assert "Nothing would be lost" in capsys.readouterr().out
    assert (tmp_path / "report" / "doctor.json").exists()
    os.truncate(next((root / "train").iterdir()), 200)
    assert main(arguments) == 1
    assert "cannot be decoded" in " ".join(capsys.readouterr().out.split())


def test_shards_without_beam_name_what_to_install(shapes_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "data_prep.shards", raising=False)
    arguments = ["shards", "coco", "--root", shapes_root, "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "Fix: pip install 'mmlearn-keras[shards]'" in capsys.readouterr().err
