"""What is printed of results fits into a terminal and says what to read."""

import io

import numpy as np
from rich.console import Console

from mmlearn.cli.tables import (
    accuracy_remark,
    comparison_lines,
    evidence_table,
    metrics_table,
    per_class_table,
    shown_metrics,
)
from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.evaluation.multiclass import multiclass_metrics
from mmlearn.evaluation.per_class import per_class
from mmlearn.evaluation.regression import regression_metrics


def scores(labels):
    nothing = np.zeros(labels.shape)
    return {name: multilabel_metrics(labels, nothing) for name in ("fused", "nothing", "prior")}


def several_labels():
    labels = np.zeros((10, 8), int)
    labels[:, :2] = 1
    return labels


def test_a_table_of_metrics_is_whole_in_80_columns():
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table(scores(several_labels()), "coco, validation"))
    printed = console.file.getvalue()
    assert "…" not in printed
    assert printed.count("0.7500") == 3  # binary accuracy
    assert max(map(len, printed.splitlines())) <= 80


def test_several_labels_are_not_to_be_judged_by_accuracy():
    remark = accuracy_remark(scores(several_labels()))
    assert "with 2.0 true labels per example" in remark
    assert "nothing is right for 75.0% of all labels" in remark


def test_one_label_per_example_needs_no_remark():
    assert accuracy_remark(scores(np.eye(3, dtype=int))) is None


def test_intervals_fit_into_80_columns_and_so_does_each_class():
    labels = several_labels()
    metrics = {
        "without_images": multilabel_metrics(labels, np.zeros(labels.shape)),
        **scores(labels),
    }
    intervals = {"fused": {"mAP": {"low": 0.123, "high": 0.456}}}
    classes = per_class(
        "multi_label", labels, np.zeros(labels.shape), [f"class {c}" for c in range(8)]
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table(metrics, "coco, validation", intervals))
    console.print(per_class_table(classes, "fused"))
    printed = console.file.getvalue()
    assert "…" not in printed
    (line,) = [line for line in printed.splitlines() if "0.123 to 0.456" in line]
    assert line.startswith("│fused ")
    (line,) = [line for line in printed.splitlines() if "class 1" in line]
    # Ten positives, all missed; with nothing predicted there is no precision, without negatives no AUC.
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["class 1", "1.000", "", "", "0.000", "0.000", "0", "0", "10"]


def test_tables_show_the_metrics_of_the_kind():
    one = multiclass_metrics(np.eye(7, dtype=int), np.eye(7))
    numbers = regression_metrics(np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]]))
    assert shown_metrics(one) == ["top_1_accuracy", "top_5_accuracy", "macro_F1", "AUC", "mAP"]
    assert shown_metrics(numbers) == ["R2", "MAE", "RMSE"]
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table({"scene_fused": one, "price_fused": numbers}, "two heads"))
    assert "price fused" in console.file.getvalue()


def test_metrics_of_captions_fit_into_80_columns():
    names = ("CIDEr-D", "ROUGE-L", "BLEU-1", "BLEU-4", "faithfulness", "coverage")
    values = {**dict.fromkeys(names, 0.25), "share_of_person": 0.9}
    rows = dict.fromkeys(("model", "beam", "most_frequent", "nearest", "person"), values)
    intervals = {row: {"CIDEr-D": {"low": 0.125, "high": 0.375}} for row in rows}
    console = Console(file=io.StringIO(), width=80)
    console.print(metrics_table(rows, "validation", intervals))
    text = console.file.getvalue()
    assert "\u2026" not in text
    assert all(name in text for name in ("CIDEr-D", "0.125 to 0.375", "BLEU-4", "faithfulness"))


def test_comparisons_are_said_in_a_line():
    found = {
        "metric": "mAP",
        "first": "fused",
        "second": "text",
        "difference": 0.05,
        "num_examples": 9,
    }
    found |= {"low": -0.01, "high": 0.1, "p": 0.0001}
    assert comparison_lines({"fusion_effectiveness": found}) == [
        "fusion effectiveness: mAP +0.0500 (-0.0100 to +0.1000, p < 0.001), fused minus text"
    ]


def test_evidence_fits_into_80_columns_with_how_far_its_intervals_reach():
    interval = {"value": 0.5, "low": 0.47, "high": 0.51}
    table = {
        "title": "mAP with damaged images",
        "columns": ["damage", "middle", "strongest", "area", "relative"],
        "rows": [["of another example", interval, interval, interval, None]],
        "note": "95 % intervals",
    }
    console = Console(width=80, file=io.StringIO())
    console.print(evidence_table(table))
    text = console.file.getvalue()
    assert text.count("0.500 ±0.030") == 3
    assert "not measured" in text
    assert "95 % intervals" in text


def test_evidence_with_long_headers_leaves_the_names_of_the_rows():
    interval = {"value": 0.0, "low": -0.001, "high": 0.002}
    columns = ["modalities", "metric", "Keras, float32", "tf_saved_model, float32"]
    columns += ["tf_saved_model, float16", "change", "largest difference of a prediction"]
    row = ["images + text", "mAP", 0.4165, 0.4164, 0.4163, interval, 0.0001963]
    console = Console(width=80, file=io.StringIO())
    console.print(evidence_table({"columns": columns, "rows": [row]}))
    text = console.file.getvalue()
    assert "\u2026" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert all(each in text for each in ("modalities", "images +", "mAP", "0.4165", "0.0001963"))
