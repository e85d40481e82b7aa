"""What is measured of a saved model, but for the measuring (`tests/end_to_end/test_main_job.py`)."""

import pytest

from mmlearn.analysis.evidence import read_evidence, write_evidence
from mmlearn.analysis.profile import (
    ProfileOptions,
    find_artefacts,
    model_inputs,
    profile_evidence,
    profile_model,
    size_of,
)
from mmlearn.cli.tables import evidence_table
from tests import toys


def measured(p50, throughput):
    """What is measured of one artefact."""
    names = ("size_mb", "load_seconds", "first_call_ms", "latency_ms_p95", "peak_memory_mb")
    more = {"latency_ms_p50": p50, "throughput": throughput, "gpu_peak_memory_mb": None}
    return {**dict.fromkeys(names, 1.5), **more}


def result(gpus=()):
    """A profile."""
    machine = {"cpu_cores": 2, "memory_gb": 8.0, "gpus": list(gpus)}
    names = ("first_step_seconds", "step_seconds", "examples_per_second", "peak_memory_mb")
    training = {**dict.fromkeys((*names, "memory_before_mb"), 2.0), "gpu_peak_memory_mb": None}
    return {
        "machine": machine,
        "options": {"batch_sizes": [1, 8]},
        "parameters": {"images_encoder": 7, "all": 9},
        "flops": 2_000_000,
        "macs": 900_000,
        "artefacts": {
            "preset": measured(20.0, {"1": 50.0, "8": 100.0}),
            "serving/1": measured(30.0, {"1": 33.0}),
        },
        "training": {"batch_size": 4, **training},
    }


def test_tables_have_a_column_for_each_artefact(tmp_path):
    content = profile_evidence(result(), "my models/a")
    assert read_evidence(write_evidence(tmp_path, "profile", content)) == content
    assert content["command"] == "python -m mmlearn profile 'my models/a'"
    _, operations, artefacts, training = content["tables"]
    assert [row[1] for row in operations["rows"]] == [0.9, 2.0]
    assert artefacts["columns"] == ["", "preset", "serving/1"]
    rows = {row[0]: row[1:] for row in artefacts["rows"]}
    assert rows["latency p50, ms"] == [20.0, 30.0]
    assert rows["examples a second, batch 8"] == [100.0, None]
    assert "2 CPU core(s), 8.0 GB" in artefacts["note"]
    assert "batches of 4" in training["title"]
    tables = [*map(evidence_table, content["tables"])]
    assert [table.row_count for table in tables] == [len(t["rows"]) for t in content["tables"]]


def test_memory_of_a_gpu_is_shown_where_there_is_one():
    def labels(content):
        return {row[0] for table in content["tables"] for row in table["rows"]}

    label = "peak memory of the GPU, MB"
    assert label not in labels(profile_evidence(result(), "a"))
    assert label in labels(profile_evidence(result(["H"]), "a"))
    without = profile_evidence({**result(), "training": None}, "a")
    assert len(without["tables"]) == 3


def test_artefacts_are_found_by_what_is_on_disk(tmp_path):
    for version in ("10", "2", "2.partial"):
        (tmp_path / "serving" / version).mkdir(parents=True)
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "task.json").write_bytes(b"12")
    (tmp_path / "preset" / "assets").mkdir()
    (tmp_path / "preset" / "assets" / "words").write_bytes(b"345")
    (tmp_path / "small.keras").write_bytes(b"6")
    found = find_artefacts(str(tmp_path))
    assert list(found) == ["preset", "serving/2", "serving/10", "small.keras"]
    assert size_of(found["preset"]) == 5
    assert size_of(found["small.keras"]) == 1
    with pytest.raises(ValueError, match="holds no saved model"):
        profile_model(str(tmp_path / "serving"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeats": 0}, "`repeats` must be positive"),
        ({"batch_sizes": ()}, "`batch_sizes` must be positive"),
        ({"batch_sizes": (0,)}, "`batch_sizes` must be positive"),
        ({"train_steps": -1}, "`train_steps` must be positive"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ProfileOptions(**options)


def test_inputs_are_what_models_take():
    classifier = toys.classifier()
    inputs = model_inputs(classifier, 2)
    assert {name: (tuple(v.shape), v.dtype.name) for name, v in inputs.items()} == {
        name: ((2, *tensor.shape[1:]), tensor.dtype) for name, tensor in classifier.input.items()
    }
