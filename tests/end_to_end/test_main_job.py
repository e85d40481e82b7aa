"""The main job through the command line, small, and what can be done with its results."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from tests.end_to_end.conftest import SMALL


def test_leaves_everything_it_promises(main_job):
    output, _ = main_job
    found = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
    assert {
        *("run.json", "predictions.npz", "figures/curves.png", "figures/attention_000.png"),
        *("figures/calibration.png", "figures/confusion.png"),
        *("preset/config.json", "preset/task.json", "preset/preprocessor.json"),
        *("preset/assets/tokenizer/vocabulary.txt", "serving/1/saved_model.pb"),
    } <= found
    assert [p.name for p in output.parent.iterdir() if "partial" in p.name] == []


def test_last_line_is_one_json_object(main_job):
    output, summary = main_job
    assert summary["run"] == f"{output}/run.json"
    rows = {"fused", "images", "text", "nothing", "prior", "keywords"}
    rows |= {"without_images", "without_text"}
    assert rows | {"oracle_images", "oracle_text", "oracle_union"} == set(summary["metrics"])
    for values in summary["metrics"].values():
        assert 0 <= values["mAP"] <= 1
    assert summary["metrics"]["oracle_union"]["mAP"] > summary["metrics"]["prior"]["mAP"]
    assert summary["seconds"]["total"] > summary["seconds"]["train"] > 0


def test_the_record_says_how_certain_its_metrics_are(main_job):
    output, summary = main_job
    record = json.loads((output / "run.json").read_text())
    intervals = record["intervals"]
    assert set(intervals) == set(summary["metrics"])
    for row, found in intervals.items():
        assert found["mAP"]["low"] <= found["mAP"]["high"], row
    gain = record["comparisons"]["fusion_effectiveness"]
    apart = [summary["metrics"][gain[which]]["mAP"] for which in ("first", "second")]
    assert gain["difference"] == pytest.approx(apart[0] - apart[1], abs=1e-9)
    classes = record["per_class"]["fused"]
    assert list(classes) == record["data"]["label_names"]
    precisions = [found["average_precision"] for found in classes.values()]
    mean = np.mean([each for each in precisions if each is not None])
    assert mean == pytest.approx(summary["metrics"]["fused"]["mAP"], abs=1e-9)


@pytest.mark.large
def test_a_calibrated_model_is_a_model(main_job, tmp_path, capfd):
    from mmlearn.cli.main import main

    output, _ = main_job
    folder = tmp_path / "calibrated"
    assert main(["calibrate", str(output), "--output", str(folder), "--json"]) == 0
    captured = capfd.readouterr()
    assert "cross-fitted" in captured.err
    (report,) = json.loads(captured.out.strip().splitlines()[-1])["heads"].values()
    assert report["on_the_same"]["log_loss"] <= report["before"]["log_loss"]
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert {"calibration.json", "figures/calibration.png", "serving/1/saved_model.pb"} <= found
    record = json.loads((output / "run.json").read_text())["config"]["data"]
    options = [f"{name}={value}" for name, value in record["options"].items()]
    data = ["--data.source", "shapes", "--data.root", record["root"], "--data.options", *options]
    assert main(["evaluate", str(folder), *data, "--per-class", "--json"]) == 0
    captured = capfd.readouterr()
    assert "fitted on these very data" in captured.err
    found = json.loads(captured.out.strip().splitlines()[-1])
    scores, classes = found["metrics"]["fused"], found["per_class"]["fused"]
    assert main(["errors", str(folder), *data, "--permutations", "50", "--json"]) == 0
    assert json.loads(capfd.readouterr().out.strip().splitlines()[-1])["classes"] == classes
    assert scores["ECE"] == pytest.approx(report["on_the_same"]["ECE"], abs=1e-4)
    assert scores["macro_F1"] == pytest.approx(report["on_the_same"]["macro_F1"], abs=1e-6)
    assert main(["predict", str(folder), "--text", "a red circle", "--json"]) == 0
    answer = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    for name, value in answer["labels"].items():
        assert (name in answer["predicted"]) == (value >= report["thresholds"][name])


@pytest.mark.large
def test_run_can_be_repeated_from_its_record_to_the_last_digit(main_job, tmp_path, mmlearn):
    output, summary = main_job
    result = mmlearn("train", output / "run.json", "--output", tmp_path / "again", "--json")
    again = json.loads(result.stdout.strip().splitlines()[-1])
    assert again["metrics"] == summary["metrics"]
    first = json.loads((output / "run.json").read_text())
    second = json.loads((tmp_path / "again" / "run.json").read_text())
    assert first["history"] == second["history"]
    assert first["data"] == second["data"]
    np.testing.assert_array_equal(
        np.load(output / "predictions.npz")["fused"],
        np.load(tmp_path / "again" / "predictions.npz")["fused"],
    )


def test_evaluate_finds_the_metrics_of_the_run(main_job, capfd):
    from mmlearn.cli.main import main

    output, summary = main_job
    assert main(["evaluate", str(output), "--json"]) == 0
    metrics = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["metrics"]
    for row, values in summary["metrics"].items():
        assert metrics[row]["mAP"] == pytest.approx(values["mAP"], abs=1e-6), row


def test_predict_takes_image_text_or_both(main_job, capfd):
    from mmlearn.cli.main import main

    output, _ = main_job
    image = next((output.parent / "data" / "val").iterdir())
    for given in (["--image", str(image)], ["--text", "a red circle"]):
        assert main(["predict", str(output), *given, "--json"]) == 0
        answer = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
        assert len(answer["labels"]) == 5
        assert set(answer["modality_weights"]) == {"images", "text"}
        assert sum(answer["modality_weights"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.large
def test_export_writes_the_next_version_which_training_never_removes(main_job, tmp_path, capfd):
    from mmlearn.cli.main import main

    output = tmp_path / "shapes"
    shutil.copytree(main_job[0], output)
    assert main(["export", str(output)]) == 0
    assert (output / "serving" / "2" / "saved_model.pb").exists()
    assert main(["export", str(output), "--version", "2"]) == 2
    assert "exists" in capfd.readouterr().err
    assert main(["train", "--output", str(output)]) == 2
    assert "holds 'serving/2' besides the results of a run" in capfd.readouterr().err


@pytest.mark.large
def test_failed_run_leaves_the_earlier_one_in_place(main_job, mmlearn):
    output, _ = main_job
    before = (output / "run.json").read_bytes()
    result = mmlearn(
        *("train", output / "run.json", "--training.phases.0.learning-rate", "1e30"),
        *("--training.phases.2.learning-rate", "1e30"),
        check=False,
    )
    assert result.returncode == 2
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("Error")]
    assert "The loss became" in line
    assert "Fix: a lower learning rate" in line
    assert (output / "run.json").read_bytes() == before
    assert [p.name for p in output.parent.iterdir() if "partial" in p.name] == []


def test_too_many_bad_images_are_named(tmp_path, mmlearn):
    from data_prep.sources.shapes import ShapesSource

    source = ShapesSource(str(tmp_path / "data"), num_train=16, num_val=4)
    bad = pathlib.Path(source.examples("train").images[5])
    for path in source.examples("train").images[5:8]:
        pathlib.Path(path).write_bytes(b"this is no JPEG")
    result = mmlearn(
        *("train", "shapes", *SMALL, "--data.root", tmp_path / "data"),
        *("--data.options", "num_train=16", "num_val=4", "--output", tmp_path / "out"),
        check=False,
    )
    assert result.returncode == 2
    assert "3 of 16 examples of 'train' cannot be read, more than 10%" in result.stderr
    assert str(bad) in result.stderr
    assert "Fix: restore" in result.stderr
    assert not os.path.exists(tmp_path / "out")


def test_a_few_bad_images_are_left_out_and_listed(main_job):
    output, _ = main_job
    record = json.loads((output / "run.json").read_text())
    (skipped,) = record["data"]["skipped"]
    assert skipped["path"].endswith("000000000003.jpg")
    assert (skipped["split"], skipped["reason"]) == ("train", "cannot be decoded")
    assert record["data"]["reports"]["train"]["of the 64 examples of 'train'"] == 63


def test_report_draws_the_model_of_the_main_job(main_job, tmp_path, capsys):
    from mmlearn.cli.main import main

    output, summary = main_job
    page = tmp_path / "report.html"
    assert main(["report", str(output), "--output", str(page)]) == 0
    assert f"mAP {summary['metrics']['fused']['mAP']:.4f}" in page.read_text()
    drawing = (tmp_path / "report_figures" / "architecture.svg").read_text()
    for shown in ("resnet_tiny", "bert_tiny", "32 x 32 x 3", "grid 2 x 2", "CrossAttention"):
        assert shown in drawing
    shown = {path.name for path in (tmp_path / "report_figures").iterdir()}
    assert {"curves.png", "attention_000.png"} < shown
    assert "not measured: Size and speed" in capsys.readouterr().out


@pytest.mark.full
def test_profile_measures_every_artefact_and_is_in_the_report(main_job, tmp_path, mmlearn):
    output = tmp_path / "shapes"
    shutil.copytree(main_job[0], output)
    options = ("--repeats", "3", "--batch-sizes", "1", "4", "--train-steps", "1")
    done = mmlearn("profile", output, *options, "--train-batch-size", "4", "--json")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["parameters"]["all"] == json.loads((output / "run.json").read_text())["parameters"]
    assert 2 <= found["flops"] / found["macs"] < 3
    assert list(found["artefacts"]) == ["preset", "serving/1"]
    for measured in found["artefacts"].values():
        assert 0 < measured["latency_ms_p50"] <= measured["latency_ms_p95"]
        assert measured["first_call_ms"] > measured["latency_ms_p50"]  # it traces
        assert set(measured["throughput"]) == {"1", "4"}
        assert measured["peak_memory_mb"] > measured["size_mb"] > 0
    assert found["training"]["peak_memory_mb"] >= found["training"]["memory_before_mb"] > 0
    assert mmlearn("report", output).stdout.count("Size and speed") == 0
    assert "latency p50, ms" in (output / "report.html").read_text()
