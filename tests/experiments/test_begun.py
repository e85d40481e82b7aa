"""Who may go on in a folder that several runs fill."""

import pytest

from mmlearn.experiments.begun import NOTE, open_output

BEGUN = {"command": "tune", "config": {"rates": (1, 2)}}


def test_the_same_goes_on_and_another_is_refused(tmp_path):
    output = str(tmp_path / "out")
    open_output(output, BEGUN, ("study",))
    (tmp_path / "out" / "study").write_text("hours of work")
    open_output(output, BEGUN, ("study",))
    with pytest.raises(ValueError, match=r"begun by `tune` with another experiment, .* Fix: "):
        open_output(output, {**BEGUN, "config": {}}, ("study",))
    assert (tmp_path / "out" / "study").read_text() == "hours of work"


def test_restart_removes_what_the_command_wrote_and_nothing_else(tmp_path):
    output = tmp_path / "out"
    open_output(str(output), BEGUN, ("fold-*", "study"))
    (output / "study").write_text("")
    (output / "fold-0").mkdir()
    (output / "fold-0" / "run.json").write_text("")
    (output / "notes.txt").write_text("mine")
    other = {**BEGUN, "config": {}}
    open_output(str(output), other, ("fold-*", "study"), restart=True)
    assert sorted(path.name for path in output.iterdir()) == [NOTE, "notes.txt"]
    open_output(str(output), other, ("fold-*", "study"))


@pytest.mark.parametrize("restart", [False, True])
def test_folders_of_others_are_refused(tmp_path, restart):
    (tmp_path / "thesis.txt").write_text("years of work")
    search = tmp_path / "search"
    open_output(str(search), BEGUN, ())
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / NOTE).write_text("{")
    for folder in (tmp_path, search, damaged, tmp_path / "thesis.txt"):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ValueError, match="exists and is not the result of `train --folds`"):
            open_output(str(folder), {"command": "train --folds"}, ("*",), restart)
        assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_was_left_before_its_note_is_used(tmp_path):
    (tmp_path / f"{NOTE}.partial").write_text("{")
    open_output(str(tmp_path), BEGUN, ())
    assert [path.name for path in tmp_path.iterdir()] == [NOTE]
