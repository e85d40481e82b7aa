"""How a run was made: its data, its model, its training, and how to repeat it."""

import json
import os
import shlex

import numpy as np

from mmlearn.analysis.architecture import draw_architecture
from mmlearn.analysis.document import Bullets, Code, Missing, Paragraph, Picture, Table
from mmlearn.analysis.hyper_parameters import (
    PHASE_COLUMNS,
    PHASES_NOTE,
    phase_rows,
    setting_rows,
)
from mmlearn.analysis.report.measures import read_picture
from mmlearn.analysis.report.words import SHOWN_CLASSES, fingerprint_of, join, name_of, plain

SHOWN_LEFT_OUT = 10


def describe_data(run, scores):
    """Dataset analysis and preparation."""
    data, config = run.record["data"], run.record["config"].get("data") or {}
    blocks = [Paragraph(f"Source {config.get('source')!r}, fingerprint {fingerprint_of(data)}.")]
    reports = data.get("reports") or {}
    if reports:
        what = list(dict.fromkeys(name for report in reports.values() for name in report))
        rows = [(name, *(report.get(name, "") for report in reports.values())) for name in what]
        blocks.append(Table("What was found", ("", *reports), tuple(rows)))
    if settings := data.get("settings"):
        rows = tuple((name, plain(value)) for name, value in settings.items())
        blocks.append(Table("Settings of the source", ("setting", "value"), rows))
    names, prior = data.get("label_names") or [], data.get("label_prior") or []
    if names and len(prior) == len(names):
        is_number = any(scores.main(head) == "R2" for head in scores.heads)
        order = np.argsort(-np.asarray(prior, float), kind="stable")[:SHOWN_CLASSES]
        rows = [[names[c], prior[c]] for c in order]
        columns = ["target" if is_number else "class", "mean" if is_number else "share in training"]
        note = ""
        if len(names) > SHOWN_CLASSES:
            note = f"The {SHOWN_CLASSES} most frequent of {len(names)}."
        blocks.append(Table("Labels", tuple(columns), tuple(map(tuple, rows)), note))
    return blocks


def describe_pipeline(run, scores):
    """Data pipeline: what happens to an example, and what was left out."""
    record = run.record
    config, skipped = record["config"].get("data") or {}, record["data"].get("skipped") or []
    folds, fraction = config.get("num_folds"), config.get("val_fraction")
    split = "the splits of the data, or a fifth for validation where they have none"
    if folds:
        split = f"fold {config.get('fold', 0) + 1} of {folds} is the validation split"
    elif fraction:
        split = f"{fraction} of the examples for validation"
    items = [
        f"Splits: {split}; examples of one image stay together.",
        f"Augmentation of training examples: {join(config.get('augmentations') or ['none'])}.",
        f"Left out because they cannot be read: {len(skipped)} image(s).",
        "The same preprocessor runs in training, in prediction and in the exported model; a missing "
        "modality is replaced by a learned token.",
    ]
    blocks = [Bullets(tuple(items))]
    if skipped:
        rows = tuple(
            (str(item.get("path", "")), str(item.get("split", "")), str(item.get("reason", "")))
            for item in skipped[:SHOWN_LEFT_OUT]
        )
        more = len(skipped) - len(rows)
        note = f"{more} more are in run.json." if more else ""
        blocks.append(Table("Left out", ("image", "split", "why"), rows, note))
    return blocks


def describe_architecture(run, scores):
    """Neural network architecture: a drawing, and the parameters of each part."""
    description = run.architecture
    if description is None:
        return [Missing("The model's parts (no preset in the run's folder that can be built here)")]
    drawing = draw_architecture(description).encode()
    fusion = description["fusion"]
    caption = (
        f"The model. Features are projected to {description['hidden_dim']}, with a dropout of "
        f"{description['dropout']}; a whole modality is hidden from a training example with a "
        f"probability of {description['modality_dropout']} and replaced by its missing token. The fusion "
        f"combines {fusion['combines']}."
    )
    if description["auxiliary"]:
        caption += (
            " Auxiliary heads predict from each modality alone"
            f"; how far they are apart is measured by {description['consistency']}."
        )
    parts = description["parts"]
    total = sum(parts.values())
    rows = [(name_of(name), count, count / total) for name, count in parts.items()]
    return [
        Picture("architecture.svg", drawing, caption),
        Table(
            "Parameters by part",
            ("part", "parameters", "share"),
            (*rows, ("in all", total, 1.0)),
            "Projections and missing tokens count with the fusion.",
        ),
    ]


def describe_settings(run, scores):
    """Experimental setup: hyper-parameters with why."""
    config, versions = run.record["config"], run.record.get("versions") or {}
    phases = (config.get("training") or {}).get("phases") or []
    blocks = [
        Table(
            "Hyper-parameters",
            ("setting", "value", "why"),
            tuple(map(tuple, setting_rows(config))),
        )
    ]
    if phases:
        rows = tuple(map(tuple, phase_rows(phases)))
        blocks.append(Table("Phases", tuple(PHASE_COLUMNS.values()), rows, PHASES_NOTE))
    if versions:
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        backend = run.record.get("backend")
        blocks.append(
            Paragraph(f"Versions: {listed}" + (f"; Keras on {backend}." if backend else "."))
        )
    return blocks


def describe_training(run, scores):
    """Training dynamics: the figure of convergence, what it advises, losses and seconds."""
    blocks = []
    if curves := run.figures("curves"):
        caption = (
            "Convergence: loss and metric by epoch, training and validation, phase after phase."
        )
        blocks.append(read_picture(curves[0], caption))
    else:
        blocks.append(Missing("The convergence figure"))
    if lines := run.record.get("remarks"):
        blocks.append(Bullets(tuple(lines)))
    rows = []
    for phase in run.record["history"]:
        history = phase.get("history") or {}
        last = [history[n][-1] if history.get(n) else None for n in ("loss", "val_loss")]
        rows.append((str(phase.get("name")), len(history.get("loss") or ()), *last))
    columns = ("phase", "epochs", "training loss", "validation loss")
    note = "At the end of each phase. Phases have losses of their own, which do not compare."
    blocks.append(Table("Losses", columns, tuple(rows), note))
    if seconds := run.record.get("seconds"):
        rows = tuple((name, value) for name, value in seconds.items())
        blocks.append(Table("Seconds", ("stage", "seconds"), rows))
    return blocks


def describe_reproduction(run, scores):
    """Reproduction: the command, and all settings."""
    config = json.dumps(run.record["config"], indent=2)
    path = shlex.quote(os.path.join(run.folder, "run.json"))
    return [
        Paragraph(
            "The same result to the last digit, on the same data, versions and kind of device "
            f"(fingerprint of the data: {fingerprint_of(run.record['data'])}):"
        ),
        Code(f"python -m mmlearn train {path} --output OTHER_FOLDER"),
        Code(config, "All settings"),
    ]
