import json

import pytest

from mmlearn.models import MultimodalClassifier, MultimodalRegressor
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset


@pytest.fixture
def run(tmp_path):
    """The output folder of a run, as far as it matters here."""
    folder = tmp_path / "run" / "preset"
    folder.mkdir(parents=True)
    description = {"registered_name": "mmlearn>MultimodalRegressor"}
    (folder / "task.json").write_text(json.dumps(description))
    return tmp_path / "run"


def test_a_run_and_its_preset_are_found(run):
    assert find_preset(run) == str(run / "preset")
    assert find_preset(run / "preset") == run / "preset"
    assert find_preset(run, PredictionTask) == find_preset(run, MultimodalRegressor)


def test_another_task_is_refused(run):
    message = "is a model of MultimodalRegressor, and this needs one of MultimodalClassifier"
    with pytest.raises(ValueError, match=message):
        find_preset(run, MultimodalClassifier)


def test_no_model_and_a_damaged_one_are_refused(run):
    with pytest.raises(ValueError, match="holds no saved model"):
        find_preset(run.parent)
    (run / "preset" / "task.json").write_text("{")
    with pytest.raises(ValueError, match=r"task.json' is not the description of a saved model"):
        find_preset(run, PredictionTask)
