"""What the tables of an ablation say, and what they say where nothing was measured."""

import csv
import io
import os

import cv2
import pytest

from mmlearn.analysis.ablation_tables import (
    escape_latex,
    make_evidence,
    make_short_table,
    make_tables,
    notes,
    plot_ablation,
    to_csv,
    to_latex,
    to_markdown,
)
from mmlearn.analysis.document import to_html
from mmlearn.analysis.evidence import evidence_folder, read_evidence, write_evidence
from mmlearn.analysis.evidence_blocks import evidence_blocks


def column(mean, minus=None, p=0.00004, **changes):
    own = {
        "seeds": {"0": mean, "1": mean},
        "mean": mean,
        "standard_deviation": 0.001,
        "low": mean - 0.002,
        "high": mean + 0.002,
        "minus_full": None,
        "train_seconds": 20.4,
        "encoder_seconds": 100.0,
        "num_examples": 50,
    }
    if minus is not None:
        ends = {"low": minus - 0.001, "high": minus + 0.001, "standard_deviation": 0.001}
        own["minus_full"] = {"mean": minus, **ends, "p": p / 2, "p_holm": p}
    return {**own, **changes}


def row(name, group, frozen=None, end_to_end=None, problem=None, costs="measured"):
    measured = {"parameters": 12345, "trained_frozen": 45, "trained": 12300, "flops": 3.2e9}
    costs = {**measured, "latency_ms": 4.56} if costs else None
    kinds = {"frozen": frozen, "end_to_end": end_to_end}
    return {"name": name, "group": group, "values": {}, "problem": problem, "costs": costs, **kinds}


@pytest.fixture
def record():
    best = {"row": "images only", "mean": 0.05, "low": 0.04, "high": 0.06, "p": 0.002}
    return {
        "config": {"name": "shapes_100%", "model": {"fusion": {"name": "cross_attention"}}},
        "metric": "mAP",
        "seeds": [0, 1],
        "groups": {"modalities": "Modality contribution", "fusions": "Fusion strategies"},
        "baselines": {"prior": 0.33, "oracle_union": 0.98},
        "best_single": {"frozen": {**best, "standard_deviation": 0.01}},
        "rows": [
            row("full", "modalities", column(0.95), column(0.98)),
            row("images only", "modalities", column(0.90, -0.05), column(0.92, -0.06, 0.0123)),
            row("gated_sum", "fusions", column(0.94, -0.01)),
            row("broken", "fusions", problem="it has diverged.", costs=None),
        ],
    }


def test_tables_hold_means_intervals_differences_and_tests(record):
    modalities, fusions, costs = make_tables(record)
    assert modalities["title"] == "Modality contribution"
    assert modalities["rows"] == [
        [
            *("full (cross_attention)", "0.9500 [0.9480, 0.9520]", "-", "-"),
            *("0.9800 [0.9780, 0.9820]", "-", "-", "120"),
        ],
        [
            *("images only", "0.9000 [0.8980, 0.9020]", "-0.0500 [-0.0510, -0.0490]", "< 0.0001"),
            *("0.9200 [0.9180, 0.9220]", "-0.0600 [-0.0610, -0.0590]", "0.0123", "120"),
        ],
        ["prior", "0.3300", "-", "-", "0.3300", "-", "-", "-"],
        ["oracle union", "0.9800", "-", "-", "0.9800", "-", "-", "-"],
    ]
    assert [cells[0] for cells in fusions["rows"]] == [
        "full (cross_attention)",
        "gated_sum",
        "broken",
    ]
    assert costs["rows"][1][1:] == ["20", "120", "12,345", "45", "12,300", "3.2", "4.6"]


def test_what_was_not_measured_is_said_and_no_cell_is_blank(record):
    for table in make_tables(record):
        for cells in table["rows"]:
            assert len(cells) == len(table["columns"])
            assert all(cells)
    fusions = make_tables(record)[1]["rows"]
    assert fusions[1][4:] == ["not measured"] * 4
    assert fusions[2][1:] == ["not measured"] * 7
    assert make_tables(record)[2]["rows"][3][1:] == ["not measured"] * 7


def test_short_table_leaves_out_what_was_not_trained(record):
    table = make_short_table(record)
    rows = table["rows"]
    assert table["title"] == "shapes_100%, mean of 2 seed(s)"
    assert len(table["columns"]) == 6
    assert rows[3] == ["images only", "end to end", "0.9200", "-0.0600", "0.0123", "120"]
    assert [cells[:2] for cells in rows[4:6]] == [
        ["gated_sum", "frozen"],
        ["broken", "not measured"],
    ]


def test_one_seed_has_neither_interval_nor_test(record):
    for each in record["rows"][:2]:
        for kind in ("frozen", "end_to_end"):
            own = each[kind]
            own.update(low=None, high=None, standard_deviation=None, seeds={"0": own["mean"]})
            if own["minus_full"]:
                own["minus_full"].update(low=None, high=None, p=None, p_holm=None)
    cells = make_tables(record)[0]["rows"][1]
    assert cells[1:4] == ["0.9000 (one seed)", "-0.0500 (one seed)", "not measured"]


def test_notes_name_the_best_single_modality_and_what_is_odd(record):
    record["rows"][1]["frozen"].update(seeds={"0": 0.9}, num_examples=40)
    text = "\n".join(notes(record))
    assert "(images only), frozen encoders: +0.0500 [+0.0400, +0.0600], p 0.0020" in text
    assert "Holm" in text
    assert "two-sided paired t-test" in text
    assert "images only, frozen encoders: of 1 seed(s) only." in text
    assert "(40 to 50)" in text
    assert "broken: it has diverged." in text
    assert "To the last digit" not in text
    record["rows"][2]["frozen"]["seeds"] = record["rows"][0]["frozen"]["seeds"]
    assert "results, frozen encoders: gated_sum." in "\n".join(notes(record))


def test_markdown_is_a_table_per_group(record):
    text = to_markdown(record)
    assert text.startswith("# Ablation of shapes\\_100%\n")
    assert r"| images only | 0.9000 \[0.8980, 0.9020\] |" in text
    widths = {line.count("|") for line in text.split("## Costs")[0].splitlines() if "|" in line}
    assert widths == {9}


def test_latex_prints_every_sign_as_it_is(record):
    assert escape_latex(r"a_b & 95 % #1 $x {y} ~ ^ \z < >") == (
        r"a\_b \& 95 \% \#1 \$x \{y\} \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{}z \textless{} \textgreater{}"
    )
    text = to_latex(record)
    assert r"\caption{Modality contribution, shapes\_100\%}" in text
    assert r"gated\_sum & 0.9400 [0.9380, 0.9420] &" in text
    assert r"\textless{} 0.0001" in text
    assert text.count(r"\begin{tabular}{lrrrrrrr}") == text.count(r"\end{tabular}") == 3
    assert text.count("{") == text.count("}")


def test_csv_has_all_digits_and_a_line_per_row_and_training(record):
    record["rows"][0]["frozen"]["mean"] = 0.123456789012
    lines = list(csv.DictReader(io.StringIO(to_csv(record))))
    assert len(lines) == 8
    assert lines[0]["mean"] == "0.123456789012"
    assert lines[0]["minus_full_p"] == "-"
    assert lines[3]["minus_full_p_holm"] == "0.0123"
    assert lines[5]["mean"] == lines[6]["flops"] == "not measured"
    assert all(all(line.values()) for line in lines)


def test_figure_is_drawn_and_the_report_can_show_it_all(record, tmp_path):
    path = os.path.join(evidence_folder(tmp_path), "ablation.png")
    plot_ablation(record, path)
    content = make_evidence(record, "ablation.png")
    assert read_evidence(write_evidence(tmp_path, "ablation", content)) == content
    assert "[0.8980, 0.9020]" in to_html("a", evidence_blocks(content, evidence_folder(tmp_path)))
    picture = cv2.imread(path)
    assert picture.shape[1] > 900
    blue, _, red = (picture[..., channel].astype(int) for channel in range(3))
    assert (blue - red > 100).any()  # frozen
    assert (red - blue > 100).any()  # end to end
