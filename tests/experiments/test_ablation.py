"""How an ablation is divided into jobs, summarised and refused. No training."""

import dataclasses

import pytest
from scipy import stats

from mmlearn import experiments
from mmlearn.experiments import ablation
from mmlearn.experiments.ablation import run_ablation, summarize
from mmlearn.experiments.ablation_rows import Row, make_rows
from mmlearn.experiments.config import ContinualConfig

SHAPES = experiments.get("shapes")
TEXT = Row("text only", "modalities", {"model.modalities": ("text",)})
IMAGES = Row("images only", "modalities", {"model.modalities": ("images",)})
ROWS = (
    Row("full", "modalities"),
    TEXT,
    IMAGES,
    Row("late", "fusions", {"model.fusion.name": "late"}),
)
FULL, OTHERS = (
    [0.95, 0.96, 0.94],
    {"text only": [0.85, 0.87, 0.83], "images only": [0.90, 0.91, 0.88]},
)


def result(value, seconds=5.0):
    metrics = {
        "fused": {"mAP": value, "num_examples": 10},
        "prior": {"mAP": 0.3},
        "text": {"mAP": 0.1},
    }
    config = {"model": {"modalities": ["images", "text"]}}
    return {"metrics": metrics, "seconds": {"train": seconds, "total": 9.0}, "config": config}


def results_of(values):
    """Of frozen encoders alone; `values` is a dict of row to a list with a value per seed."""
    encoders = result(0.3, 100.0)
    return {
        (name, seed): {
            "encoders": encoders,
            "frozen": None if value is None else result(value),
            "end_to_end": None,
        }
        for name, own in values.items()
        for seed, value in enumerate(own)
    }


def test_summary_compares_each_row_with_the_full_model():
    values = {"full": FULL, **OTHERS, "late": [0.94, None, 0.935]}
    costs = {row.name: {"parameters": 10} for row in ROWS}
    summary = summarize(ROWS, results_of(values), costs, problems={"late": "it has diverged."})
    rows = {row["name"]: row for row in summary["rows"]}
    assert rows["full"]["frozen"]["seeds"] == {"0": 0.95, "1": 0.96, "2": 0.94}
    assert rows["full"]["frozen"]["minus_full"] is None
    p = stats.ttest_rel(OTHERS["text only"], FULL).pvalue
    assert rows["text only"]["frozen"]["minus_full"]["p"] == pytest.approx(p)
    # Of three tests; the largest p of all is not changed.
    found = [rows[row.name]["frozen"]["minus_full"] for row in ROWS[1:]]
    assert max(f["p_holm"] / f["p"] for f in found) == pytest.approx(3)
    assert rows["late"]["frozen"]["minus_full"]["mean"] == pytest.approx(-0.0075)  # of seeds 0, 2
    assert rows["late"]["problem"] == "it has diverged."
    assert all(row["end_to_end"] is None for row in rows.values())
    assert rows["full"]["frozen"]["encoder_seconds"] == 100.0
    assert summary["baselines"] == {"prior": 0.3}
    best = summary["best_single"]
    assert set(best) == {"frozen"}
    assert best["frozen"]["row"] == "images only"
    assert best["frozen"]["p"] == pytest.approx(stats.ttest_rel(FULL, OTHERS["images only"]).pvalue)
    assert summary["groups"] == {
        "modalities": "Modality contribution",
        "fusions": "Fusion strategies",
    }


def test_another_metric_is_read_from_the_same_runs():
    with pytest.raises(ValueError, match=r"Unknown metric of this task 'AUC'"):
        summarize(ROWS[:1], results_of({"full": FULL}), {"full": None}, metric="AUC")


def test_jobs_are_known_by_what_decides_their_results():
    rows = {
        row.name: row for row in make_rows(SHAPES, own=["a: model.fusion.options.num_layers=1"])
    }
    jobs = {name: ablation._jobs(row, SHAPES, 1) for name, row in rows.items()}
    again = ablation._jobs(rows["full"], SHAPES, 1)
    assert again["end_to_end"].key == jobs["full"]["end_to_end"].key
    everything = [own[kind].key for own in jobs.values() for kind in ("frozen", "end_to_end")]
    assert len(set(everything)) == len(everything)
    assert jobs["late"]["encoders"].key == jobs["full"]["encoders"].key
    assert ablation._jobs(rows["full"], SHAPES, 2)["frozen"].key != jobs["full"]["frozen"].key
    moved = dataclasses.replace(SHAPES, output="elsewhere")
    assert ablation._jobs(rows["full"], moved, 1)["frozen"].key == jobs["full"]["frozen"].key


def test_encoders_come_first_and_once_for_all_rows_that_share_them():
    rows = make_rows(SHAPES)
    jobs = {(row.name, seed): ablation._jobs(row, SHAPES, seed) for row in rows for seed in (0, 1)}
    chains = ablation._chains("frozen", jobs)
    assert len(chains) == 4  # two seeds; each once more, for encoders that were not trained
    assert [chain[0].kind for chain in chains] == ["encoders"] * 4
    assert sorted(len(chain) for chain in chains) == [2, 2, len(rows), len(rows)]
    whole = ablation._chains("end_to_end", jobs)
    assert {len(chain) for chain in whole} == {2}
    assert len(whole) == 2 * len(rows)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"num_seeds": 0}, "--seeds"),
        ({}, {"num_workers": 0}, "--workers"),
        ({}, {"metric": "map"}, "Unknown metric 'map'"),
        ({"folds": 3}, {}, "--folds"),
        ({"continual": ContinualConfig(model="m")}, {}, "--continual.model"),
        ({"cache": dataclasses.replace(SHAPES.cache, features=False)}, {}, "cache.no-features"),
    ],
)
def test_what_cannot_be_ablated_is_refused(changes, options, message, tmp_path):
    experiment = dataclasses.replace(SHAPES, output=str(tmp_path / "out"), **changes)
    with pytest.raises(ValueError, match=message):
        run_ablation(experiment, **options)
    assert not (tmp_path / "out").exists()


def test_a_metric_of_numbers_needs_numbers(shapes_root, tmp_path):
    data = dataclasses.replace(SHAPES.data, root=shapes_root, options={})
    experiment = dataclasses.replace(SHAPES, data=data, output=str(tmp_path / "out"))
    with pytest.raises(ValueError, match=r"multi_label.*R2.*--metric mAP"):
        run_ablation(experiment, metric="R2")
