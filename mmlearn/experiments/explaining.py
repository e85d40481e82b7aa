"""Explains what a saved model predicts, and measures how far its explanations can be trusted."""

import os

import numpy as np
from rich.console import Console

from data_prep.screening import without_empty, without_unreadable
from mmlearn.analysis.evidence import ATTENTION
from mmlearn.analysis.explanation import explain_example
from mmlearn.analysis.grounding import measure_grounding
from mmlearn.analysis.grounding_figures import plot_deletion, plot_pointing
from mmlearn.analysis.grounding_tables import grounding_evidence
from mmlearn.experiments.build import build_source
from mmlearn.experiments.findings import leave_findings
from mmlearn.experiments.output import check_output, replacing, write_json
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset
from mmlearn.training.callbacks import progress_bar

RECORD = "explanation.json"
RESULTS = (
    RECORD,
    "attention.png",
    "heads.png",
    "rollout.png",
    "regions.png",
    "grad_cam.png",
    "words.png",
    "rationale.png",
)


def explain_model(model, x, output, label=None):
    """Explains one prediction of a saved model, with figures.

    Args:
        model: str. Output folder of a run, or a preset directory.
        x: dict of raw values of one example; `images` as a path.
        output: str. The folder for the figures and `explanation.json`.
        label: str, the class that is explained, or `None` for the likeliest.

    Returns:
        The record, see `mmlearn.analysis.explanation.explain_example`.

    Raises:
        ValueError: when there is no model, label or readable image, or the folder is something else.
    """
    check_output(output, "an explanation", RECORD, RESULTS)
    task = PredictionTask.from_preset(find_preset(model, PredictionTask))
    unknown = sorted(set(x) - set(task.backbone.modalities))
    if unknown:
        raise ValueError(
            f"The model takes {' and '.join(task.backbone.modalities)}, and no {unknown[0]}. Fix: leave "
            f"that out, or another model."
        )
    inputs = task.read_inputs(x)  # an unreadable image is named here
    image = None
    if "images" in x:
        image = np.asarray(inputs["images"][0]).round().astype(np.uint8)
    with replacing(output) as partial:
        record = explain_example(task, x, image, partial, label)
        record = {"model": model, "input": {m: values[0] for m, values in x.items()}, **record}
        write_json(os.path.join(partial, RECORD), record)
    return record


def measure_model(
    model,
    data,
    split="val",
    count=500,
    num_curves=100,
    seed=0,
    output=None,
    command="",
    console=None,
):
    """Measures on data with boxes how well a saved model's maps point, and leaves that as evidence.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig` of a source in COCO's format.
        split: str.
        count: int. Examples to read, the first ones.
        num_curves: int. Words of which deletion and insertion curves are made.
        seed: int.
        output: str. The folder in which `evidence/` is made, by default the model's.
        command: str. For the record.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The evidence, see `mmlearn.analysis.evidence`, with what
        `mmlearn.analysis.grounding.measure_grounding` returns under `attention`. It is left as
        `attention.json` and `.md`, with the pictures `attention_pointing.png` and
        `attention_deletion.png`.

    Raises:
        ValueError: when there is no model, or the data have no boxes.
    """
    task = PredictionTask.from_preset(find_preset(model, PredictionTask))
    source, _ = without_unreadable(build_source(data), (split,), data.max_unreadable)
    source, _ = without_empty(source, (split,), task.backbone.modalities)
    with progress_bar(console or Console(quiet=True)) as bar:
        line = bar.add_task("pointing", total=None, status="")
        record = measure_grounding(
            task,
            source,
            split,
            count,
            num_curves,
            seed,
            lambda done, total: bar.update(line, completed=done, total=total),
        )
    record = {"split": split, "seed": seed, **record}
    content = {**grounding_evidence(record), "command": command}
    drawings = {"attention_pointing.png": plot_pointing, "attention_deletion.png": plot_deletion}

    def draw(folder):
        for name in content["figures"]:
            drawings[name](record, os.path.join(folder, name))

    return leave_findings(output or model, ATTENTION, "Attention against boxes", content, draw)
