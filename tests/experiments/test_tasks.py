import dataclasses

import pytest

from data_prep.sources.shapes import ShapesSource
from mmlearn.experiments import EXPERIMENTS, tasks
from mmlearn.experiments.build import build_task
from mmlearn.experiments.config import TaskConfig


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return ShapesSource(tmp_path_factory.mktemp("data") / "shapes", num_train=8, num_val=2)


def _config(**task):
    return dataclasses.replace(EXPERIMENTS["shapes"].model, task=TaskConfig(**task))


def test_unknown_task_is_refused(source):
    with pytest.raises(ValueError, match=r"'predictions'.*Did you mean 'prediction'"):
        build_task(_config(name="predictions"), source)


def test_options_reach_the_task(source):
    task = build_task(_config(options={"consistency": "cosine"}), source)
    assert task.consistency == "cosine"
    assert tasks.kind_of(task) is tasks.TASKS["prediction"]


def test_unknown_option_is_refused(source):
    with pytest.raises(
        ValueError, match=r"option of task 'prediction' 'consistence'. Did you mean 'consistency'"
    ):
        build_task(_config(options={"consistence": "cosine"}), source)


def test_every_experiment_names_a_task():
    for name, experiment in EXPERIMENTS.items():
        assert experiment.model.task.name in tasks.TASKS, name
