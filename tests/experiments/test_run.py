"""What an interrupted run leaves, and who may go on from there."""

import dataclasses
import os

import numpy as np
import pytest

from mmlearn import experiments
from mmlearn.experiments.run import open_checkpoints


def with_training(**changes):
    experiment = experiments.get("shapes")
    training = dataclasses.replace(experiment.training, **changes)
    return dataclasses.replace(experiment, training=training)


def test_the_same_experiment_goes_on(tmp_path):
    folder = str(tmp_path / "out.checkpoints")
    open_checkpoints(folder, with_training(), "data").save(5, {"step": 5}, [np.ones(2)])
    same = with_training(checkpoint_minutes=1.0, keep_checkpoints=3, loggers=("csv",))
    assert open_checkpoints(folder, same, "data").latest().state == {"step": 5}


def test_another_experiment_or_other_data_are_refused(tmp_path):
    folder = str(tmp_path / "out.checkpoints")
    open_checkpoints(folder, with_training(), "data").save(5, {"step": 5}, [np.ones(2)])
    for experiment, data in ((with_training(seed=1), "data"), (with_training(), "other")):
        with pytest.raises(
            ValueError, match=r"of another experiment or .* pass --training\.restart"
        ):
            open_checkpoints(folder, experiment, data)
    assert open_checkpoints(folder, with_training(), "data").latest().state == {"step": 5}


def test_restart_throws_them_away(tmp_path):
    folder = str(tmp_path / "out.checkpoints")
    open_checkpoints(folder, with_training(), "data").save(5, {"step": 5}, [np.ones(2)])
    assert open_checkpoints(folder, with_training(seed=1, restart=True), "data").latest() is None
    assert os.listdir(folder) == ["begun.json"]


def test_a_damaged_note_of_what_was_begun_is_refused(tmp_path):
    folder = str(tmp_path / "out.checkpoints")
    open_checkpoints(folder, with_training(), "data")
    with open(os.path.join(folder, "begun.json"), "w") as file:
        file.write("{")
    with pytest.raises(ValueError, match="of another experiment"):
        open_checkpoints(folder, with_training(), "data")
