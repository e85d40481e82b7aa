"""A trained model that becomes smaller, through the command line."""

import json

import pytest

from mmlearn import MultimodalClassifier
from mmlearn.analysis.evidence import read_all_evidence
from mmlearn.cli.main import main
from mmlearn.compression.pruning import sparsity_of
from mmlearn.experiments.config import read_run
from mmlearn.experiments.scoring import evaluate_model


def call(*args, capfd):
    assert main([*map(str, args), "--json"]) == 0
    return json.loads(capfd.readouterr().out.strip().splitlines()[-1])


@pytest.mark.full
def test_a_student_is_taught_and_pruned_and_cascaded(main_job, tmp_path, capfd):
    student, pruned = tmp_path / "student", tmp_path / "pruned"
    short = ("--training.phases.0.epochs", "1", "--training.no-monitor-contribution")
    words = ("--model.hidden-dim", "8", "--model.text.options", "num_layers=1", *short)
    words += ("--training.phases.1.epochs", "0", "--training.phases.2.epochs", "1")
    found = call("distill", main_job[0], *words, "--output", student, capfd=capfd)["comparison"]
    assert found["cost"]["after"]["parameters"] < found["cost"]["before"]["parameters"]
    assert read_run(str(student / "run.json"))[0].distillation.model == str(main_job[0])
    words = ("--pruning.sparsity", "0.5", "--pruning.every", "1", *short, "--output", pruned)
    smaller = call("prune", student, *words, capfd=capfd)["comparison"]
    before, after = (smaller["cost"][when] for when in ("before", "after"))
    assert before["parameters"] == found["cost"]["after"]["parameters"]
    assert after["macs"] < 0.6 * before["macs"]
    assert before["zeros"] == 0
    task = MultimodalClassifier.from_preset(str(pruned / "preset"))
    assert sparsity_of(task) == after["zeros"] == pytest.approx(0.5, abs=0.01)
    assert [row["without"] for row in smaller["quality"]] == [None, "images", "text"]
    scored = evaluate_model(str(pruned), read_run(str(pruned / "run.json"))[0].data)["metrics"]
    assert smaller["quality"][0]["after"] == pytest.approx(scored["fused"]["mAP"], abs=1e-6)
    assert read_all_evidence(pruned)["pruning"]["command"].startswith("mmlearn prune")
    words = ("--timed-examples", "4", "--resamples", "20")
    record = call("cascade", pruned, *words, capfd=capfd)["cascade"]
    assert record["num_examples"] == [12, 12]
    for row in record["rows"]:
        assert row["change"]["value"] == pytest.approx(row["cascade"] - row["full"], abs=1e-6)
        # Between all by the first answer, and nothing but what it costs more.
        assert row["macs"] < 1.05 * row["full_macs"]
    assert "cascade" in read_all_evidence(pruned)


def test_what_cannot_become_smaller_is_one_line(main_job, tmp_path, capfd):
    model = str(main_job[0])
    for words, message in [
        (["prune"], "No model. Fix: python -m mmlearn prune MODEL"),
        (["prune", str(tmp_path)], "has no run.json, which says on what data"),
        (["prune", model, "--output", model], "is the earlier model, which would be replaced"),
        (["prune", model, "--pruning.criterion", "taylr"], "Did you mean 'taylor'?"),
        (["distill", model], "The student is the teacher's equal. Fix: name what is smaller"),
        (["cascade", model, "--timed-examples", "0"], "`timed_examples` must be at least 1"),
    ]:
        assert main([*words]) == 2
        assert message in capfd.readouterr().err
