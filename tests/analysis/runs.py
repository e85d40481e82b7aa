"""A hand-written run on disk, for reports."""

import json

import cv2
import numpy as np

NAMES = ["<script>alert(1)</script>", "b|c", "dog"]


def metrics(value, **more):
    """The metrics of one row."""
    counts = {"num_examples": 60, "num_classes": 3, "num_labels": 1.5}
    return {"mAP": value, "AUC": value, "binary_accuracy": 0.7, **counts, **more}


def by_class(value):
    """The metrics of one class."""
    return {"average_precision": value, "F1": value, "false_positives": 3, "true_negatives": 50}


def write_run(folder, name="animals", **changes):
    """Writes a run without a model: its record and one figure; returns the folder."""
    folder.mkdir(parents=True)
    (folder / "figures").mkdir()
    picture = np.zeros((4, 6, 3), np.uint8)
    assert cv2.imwrite(str(folder / "figures" / "curves.png"), picture)
    values = {"fused": 0.95, "images": 0.8, "text": 0.7, "nothing": 0.4, "prior": 0.4}
    rows = {row: metrics(value) for row, value in values.items()}
    rows["without_text"] = metrics(0.81)
    difference = {"metric": "mAP", "first": "fused", "num_examples": 60, "p": 0.001}
    single = {**difference, "second": "images", "difference": 0.15, "low": 0.1, "high": 0.2}
    trivial = {**difference, "second": "prior", "difference": 0.55, "low": -0.1, "high": 0.9}
    classes = {name: by_class(0.9 - 0.1 * place) for place, name in enumerate(NAMES)}
    phase = {"name": "end to end", "epochs": 2, "trainable": ["all"], "learning_rate": 1e-3}
    record = {
        "task": "MultimodalClassifier",
        "config": {
            "name": name,
            "data": {"source": "table", "augmentations": []},
            "model": {
                "modalities": ["images", "text"],
                "images": {"name": "resnet_tiny", "weights": "none", "image_size": 32},
                "text": {"name": "bert_tiny", "weights": "default"},
                "fusion": {"name": "concat", "options": {}},
                "hidden_dim": 16,
            },
            "training": {"phases": [phase], "batch_size": 8, "seed": 3},
        },
        "metrics": rows,
        "intervals": {"fused": {"mAP": {"low": 0.92, "high": 0.97}}},
        "comparisons": {"fusion_effectiveness": single, "over_baseline": trivial},
        "per_class": {"fused": {**classes, "never there": by_class(None)}},
        "history": [
            {"name": "end to end", "history": {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2]}},
        ],
        "remarks": ["end to end: too few epochs (2) to tell a trend."],
        "warnings": [],
        "precision": "float32",
        "seconds": {"total": 12.5},
        "data": {
            "fingerprint": "0123456789abcdef",
            "settings": {},
            "reports": {"train": {"images": 100}, "val": {"images": 60}},
            "skipped": [{"path": "x<y>.jpg", "split": "train", "reason": "cannot be decoded"}],
            "label_names": NAMES,
            "label_prior": [0.4, 0.3, 0.2],
        },
        "versions": {"keras": "3"},
        **changes,
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder
