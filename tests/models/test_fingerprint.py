"""The fingerprint changes with all that embeds, and with nothing else."""

import keras
import numpy as np
import pytest

from mmlearn.models.fingerprint import fingerprint
from tests import toys


@pytest.fixture(scope="module")
def task():
    keras.utils.set_random_seed(0)
    return toys.retriever(projection_dim=4)


@pytest.mark.large
def test_a_saved_model_keeps_it(task, tmp_path):
    task.save_to_preset(str(tmp_path))
    assert fingerprint(type(task).from_preset(str(tmp_path))) == fingerprint(task)


@pytest.mark.parametrize("part", ["encoder", "images_embedding", "text_projection"])
def test_another_weight_changes_it(task, part):
    layer = task.backbone.encoders["text"] if part == "encoder" else task.heads[part]
    before, weights = fingerprint(task), layer.get_weights()
    layer.set_weights([np.asarray(each) + 1e-3 for each in weights])
    assert fingerprint(task) != before
    layer.set_weights(weights)
    assert fingerprint(task) == before


def test_what_only_matches_does_not(task):
    before = fingerprint(task)
    task.heads["match"].set_weights([each + 1 for each in task.heads["match"].get_weights()])
    assert fingerprint(task) == before
