"""Finds where a saved model is wrong, as evidence of its run."""

import csv
import os

import numpy as np

from data_prep.pipeline import build_dataset
from data_prep.splits import Selection
from mmlearn.analysis.errors import plot_classes, plot_slices
from mmlearn.analysis.evidence import ERRORS
from mmlearn.analysis.example_slices import slice_examples
from mmlearn.analysis.gallery import plot_gallery
from mmlearn.evaluation.confusion import find_errors, predicted_labels
from mmlearn.evaluation.evaluate import evaluate
from mmlearn.evaluation.example_scores import example_score_name, example_scores
from mmlearn.evaluation.per_class import false_rate, miss_rate, order_by_errors, per_class
from mmlearn.evaluation.slices import LEVEL, compare_slices
from mmlearn.experiments.findings import leave_findings
from mmlearn.experiments.opened import open_model_and_data
from mmlearn.experiments.watched import watched

NAMED = 4  # wrong labels under a picture
SHOWN_CLASSES = 15  # in the table; all are in the JSON


def find_failures(
    model,
    data,
    split="val",
    batch_size=32,
    max_examples=None,
    num_worst=12,
    threshold=None,
    num_permutations=10_000,
    seed=0,
    output=None,
    command="",
    console=None,
):
    """Finds the worst examples, the errors of each class, and slices that are worse than the rest.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str.
        batch_size: int.
        max_examples: int, or `None`. If the split has more, so many are drawn.
        num_worst: int. Examples in the gallery.
        threshold: float. A label is predicted from this probability on; `None` for the thresholds that
            the model was calibrated with, or else 0.5.
        num_permutations: int. Of the test of the slices.
        seed: int. Of all draws.
        output: str. The folder in which `evidence/` is made, by default the model's.
        command: str. For the record.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The evidence, see `mmlearn.analysis.evidence`, with `slices` (see `compare_slices`), `classes`
        (see `per_class`; of numbers `None`) and `worst` (ids and losses). It is left as `errors.json`
        and `.md`, with the pictures `errors_worst.png`, `errors_slices.png` and `errors_classes.png`;
        `errors_examples.csv` has the loss of each example, the largest first.

    Raises:
        ValueError: when the model, the data or an option is not right.
    """
    if num_worst < 1:
        raise ValueError(f"`num_worst` (--worst) must be at least 1. Received: {num_worst}.")
    opened = open_model_and_data(model, data, split, batch_size, max_examples, seed)
    task, source = opened.task, opened.source
    head = task.described[task.main_output]
    if threshold is None:
        threshold = 0.5 if head.thresholds is None else np.asarray(head.thresholds)
    with opened.naming_bad_images():
        with watched(opened.dataset, console, "predicting") as dataset:
            _, found = evaluate(task, dataset, opened.prior)
        found = {name: found[task.own_name(name, head)] for name in ("labels", "fused")} | {
            m: found[task.own_name(m, head)]
            for m in task.backbone.modalities
            if task.own_name(m, head) in found
        }
        slices = slice_examples(source, split)
        labels = found.pop("labels")
        losses = {name: -example_scores(head, labels, p) for name, p in found.items()}
        order = np.argsort(np.nan_to_num(-losses["fused"], nan=np.inf), kind="stable")
        worst = order[:num_worst]
        gallery = _gallery(head, source, split, worst, labels, found["fused"], losses, threshold)
    compared = compare_slices(
        losses["fused"], slices, num_permutations, seed=seed, groups=source.examples(split).groups
    )
    classes, wrong = None, None
    if not head.is_regression:
        classes = per_class(head.kind, labels, found["fused"], head.label_names, threshold)
        wrong = find_errors(labels, predicted_labels(head.kind, found["fused"], threshold))
    ids = source.examples(split).ids
    content = _describe(head, compared, classes, losses["fused"], threshold)
    content.update(
        command=command,
        slices=compared,
        classes=classes,
        worst=[{"id": ids[row], "loss": float(losses["fused"][row])} for row in worst],
    )

    def draw(folder):
        plot_gallery(gallery, os.path.join(folder, "errors_worst.png"))
        if compared:
            plot_slices(compared, os.path.join(folder, "errors_slices.png"))
        if classes is not None:
            plot_classes(classes, os.path.join(folder, "errors_classes.png"))
        path = os.path.join(folder, "errors_examples.csv")
        _write_examples(path, ids, losses, order, wrong, head.label_names)

    return leave_findings(output or model, ERRORS, "Errors", content, draw)


def _gallery(head, source, split, rows, labels, predictions, losses, threshold):
    """What the gallery shows of some examples, in their order."""
    chosen = Selection(source, {split: (split, rows)})
    examples = list(build_dataset(chosen, split).as_numpy_iterator())
    gallery = []
    for row, example in zip(rows, examples, strict=True):
        own = [f"{name} {each[row]:.2f}" for name, each in losses.items() if name != "fused"]
        loss = f"loss {losses['fused'][row]:.2f}" + (f" (alone: {', '.join(own)})" if own else "")
        gallery.append(
            {
                "image": example.get("images"),
                "text": example["text"].decode(errors="replace") if "text" in example else "",
                "lines": [loss, *_wrong_lines(head, labels[row], predictions[row], threshold)],
            }
        )
    return gallery


def _wrong_lines(head, labels, predictions, threshold):
    names = head.label_names
    if head.is_regression:
        apart = np.argsort(-np.abs(labels - predictions) / np.asarray(head.deviations))[:NAMED]
        return [f"{names[c]}: {predictions[c]:.4g} instead of {labels[c]:.4g}" for c in apart]
    predicted = predicted_labels(head.kind, predictions[None], threshold)
    missed, false = find_errors(labels[None], predicted)
    lines = []
    for what, wrong, sign in (("missed", missed[0], 1), ("wrong", false[0], -1)):
        columns = np.flatnonzero(wrong)
        columns = columns[np.argsort(sign * predictions[columns])]
        named = [f"{names[c]} {predictions[c]:.2f}" for c in columns[:NAMED]]
        if len(columns) > NAMED:
            named.append(f"{len(columns) - NAMED} more")
        if named:
            lines.append(f"{what}: {', '.join(named)}")
    return lines or ["all labels right"]


def _describe(head, compared, classes, losses, threshold):
    loss = f"minus the {example_score_name(head)}"
    if head.is_regression:
        loss = "the squared error in standard deviations"
    tables, remarks, figures = [], [], ["errors_worst.png"]
    captions = {
        "errors_worst.png": "The examples with the largest loss; alone: of the modalities' own heads",
        "errors_slices.png": "Slices whose loss is larger or smaller than that of the rest",
        "errors_classes.png": "Errors of the classes with the most",
    }
    if compared:
        figures.append("errors_slices.png")
        shown = sorted(compared, key=lambda each: -each["difference"]["value"])
        tables.append(
            {
                "title": f"Loss by slice, {np.sum(~np.isnan(losses))} examples",
                "columns": ["slice", "examples", "inside", "outside", "difference", "p"],
                "rows": [
                    [
                        each["name"],
                        each["num_examples"],
                        each["inside"],
                        each["outside"],
                        each["difference"],
                        f"{each['p_holm']:.2g}",
                    ]
                    for each in shown
                ],
                "note": f"The loss is {loss}, a mean over the examples inside and outside of the "
                f"slice. p: permutation test, corrected for {len(compared)} slices by Holm's method; "
                f"significant below {LEVEL}.",
            }
        )
        remarks += _case_remarks(compared)
    if classes is not None:
        figures.append("errors_classes.png")
        most = order_by_errors(classes)
        tables.append(
            {
                "title": f"Errors by class, the {min(SHOWN_CLASSES, len(most))} with the most of "
                f"{len(most)}",
                "columns": ["class", "true", "missed", "miss rate", "wrongly found", "false rate"],
                "rows": [
                    [
                        name,
                        each["true_positives"] + each["false_negatives"],
                        each["false_negatives"],
                        miss_rate(each),
                        each["false_positives"],
                        false_rate(each),
                    ]
                    for name, each in most[:SHOWN_CLASSES]
                ],
                "note": "The likeliest class is predicted."
                if head.kind == "multi_class"
                else f"A class is predicted from {_from(threshold)} on.",
            }
        )
        missed, false = (
            sum(each[f"false_{what}"] for each in classes.values())
            for what in ("negatives", "positives")
        )
        remarks.append(f"{missed} labels are missed, and {false} wrongly found.")
    return {"tables": tables, "figures": figures, "captions": captions, "remarks": remarks}


def _from(threshold):
    low, high = np.min(threshold), np.max(threshold)
    if low == high:
        return f"a probability of {low:g}"
    return f"its own probability, {low:.2g} to {high:.2g},"


def _case_remarks(compared):
    """A sentence for each kind of failure that slices stand for; of those that are significant."""
    remarks = []
    for case in dict.fromkeys(each["case"] for each in compared if each["case"]):
        own = [each for each in compared if each["case"] == case]
        clear = [each for each in own if each["is_significant"]]
        worse = [each for each in clear if each["difference"]["value"] > 0]
        found = "the loss is larger" if worse else "no significant difference"
        if clear and not worse:
            found = "the loss is smaller"
        named = "; ".join(
            f"{each['name']}: {each['inside']:.3f} against {each['outside']:.3f}"
            for each in worse or clear or own
        )
        remarks.append(f"{case.capitalize()}: {found} ({named}).")
    return remarks


def _write_examples(path, ids, losses, order, wrong, label_names):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        names = [name if name == "fused" else f"{name}_alone" for name in losses]
        writer.writerow(["id", *(f"loss_{name}" for name in names), "missed", "wrongly_found"])
        for row in order:
            cells = ["", ""]
            if wrong is not None:
                cells = ["|".join(label_names[c] for c in np.flatnonzero(w[row])) for w in wrong]
            writer.writerow([ids[row], *(f"{each[row]:.6g}" for each in losses.values()), *cells])
