"""What was measured of a run: its results, and what the evidence in its folder says."""

import math
import os
import shlex

from mmlearn.analysis import evidence as topics
from mmlearn.analysis.document import Bullets, Missing, Paragraph, Table
from mmlearn.analysis.report.measures import MEASURES, read_picture, show_evidence
from mmlearn.analysis.report.words import SHOWN_CLASSES, name_of, title_of

# After the one that a head is judged by; the others stand in a table of their own.
MAIN_METRICS = ("mAP", "macro_F1", "micro_F1", "AUC", "R2", "MAE", "RMSE")
CLASS_METRICS = (
    *("average_precision", "AUC", "precision", "recall", "F1", "R2", "MAE", "RMSE"),
    *("true_positives", "false_positives", "false_negatives"),
)
SHOWN_PICTURES = 3


def show_results(run, scores):
    """Results, with intervals and trivial baselines; calibration; cross-validation."""
    if not scores.heads:
        return _results_of_task(run, scores)
    blocks = []
    for head in scores.heads:
        rows, of = scores.rows(head), f": {title_of(head)}" if head else ""
        fused = rows["fused"]
        main = scores.main(head)
        shown = [main, *(name for name in MAIN_METRICS if name in fused and name != main)]
        table = [
            (name_of(row), *(scores.value(f"{head}{row}", metric) for metric in shown))
            for row in rows
        ]
        note = f"{fused.get('num_examples', '?')} validation examples"
        if "num_classes" in fused:
            note += f", {fused['num_classes']} classes with a positive"
        note += (
            ". A modality's row is that of its own head in this model, not of a model of it alone."
        )
        if any(isinstance(cell, dict) for row in table for cell in row):
            note += " Intervals: 95 %, bootstrap over examples."
        else:
            note += " Intervals: not measured; runs of earlier versions have none."
        columns = ("prediction from", *map(name_of, shown))
        blocks.append(Table(f"Validation{of}", columns, tuple(table), note))
        more = [n for n in fused if n not in shown and not n.startswith("num_")]
        those = [row for row in rows if not row.startswith(("oracle_", "without_"))]
        if more:
            table = tuple(
                (name_of(name), *(rows[row].get(name, "") for row in those)) for name in more
            )
            blocks.append(Table(f"Further metrics{of}", ("metric", *map(name_of, those)), table))
        nothing = rows.get("nothing", {})
        if nothing.get("num_labels", 1) != 1 and "binary_accuracy" in nothing:
            blocks.append(
                Paragraph(
                    f"Accuracy is not what to read: with {nothing['num_labels']:.1f} true labels per "
                    f"example, predicting nothing is right for {nothing['binary_accuracy']:.1%} of all "
                    "labels (binary accuracy)."
                )
            )
    caption = "Calibration: the share that is true of what is predicted with a confidence."
    blocks += [read_picture(path, caption) for path in run.figures("calibration")]
    if run.folds is None:
        command = f"python -m mmlearn train {shlex.quote(run.folder)}/run.json --folds 5"
        return [*blocks, Missing("Cross-validation", command)]
    metric = scores.main(scores.heads[0])
    rows = []
    for name, values in run.folds["metrics"].items():
        if found := values.get(metric):
            whole = {"value": found["mean"], "low": found["corrected_low"]}
            whole["high"] = found["corrected_high"]
            rows.append((name_of(name), whole, found["standard_deviation"]))
    columns = ("prediction from", f"{name_of(metric)}, mean of folds", "deviation of a fold")
    note = (
        f"{len(run.folds['runs'])} folds; intervals 95 %, corrected for the data that folds share."
    )
    return [*blocks, Table("Cross-validation", columns, tuple(rows), note)]


def _results_of_task(run, scores):
    """Results of a task that has no heads: all that it was measured by, and its figures."""
    metrics = list(dict.fromkeys(name for own in scores.metrics.values() for name in own))
    rows = tuple(
        (name_of(row), *(scores.value(row, metric) for metric in metrics)) for row in scores.metrics
    )
    columns = ("of", *map(name_of, metrics))
    note = "Intervals: 95 %, bootstrap over images, whose captions or questions stay together."
    blocks = [Table("Validation", columns, rows, note)]
    lines = [
        f"{title_of(name)}: {each['metric']} {each['difference']:+.4f} [{each['low']:+.4f}, "
        f"{each['high']:+.4f}], {name_of(each['first'])} minus {name_of(each['second'])}"
        for name, each in (run.record.get("comparisons") or {}).items()
    ]
    if lines:
        blocks.append(Bullets(tuple(lines)))
    drawn = [path for path in run.figures("") if os.path.basename(path) != "curves.png"]
    for path in drawn[:SHOWN_PICTURES]:
        blocks.append(
            read_picture(path, f"{name_of(os.path.splitext(os.path.basename(path))[0])}.")
        )
    return blocks


def show_ablations(run, scores):
    """Ablation studies."""
    return show_evidence(run, topics.ABLATION)


def show_attention(run, scores):
    """Attention: some figures of the run, and the evidence."""
    paths = run.figures("attention_")
    blocks = [
        read_picture(
            path, "What each word of a caption attends to in the image; above, what is predicted."
        )
        for path in paths[:SHOWN_PICTURES]
    ]
    if len(paths) > SHOWN_PICTURES:
        blocks.append(
            Paragraph(f"{SHOWN_PICTURES} of {len(paths)}; the others are in the run's folder.")
        )
    if not paths:
        blocks.append(
            Missing("Attention figures (models with attention from words to images have them)")
        )
    return [*blocks, *show_evidence(run, topics.ATTENTION)]


def show_contribution(run, scores):
    """Leave-one-out, what was measured while training, and the evidence."""
    blocks = []
    for head in scores.heads:
        rows, metric = scores.rows(head), scores.main(head)
        fused = rows["fused"].get(metric)
        found = [
            (row.removeprefix("without_"), values[metric], fused - values[metric])
            for row, values in rows.items()
            if row.startswith("without_") and metric in values and fused is not None
        ]
        if found:
            title = f"Leave one out: {title_of(head)}" if head else "Leave one out"
            note = f"With all: {fused:.4f}. The learned missing token stands in."
            blocks.append(Table(title, ("without", name_of(metric), "drop"), tuple(found), note))
    if not blocks:
        blocks.append(Missing("Leave one out (of two modalities or more)"))
    rows = []
    for phase in run.record["history"]:
        history = phase.get("history") or {}
        for name in history:
            if name.startswith("contribution_") and f"{name}_low" in history:
                values = (history[f"{name}{end}"][-1] for end in ("", "_low", "_share"))
                rows.append((str(phase.get("name")), name.removeprefix("contribution_"), *values))
    if rows:
        columns = ("phase", "modality", "loss without it minus with it", "low", "share of the loss")
        note = "At the end of each phase that trains the fusion; low is that of a 95 % interval."
        blocks.append(Table("Contribution to the loss in validation", columns, tuple(rows), note))
    return [*blocks, *show_evidence(run, topics.CONTRIBUTION)]


def show_robustness(run, scores):
    """Robustness."""
    return show_evidence(run, topics.ROBUSTNESS)


def show_errors(run, scores):
    """What is missed and invented by class; what is taken for what; and the evidence."""
    blocks = []
    recorded = run.record.get("per_class") or {}
    for head in scores.heads:
        classes = recorded.get(f"{head}fused")
        if not classes:
            continue
        of = f": {title_of(head)}" if head else ""
        first = next(iter(classes.values()))
        columns = [name for name in CLASS_METRICS if name in first]
        worst = sorted(classes.items(), key=lambda each: _badness(each[1]))[:SHOWN_CLASSES]
        rows = tuple((name, *(_defined(each[c]) for c in columns)) for name, each in worst)
        note = f"The {len(worst)} worst of {len(classes)}." if len(worst) < len(classes) else ""
        blocks.append(Table(f"By class{of}", ("", *map(name_of, columns)), rows, note))
    if not blocks:
        blocks.append(Missing("Metrics of each class (runs of earlier versions have none)"))
    caption = "Confusion: which labels are predicted in the place of which."
    blocks += [read_picture(path, caption) for path in run.figures("confusion")]
    return [*blocks, *show_evidence(run, topics.ERRORS)]


def _badness(metrics):
    """What classes are sorted by, the worst first; what is not defined comes last."""
    value = metrics.get("average_precision", metrics.get("R2"))
    return math.inf if value is None else value


def _defined(value):
    return math.nan if value is None else value


def show_cost(run, scores):
    """Computational cost."""
    return show_evidence(run, topics.PROFILE)


def show_further(run, scores):
    """Evidence of topics that have no section of their own."""
    others = [topic for topic in run.evidence if topic not in MEASURES]
    if not others:
        return [Paragraph("None.")]
    return [block for topic in others for block in show_evidence(run, topic)]
