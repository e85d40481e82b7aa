import dataclasses
import json

import pytest

from data_prep.options import read_options
from mmlearn import experiments
from mmlearn.experiments.config import Experiment, all_phases, from_dict, read_run, to_dict


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_config_survives_json(name):
    config = experiments.get(name)
    assert from_dict(Experiment, json.loads(json.dumps(to_dict(config)))) == config


def test_coco_is_the_documents_system():
    coco = experiments.get("coco")
    assert coco.model.images.name == "resnet50"
    assert coco.model.images.image_size == 224
    assert coco.model.text.name == "bert_base_en_uncased"
    assert coco.model.fusion.options["num_heads"] == 8
    assert (coco.model.hidden_dim, coco.model.head_hidden_dim) == (512, 256)
    assert coco.model.dropout == 0.1
    assert coco.training.batch_size == 32
    assert coco.training.strategy == "mirrored"
    assert sum(phase.epochs for phase in coco.training.phases) == 15
    assert {phase.weight_decay for phase in coco.training.phases} == {1e-2}
    assert coco.training.phases[0].learning_rate == 1e-4
    assert coco.training.phases[2].learning_rate < 1e-4


def test_pretraining_comes_before_the_other_phases():
    training = experiments.get("coco").training
    assert all_phases(training) == training.phases
    training = dataclasses.replace(
        training, pretrain=("masked_language", "image_contrast"), pretrain_epochs=3
    )
    first, second, *others = all_phases(training)
    assert (first.name, first.objective, first.epochs) == ("masked language", "masked_language", 3)
    assert (second.objective, second.learning_rate) == ("image_contrast", 1e-4)
    assert tuple(others) == training.phases
    training = dataclasses.replace(training, pretrain_rate=0.01)
    assert all_phases(training)[0].learning_rate == 0.01


def test_unknown_and_missing_keys_are_named(tmp_path):
    record = {"config": to_dict(experiments.get("shapes")), "data": {"fingerprint": "a"}}
    record["config"]["model"]["images"]["sise"] = 3
    path = tmp_path / "run.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"model\.images has the unknown key 'sise'"):
        read_run(str(path))
    del record["config"]["model"]["images"]["sise"], record["config"]["name"]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"config is not complete .*'name'"):
        read_run(str(path))


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_dim", "512"), ("dropout", None), ("modalities", "text"), ("images", 3)],
)
def test_wrong_types_are_named(key, value, tmp_path):
    record = {"config": to_dict(experiments.get("shapes")), "data": {"fingerprint": "a"}}
    record["config"]["model"][key] = value
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"config\.model\.{key} .*{value}"):
        read_run(str(tmp_path / "run.json"))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"config": 3}'])
def test_file_that_is_no_record_is_refused(content, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"run\.json"):
        read_run(str(path))


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiments.get("shapes").name = "other"


def test_options_are_read_as_json_where_they_are():
    assert read_options(["a=1", "b=0.5", "c=true", "d=concat", "e=x=y"]) == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": "concat",
        "e": "x=y",
    }
    with pytest.raises(ValueError, match=r"must read name=value\. Received: 'num_layers'"):
        read_options(["num_layers"])
