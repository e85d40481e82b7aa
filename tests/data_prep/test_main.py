import re

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
        (["spec", "cocoo"], "Unknown source 'cocoo'. Did you mean 'coco'? Known: coco, shapes."),
        (["spek", "coco"], "Unknown command 'spek'. Did you mean 'spec'? Known: shapes, spec."),
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
    assert re.search(r"no split 'test'\. Fix: use one of train, val", capsys.readouterr().err)


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
    assert "{shapes,spec}" in capsys.readouterr().out


def test_sources_are_found_by_name():
    for name in sources.SOURCES:
        assert sources.get(name).__name__.lower() == f"{name}source"
    with pytest.raises(ValueError, match=r"Unknown source 'shape'\. Did you mean 'shapes'"):
        sources.get("shape")
