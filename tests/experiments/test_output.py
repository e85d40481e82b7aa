"""Results that take the place of earlier ones, and what of these stays."""

import os

import pytest

from mmlearn.experiments.output import check_output, replacing
from mmlearn.serving.server_config import write_server_config

RESULTS = ("serving", "run.json")


def write_run(output, record, version="model"):
    """Writes what a run leaves, as `mmlearn train` does."""
    with replacing(str(output)) as partial:
        os.makedirs(os.path.join(partial, "serving", "1"))
        write_server_config(os.path.join(partial, "serving"), "toys")
        for name, text in (("run.json", record), ("serving/1/saved_model.pb", version)):
            with open(os.path.join(partial, name), "w", encoding="utf-8") as file:
                file.write(text)


def test_an_edited_config_of_the_server_outlives_another_training(tmp_path):
    output = tmp_path / "toys"
    write_run(output, "first")
    (output / "serving" / "models.config").write_text("mine")
    batching = (output / "serving" / "batching.txt").read_text()
    check_output(str(output), "a run", "run.json", RESULTS)
    write_run(output, "second", "another model")
    assert (output / "run.json").read_text() == "second"
    assert (output / "serving" / "1" / "saved_model.pb").read_text() == "another model"
    assert (output / "serving" / "models.config").read_text() == "mine"
    assert (output / "serving" / "batching.txt").read_text() == batching
    assert os.listdir(tmp_path) == ["toys"]


def test_a_config_that_was_removed_is_written_anew(tmp_path):
    output = tmp_path / "toys"
    write_run(output, "first")
    (output / "serving" / "models.config").unlink()
    write_run(output, "second")
    assert 'name: "toys"' in (output / "serving" / "models.config").read_text()


def test_after_an_error_all_is_as_it_was(tmp_path):
    output = tmp_path / "toys"
    write_run(output, "first")
    (output / "serving" / "models.config").write_text("mine")
    with pytest.raises(OSError, match="disk full"), replacing(str(output)) as partial:
        os.makedirs(os.path.join(partial, "serving"))
        raise OSError("disk full")
    assert (output / "run.json").read_text() == "first"
    assert (output / "serving" / "models.config").read_text() == "mine"
    assert os.listdir(tmp_path) == ["toys"]
