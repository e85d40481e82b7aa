"""What is measured on a saved model, through the command line."""

import csv
import json

import numpy as np
import pytest

from mmlearn.analysis.evidence import read_all_evidence
from mmlearn.cli.main import main


@pytest.fixture(scope="module")
def measured(main_job, tmp_path_factory):
    """Runs a command on the small main job: the folder of the evidence, and the JSON line."""
    folder = tmp_path_factory.mktemp("evidence")

    def call(verb, *args, capfd):
        assert main([verb, str(main_job[0]), "--output", str(folder), "--json", *args]) == 0
        return folder, json.loads(capfd.readouterr().out.strip().splitlines()[-1])

    return call


def test_contribution_leaves_evidence_that_the_report_reads(measured, capfd):
    folder, summary = measured("contribution", "--resamples", "20", capfd=capfd)
    record = summary["contribution"]
    assert record["sums_to_total_within"] < 1e-9
    assert record["num_examples"] == 24
    content = read_all_evidence(folder)["contribution"]
    assert content["contribution"] == record
    assert content["command"].startswith("mmlearn contribution")
    assert (folder / "evidence" / "contribution.png").stat().st_size > 10_000
    assert "| Shapley value |" in (folder / "evidence" / "contribution.md").read_text()
    with open(folder / "evidence" / "contribution_examples.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert float(rows[0]["weight_images"]) + float(rows[0]["weight_text"]) == pytest.approx(1)


@pytest.mark.large
def test_robustness_and_another_domain(measured, main_job, capfd):
    data = str(main_job[0].parent / "data")
    folder, summary = measured(
        *("robustness", "--resamples", "20", "--domain.source", "shapes", "--domain.root", data),
        *("--domain.split", "train"),
        capfd=capfd,
    )
    record, domain = summary["robustness"], summary["domain"]
    assert len(record["curves"]) == 16 + 5 + 1 + 6
    for curve in record["curves"]:
        assert len(curve["fused"]) == len(curve["levels"])
    for where in ("own", "other"):
        assert 0 < domain[where]["chance"] < domain[where]["score"]["value"] <= 1
    assert domain["other"]["num_examples"] == 63
    content = read_all_evidence(folder)["robustness"]
    assert content["figures"] == ["robustness.png", "robustness_corruptions.png"]
    assert any("keeps" in remark for remark in content["remarks"])


@pytest.mark.large
def test_errors_are_listed_by_example_class_and_slice(measured, main_job, capfd):
    folder, summary = measured("errors", "--permutations", "200", capfd=capfd)
    predictions = np.load(main_job[0] / "predictions.npz")
    labels, fused = predictions["labels"], predictions["fused"].astype(float)
    losses = -np.where(labels > 0, np.log(fused), np.log1p(-fused)).mean(axis=1)
    worst = [each["id"] for each in summary["worst"]]
    assert worst == predictions["ids"][np.argsort(-losses)][:12].tolist()
    for column, each in enumerate(summary["classes"].values()):
        true = labels[:, column] > 0
        assert each["false_negatives"] == (fused[true, column] < 0.5).sum()
        assert each["false_positives"] == (fused[~true, column] >= 0.5).sum()
    assert {"objects: 2", "has a faint object"} & {each["name"] for each in summary["slices"]}
    with open(folder / "evidence" / "errors_examples.csv") as file:
        assert next(csv.DictReader(file))["id"] == worst[0]
    content = read_all_evidence(folder)["errors"]
    assert content["figures"][0] == "errors_worst.png"


def test_a_wrong_flag_is_one_line(main_job, tmp_path, capfd):
    model = str(main_job[0])
    assert main(["contribution", model, "--max-examples", "0"]) == 2
    assert "`max_examples` must be at least 1" in capfd.readouterr().err
    assert main(["robustness", str(tmp_path)]) == 2
    assert "holds no saved model" in capfd.readouterr().err
    assert main(["robustness", model, "--synonyms", str(tmp_path / "none.csv")]) == 2
    assert "cannot be read" in capfd.readouterr().err
    assert not (main_job[0] / "evidence").exists()
