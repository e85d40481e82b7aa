"""The report of a run that was written by hand."""

import json
import math

import pytest

from mmlearn.analysis import evidence as topics
from mmlearn.analysis.document import Bullets, Heading, Missing, Paragraph, Picture, Table
from mmlearn.analysis.evidence import evidence_folder, write_evidence
from mmlearn.analysis.report.build import SECTIONS, build_report
from mmlearn.analysis.report.measures import MEASURES
from mmlearn.analysis.report.rivals import PUBLISHED
from mmlearn.analysis.run_record import read_run_record
from tests.analysis.runs import NAMES, metrics, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of the run."""
    return write_run(tmp_path_factory.mktemp("report") / "animals")


def section(blocks, title):
    """The blocks under a heading."""
    start = next(i for i, b in enumerate(blocks) if isinstance(b, Heading) and b.text == title) + 1
    level = blocks[start - 1].level
    ends = (i for i, b in enumerate(blocks) if isinstance(b, Heading) and b.level <= level)
    return blocks[start : next((i for i in ends if i >= start), None)]


def table(blocks, title):
    """The table of that title."""
    return next(block for block in blocks if isinstance(block, Table) and block.title == title)


def test_results_have_intervals_and_baselines(run):
    title, blocks = build_report([read_run_record(run)])
    assert title == "Report of animals"
    validation = table(section(blocks, "Results"), "Validation")
    rows = {row[0]: row for row in validation.rows}
    assert set(rows) == {"fused", "images", "text", "nothing", "prior", "without text"}
    at = validation.columns.index("mAP")
    assert rows["fused"][at] == {"value": 0.95, "low": 0.92, "high": 0.97}
    assert rows["prior"][at] == 0.4
    assert "60 validation examples" in validation.note
    further = table(section(blocks, "Results"), "Further metrics")
    assert further.columns == ("metric", "fused", "images", "text", "nothing", "prior")
    assert further.rows == (("binary accuracy", *[0.7] * 5),)
    (finding,) = (b for b in section(blocks, "Summary") if isinstance(b, Bullets))
    assert finding.items == (
        "The fused prediction has mAP 0.9500 [0.9200, 0.9700]. That is +0.1500 [+0.1000, +0.2000], more "
        "than the best modality's own head (images). That is +0.5500 [-0.1000, +0.9000], which is not "
        "clearly different from the best baseline (prior).",
    )
    leave = table(section(blocks, "Modality contribution"), "Leave one out")
    assert leave.rows[0][:2] == ("text", 0.81)
    assert leave.rows[0][2] == pytest.approx(0.14)
    errors = table(section(blocks, "Error analysis"), "By class")
    assert [row[0] for row in errors.rows] == [*reversed(NAMES), "never there"]
    assert math.isnan(errors.rows[-1][1])  # not defined


def test_every_section_is_there_and_says_what_was_not_measured(run):
    _, blocks = build_report([read_run_record(run)])
    headings = [block.text for block in blocks if isinstance(block, Heading)]
    assert headings[: len(SECTIONS)] == [title for title, _ in SECTIONS]
    assert headings[len(SECTIONS) :] == [
        "Comparison across data sets",
        "Comparison with published figures",
    ]
    missing = {block.what: block.command for block in blocks if isinstance(block, Missing)}
    for topic, (what, command) in MEASURES.items():
        if topic != topics.ATTENTION:
            assert missing[what] == command.format(run=run)
    # A table has no boxes.
    assert missing["Attention against boxes (data in COCO's format have them)"] is None
    assert missing["Cross-validation"] == f"python -m mmlearn train {run}/run.json --folds 5"
    assert any("no preset in the run's folder" in what for what in missing)
    (limits,) = section(blocks, "Limitations")
    text = " ".join(limits.items)
    assert "Only 60 validation examples" in text
    assert "The encoder of images was not pretrained" in text
    assert "Not measured: what each part is worth" in text
    assert "synthetic" not in text


def test_evidence_of_any_command_is_shown(run, tmp_path):
    folder = write_run(tmp_path / "with evidence")
    cell = {"value": 0.9, "low": 0.8, "high": 1.0}
    own = {"title": "Fusions", "columns": ["fusion", "mAP"], "rows": [["late", cell]], "note": "n"}
    name = "bars.png"
    (folder / "evidence").mkdir()
    picture = (folder / "figures" / "curves.png").read_bytes()
    (folder / "evidence" / name).write_bytes(picture)
    content = {"tables": [own], "figures": [name], "captions": {name: "Bars"}}
    for topic in ("ablation", "something_new"):
        write_evidence(folder, topic, {**content, "remarks": ["A remark."], "command": "cmd"})
    assert evidence_folder(folder) == str(folder / "evidence")
    _, blocks = build_report([read_run_record(folder)])
    for title, topic in (
        ("Ablation studies", "ablation"),
        ("Further measurements", "something_new"),
    ):
        shown = section(blocks, title)
        assert shown[0] == Bullets(("A remark.",))
        assert shown[1] == Table("Fusions", ("fusion", "mAP"), (("late", cell),), "n")
        assert shown[2] == Picture(f"{topic}-{name}", picture, "Bars")
        assert shown[3].text == "cmd"
    # A folder with a space is quoted in what to type.
    missing = [block.command for block in blocks if isinstance(block, Missing)]
    assert f"python -m mmlearn robustness '{folder}'" in missing


def test_several_runs_are_compared_and_keep_their_pictures_apart(run, tmp_path):
    other = write_run(
        tmp_path / "plants", "plants", metrics={"fused": metrics(0.5)}, intervals={}, comparisons={}
    )
    _, blocks = build_report([read_run_record(run), read_run_record(other)])
    rows = table(section(blocks, "Comparison across data sets"), "Runs").rows
    assert [row[0] for row in rows] == ["1: animals", "2: plants"]
    assert rows[0][4]["value"] == 0.95
    assert rows[1][4] == 0.5  # without an interval
    gains = table(section(blocks, "Comparison across data sets"), "Gain").rows
    assert gains[0] == ("1: animals", "images", 0.8, {"value": 0.15, "low": 0.1, "high": 0.2})
    assert gains[2] == ("2: plants", "", None, None)  # not measured
    names = [block.name for block in blocks if isinstance(block, Picture)]
    assert len(set(names)) == len(names)
    assert {"comparison.png", "run1-curves.png", "run2-curves.png"} <= set(names)


def test_several_heads_have_tables_of_their_own(tmp_path):
    numbers = {"MAE": 1.0, "RMSE": 2.0, "R2": 0.5, "num_examples": 60}
    rows = {"objects_fused": metrics(0.9), "objects_prior": metrics(0.4), "price_fused": numbers}
    folder = write_run(tmp_path / "both", metrics={**rows, "price_mean": {**numbers, "R2": 0.0}})
    _, blocks = build_report([read_run_record(folder)])
    results = section(blocks, "Results")
    assert [row[0] for row in table(results, "Validation: objects").rows] == ["fused", "prior"]
    assert table(results, "Validation: price").columns[1:] == ("R2", "MAE", "RMSE")


def test_another_task_is_shown_by_what_it_was_measured_by(run, tmp_path):
    gain = {"metric": "R@1", "first": "reranked", "second": "plain", "difference": 0.1}
    folder = write_run(
        tmp_path / "finder",
        "finder",
        task="ImageTextRetriever",
        metrics={"plain": {"R@1": 0.5, "MRR": 0.6}, "matching": {"accuracy": 0.9}},
        intervals={"plain": {"R@1": {"low": 0.4, "high": 0.6}}},
        comparisons={"reranking": {**gain, "low": 0.05, "high": 0.15, "p": 0.01}},
        per_class={},
    )
    _, blocks = build_report([read_run_record(folder)])
    shown = table(section(blocks, "Results"), "Validation")
    assert shown.columns == ("of", "R@1", "MRR", "accuracy")
    assert shown.rows[0] == ("plain", {"value": 0.5, "low": 0.4, "high": 0.6}, 0.6, None)
    assert shown.rows[1] == ("matching", None, None, 0.9)
    (gains,) = (block for block in section(blocks, "Results") if isinstance(block, Bullets))
    assert gains.items == ("reranking: R@1 +0.1000 [+0.0500, +0.1500], reranked minus plain",)
    titles = {block.text for block in blocks if isinstance(block, Heading)}
    assert not titles & {"Ablation studies", "Modality contribution", "Error analysis"}
    assert not any(
        isinstance(block, Missing) and "ablate" in (block.command or "") for block in blocks
    )
    _, both = build_report([read_run_record(run), read_run_record(folder)])
    assert table(section(both, "Comparison across data sets"), "Runs").rows[1][0] == "2: finder"


def test_a_fold_shows_the_cross_validation_around_it(tmp_path):
    folder = write_run(tmp_path / "folds" / "fold-1")
    found = {"mean": 0.9, "corrected_low": 0.8, "corrected_high": 1.0, "standard_deviation": 0.02}
    record = {"metrics": {"fused": {"mAP": found}}, "runs": ["a", "b"]}
    (tmp_path / "folds" / "folds.json").write_text(json.dumps(record))
    _, blocks = build_report([read_run_record(folder)])
    shown = table(section(blocks, "Results"), "Cross-validation")
    assert shown.rows == (("fused", {"value": 0.9, "low": 0.8, "high": 1.0}, 0.02),)


def test_published_figures_stand_alone_each_with_its_source(run):
    _, blocks = build_report([read_run_record(run)])
    (published,) = section(blocks, "Comparison with published figures")
    entries = json.loads(PUBLISHED.read_text())["figures"]
    assert len(published.rows) == len(entries)
    for entry in entries:
        assert all(entry[key] for key in ("method", "task", "data", "protocol", "metric", "source"))
        assert 0 < entry["value"] < 1
    methods = {entry["method"] for entry in entries}
    others = [block for block in blocks if isinstance(block, Table) and block != published]
    assert not methods & {str(cell) for each in others for row in each.rows for cell in row}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "run.json").unlink(), "holds no run.json"),
        (lambda f: (f / "run.json").write_text("{"), "run.json' cannot be read"),
        (lambda f: (f / "run.json").write_text("[]"), "it has no 'config'"),
    ],
)
def test_a_damaged_run_is_named(tmp_path, damage, message):
    folder = write_run(tmp_path / "run")
    damage(folder)
    with pytest.raises(ValueError, match=message):
        read_run_record(folder)


def test_old_records_lack_what_they_never_had(tmp_path):
    folder = write_run(tmp_path / "old", metrics={"fused": {"mAP": 0.5}, "images": {"mAP": 0.4}})
    record = json.loads((folder / "run.json").read_text())
    new = ("intervals", "comparisons", "per_class")
    for key in ("task", "remarks", "warnings", "precision", "seconds", "versions", *new):
        del record[key]
    record["data"] = {"fingerprint": "1"}
    (folder / "run.json").write_text(json.dumps(record))
    _, blocks = build_report([read_run_record(folder / "run.json")])
    validation = table(section(blocks, "Results"), "Validation")
    assert validation.rows[0] == ("fused", 0.5)
    assert "Intervals: not measured" in validation.note
    assert any(isinstance(block, Paragraph) for block in section(blocks, "Summary"))
