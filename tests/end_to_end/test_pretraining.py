"""Pretraining on data of its own, through the command line."""

import json

import pytest

from tests.end_to_end.conftest import SMALL


@pytest.mark.large
def test_pretraining_goes_before_the_phases_with_labels(mmlearn, tmp_path):
    result = mmlearn(
        *("train", "shapes", *SMALL, "--data.root", tmp_path / "labelled"),
        *("--output", tmp_path / "out", "--training.loggers", "csv", "--json"),
        *("--training.pretrain", "masked_language", "image_contrast", "image_text_contrast"),
        *("--training.pretrain-epochs", "1", "--unlabeled.source", "shapes"),
        *("--unlabeled.root", tmp_path / "more", "--unlabeled.options", "num_train=96"),
    )
    assert "unlabeled: 96 examples" in result.stderr
    with open(tmp_path / "out" / "run.json", encoding="utf-8") as file:
        record = json.load(file)
    names = [phase["name"] for phase in record["history"]]
    assert names == [
        *("masked language", "image contrast", "image text contrast"),
        *("encoders", "fusion", "end to end"),
    ]
    for phase in record["history"][:3]:
        assert set(phase["history"]) == {"loss", "val_loss"}
        assert phase["stored_features"] == []
    assert len(record["data"]["fingerprint"].split("-")) == 2
    assert (tmp_path / "out" / "figures" / "curves.png").exists()
    assert (tmp_path / "out.logs" / "history.csv").read_text().count("contrast") == 2
