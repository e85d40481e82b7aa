"""Cross-validation and search through the command line, with real training, small."""

import json

import numpy as np
import pytest

from tests.end_to_end.conftest import SMALL

pytestmark = pytest.mark.large


def last_line(result):
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The flags of a small experiment on data of its own, and a folder."""
    folder = tmp_path_factory.mktemp("several")
    return folder, ["shapes", *SMALL, "--data.root", folder / "data"]


@pytest.mark.full
def test_folds_are_runs_that_can_be_repeated_alone(small, mmlearn):
    folder, flags = small
    output = folder / "folds"
    summary = last_line(mmlearn("train", *flags, "--folds", "2", "--output", output, "--json"))
    joined = np.load(output / "predictions.npz")
    assert len(set(joined["ids"])) == len(joined["fused"]) == 64
    folds = [json.loads((output / f"fold-{i}" / "run.json").read_text()) for i in range(2)]
    found = [record["metrics"]["fused"]["mAP"] for record in folds]
    assert summary["metrics"]["fused"]["mAP"]["folds"] == found
    # The second fold came after another in its process: alone, it is the same to the last digit.
    again = folder / "again"
    mmlearn("train", output / "fold-1" / "run.json", "--output", again)
    own = joined["fused"][joined["fold"] == 1]
    np.testing.assert_array_equal(np.load(again / "predictions.npz")["fused"], own)
    assert json.loads((again / "run.json").read_text())["history"] == folds[1]["history"]


@pytest.mark.full
def test_best_trial_can_be_trained_and_is_the_same(small, mmlearn):
    pytest.importorskip("optuna", reason="needs the extra `tune`")
    folder, flags = small
    output = folder / "search"
    space = (
        "model.fusion.name=cross_attention,concat",
        "training.phases.2.learning_rate=1e-4:1e-2:log",
    )
    summary = last_line(
        mmlearn("tune", *flags, "--trials", "2", "--space", *space, "--output", output, "--json")
    )
    trials = json.loads((output / "trials.json").read_text())["trials"]
    assert [trial["problem"] for trial in trials] == [None, None]
    assert [trial["epochs"] for trial in trials] == [3, 3]
    trained = last_line(mmlearn("train", output / "best.json", "--json"))
    assert trained["run"] == f"{output}/best/run.json"
    assert trained["metrics"]["fused"]["mAP"] == summary["value"] == trials[0]["value"]
