"""An ablation through the command line, with real training, small, killed on the way."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mmlearn.analysis.evidence import read_all_evidence
from tests.end_to_end.conftest import ROOT, SMALL

pytestmark = pytest.mark.full  # minutes: every run is compiled anew
ROWS = ("--rows", "late", "--end-to-end", "late", "--seeds", "2")
# Encoders of a layer or two: what takes long here is that every run is compiled anew.
TINY = (
    *("--model.images.name", "patches", "--model.images.options", "patch_size=8", "dim=16"),
    *("--model.text.name", "words", "--model.text.options", "hidden_dim=16"),
    *("--training.precision", "float32"),
)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The arguments of a small ablation, and its output folder."""
    folder = tmp_path_factory.mktemp("ablation")
    flags = ["ablate", "shapes", *SMALL, *TINY, "--data.root", str(folder / "data")]
    return [*flags, *ROWS, "--output", str(folder / "out")], folder / "out"


def results(output):
    return {path: path.stat().st_mtime_ns for path in output.glob("runs/[ef]*.json")}


def test_killed_ablation_goes_on_and_tables_are_whole(command, mmlearn):
    arguments, output = command
    process = subprocess.Popen(
        [sys.executable, "-m", "mmlearn", *arguments, "--workers", "2"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not any(path.name.startswith("frozen") for path in results(output)):
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    time.sleep(1)  # the workers see that it is gone
    before = results(output)
    assert not (output / "ablation.json").exists()
    summary = json.loads(mmlearn(*arguments, "--json").stdout.strip().splitlines()[-1])
    after = results(output)
    assert {path: after[path] for path in before} == before  # kept, not trained again
    # Of each seed the encoders, two rows with frozen ones, two end to end.
    assert len(after) == 2 * (1 + 2 + 2)
    rows = {row["name"]: row for row in summary["rows"]}
    assert set(rows) == {"full", "late"}
    for row in rows.values():
        assert [set(row[kind]["seeds"]) for kind in ("frozen", "end_to_end")] == [{"0", "1"}] * 2
        assert row["costs"]["latency_ms"] > 0
    assert rows["full"]["costs"]["flops"] > rows["late"]["costs"]["flops"] > 0  # attends, too
    frozen, whole = (rows["late"]["costs"][name] for name in ("trained_frozen", "trained"))
    assert 0 < frozen < whole <= rows["late"]["costs"]["parameters"]
    with (output / "ablation.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert "not measured" not in (output / "ablation.md").read_text()
    assert r"\begin{tabular}" in (output / "ablation.tex").read_text()
    assert (output / "evidence" / "ablation.png").stat().st_size > 10_000
    costs = read_all_evidence(output)["ablation"]["tables"][-1]
    assert costs["title"] == "Costs"
    assert len(costs["rows"]) == len(rows)
    assert not (output / "features").exists()
    assert not (output / "checkpoints").exists()
    predictions = [np.load(path.with_suffix(".npz")) for path in after]
    for own in predictions[1:]:  # same splits: runs can be compared example by example
        np.testing.assert_array_equal(own["ids"], predictions[0]["ids"])


def test_same_command_again_trains_nothing_and_another_is_refused(command, mmlearn):
    arguments, output = command
    before, record = results(output), json.loads((output / "ablation.json").read_text())
    mmlearn(*arguments)
    again = json.loads((output / "ablation.json").read_text())
    assert results(output) == before
    assert again["rows"] == record["rows"]
    refused = mmlearn(*arguments, "--model.dropout", "0.2", check=False)
    assert refused.returncode == 2
    assert "another experiment" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
