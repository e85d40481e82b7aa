import dataclasses
import json
import os

import pytest

from mmlearn.demo.examples import validation_examples
from mmlearn.experiments import EXPERIMENTS
from mmlearn.experiments.config import to_dict


def record(tmp_path, name, root, **options):
    """Writes the record of a run on shapes in that folder."""
    experiment = EXPERIMENTS["shapes"]
    data = dataclasses.replace(experiment.data, root=str(root), options=options)
    experiment = dataclasses.replace(experiment, data=data)
    config = to_dict(experiment) if name == "run.json" else {"data": to_dict(data)}
    (tmp_path / name).write_text(json.dumps({"config": config, "data": {"fingerprint": "abc"}}))
    return str(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "calibration.json"])
def test_examples_are_the_first_of_the_validation_split(tmp_path, shapes_root, shapes, name):
    # Other sizes than are there, which are not made for the page.
    found = validation_examples(record(tmp_path, name, shapes_root, num_train=9), count=3)
    examples = shapes.examples("val")
    texts = [texts[0] for texts in examples.captions[:3]]
    assert found == list(zip(examples.images[:3], texts, strict=True))
    assert len(validation_examples(record(tmp_path, name, shapes_root))) == 6


def test_where_there_are_no_data_none_are_made(tmp_path):
    root = tmp_path / "data"
    assert validation_examples(record(tmp_path, "run.json", root)) == []
    assert not os.path.exists(root)
    assert validation_examples(str(tmp_path / "preset")) == []


def test_a_record_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"is not the run\.json of a run"):
        validation_examples(str(tmp_path))
