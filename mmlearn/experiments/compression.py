"""Makes a saved model smaller, and measures what that costs, as evidence of its run."""

import os
import shutil
import tempfile

import numpy as np
from rich.console import Console

from data_prep.names import find
from data_prep.pipeline import build_dataset
from data_prep.splits import Selection
from mmlearn.analysis.profile import MB, describe_machine, size_of
from mmlearn.experiments.comparison import predict_forms, quality_rows, score_forms, time_in_turn
from mmlearn.experiments.findings import leave_findings
from mmlearn.experiments.opened import open_model_and_data
from mmlearn.experiments.output import remove
from mmlearn.experiments.scoring import open_fitting_source
from mmlearn.models import formats
from mmlearn.training.callbacks import progress_bar

METHODS = {
    "float16": "weights in 16 bits",
    "int8": "weights and what flows between layers in 8 bits, ranges from calibration examples",
}
EVERY_FOURTH = 4  # calibration example lacks a modality


def compress_model(
    model,
    data,
    method="int8",
    format="openvino",
    split="val",
    batch_size=32,
    max_examples=2000,
    calibration_examples=200,
    num_resamples=500,
    repeats=30,
    seed=0,
    output=None,
    command="",
    console=None,
):
    """Writes a smaller form of a saved model, scores it as the model was scored, and leaves both.

    The model as it is, the same format in float32, and the smaller form are compared on the same
    examples, also with each modality missing.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        method: one of `METHODS`.
        format: one of `mmlearn.models.formats.FORMATS`, or for float16 `"tf_saved_model"`.
        split: str. Of the quality.
        batch_size: int.
        max_examples: int. If the split has more, so many are drawn.
        calibration_examples: int. So many of the training split are drawn for int8; every fourth lacks
            one modality, as the model may be asked to do without.
        num_resamples: int. Of the bootstrap intervals.
        repeats: int. Calls whose time counts, with one example each.
        seed: int. Of all draws.
        output: str. The folder in which `compressed/` and `evidence/` are made, by default the model's.
        command: str. For the record.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The evidence, see `mmlearn.analysis.evidence`, with what was measured under `compression`: `folder`,
        `artefacts` (`size_mb`, `latency_ms_p50`) and `quality`, a list by head and missing modality.

    Raises:
        ValueError: when the model, the data or an option is not right.
    """
    find(method, METHODS, "compression method")
    find(format, (*formats.FORMATS, formats.SAVED_MODEL), "format of a compressed model")
    formats.check_precision(format, method)
    if calibration_examples < 1 or repeats < 1:
        raise ValueError(
            "`calibration_examples` and `repeats` must be at least 1. Received: "
            f"calibration_examples={calibration_examples}, repeats={repeats}."
        )
    opened = open_model_and_data(model, data, split, batch_size, max_examples, seed)
    task, output = opened.task, output or model
    folder = os.path.join(output, "compressed", f"{method}_{format}")
    with (
        progress_bar(console or Console(quiet=True)) as bar,
        opened.naming_bad_images(),
        tempfile.TemporaryDirectory() as scratch,
    ):
        line = bar.add_task("converting", total=3, status="")
        full, small = (os.path.join(scratch, name) for name in ("full", "small"))
        calibration = None
        if method == "int8":
            calibration = draw_calibration(task, data, calibration_examples, seed)
        formats.write_precisions(task, {full: "float32", small: method}, format, calibration)
        bar.update(line, advance=1, description="quality")
        forms = {"preset": task.predict_on_batch, "full": formats.load(full)}
        forms["small"] = formats.load(small)
        predicted, labels = predict_forms(task, opened.dataset, forms)
        groups = opened.source.examples(split).groups
        quality = score_forms(task, labels, predicted, groups, "full", num_resamples, seed)
        bar.update(line, advance=1, description="latency")
        one = {n: v[:1] for n, v in next(iter(opened.dataset))[0].items()}
        times = time_in_turn({n: forms[n] for n in ("full", "small")}, one, repeats)
        artefacts = {
            name: {"size_mb": size_of(path) / MB, "latency_ms_p50": times[name]}
            for name, path in {"full": full, "small": small}.items()
        }
        _put(small, folder)
        bar.update(line, advance=1)
    record = {
        "method": method,
        "format": format,
        "folder": folder,
        "num_examples": len(labels),
        "calibration_examples": calibration_examples if method == "int8" else 0,
        "machine": describe_machine(),
        "artefacts": artefacts,
        "quality": quality,
    }
    content = {**_describe(record), "compression": record, "command": command}
    topic, title = f"compression_{method}_{format}", f"Compression: {method}, {format}"
    return leave_findings(output, topic, title, content, lambda folder: None)


def draw_calibration(task, data, count, seed=0):
    """Draws model inputs of the training split, every fourth without one of the modalities.

    Args:
        task: a task with a preprocessor.
        data: `DataConfig`.
        count: int. As many examples, or all where there are fewer.
        seed: int. Of the draw.

    Returns:
        A list of batches, dicts of model inputs.

    Raises:
        ValueError: when the data have no training split.
    """
    source = open_fitting_source(task, data, "train")
    total = len(source.examples("train"))
    rows = np.sort(np.random.default_rng(seed).permutation(total)[:count])
    source = Selection(source, {"train": ("train", rows)}, drawn=count, draw_seed=seed)
    dataset = build_dataset(source, "train", task.preprocessor, len(rows))
    batch = {n: np.array(values) for n, values in next(iter(dataset))[0].items() if n in task.input}
    modalities = task.backbone.modalities
    if len(modalities) > 1:
        nothing = task.preprocessor(task.preprocessor.read_raw({modalities[0]: [None]}))
        for turn, row in enumerate(range(0, len(rows), EVERY_FOURTH)):
            for name in _inputs_of(task, modalities[turn % len(modalities)]):
                batch[name][row] = nothing[name][0]
    return [batch]


def _inputs_of(task, modality):
    return [*task.backbone.encoders[modality].model_inputs(modality), f"{modality}_present"]


def _put(source, folder):
    """Puts what was written in the place of an earlier one."""
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    partial = f"{folder}.partial-{os.getpid()}"
    try:
        shutil.copytree(source, partial)
        remove(folder)
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _describe(record):
    """The tables and remarks of what was measured."""
    method, format = record["method"], record["format"]
    full, small = record["artefacts"]["full"], record["artefacts"]["small"]
    quality = {
        "title": f"Quality before and after, {record['num_examples']} examples",
        "columns": [
            *(
                "modalities",
                "metric",
                "Keras, float32",
                f"{format}, float32",
                f"{format}, {method}",
            ),
            *("change", "largest difference of a prediction"),
        ],
        "rows": quality_rows(record["quality"], ("before", "same_format", "after", "change")),
        "note": f"Change is {method} minus Keras, on the same examples; its interval is of 95 %.",
    }
    if record["calibration_examples"]:
        quality["note"] += (
            f" Calibrated on {record['calibration_examples']} examples of the training split, every "
            "fourth without one of its modalities."
        )
    machine = record["machine"]
    cost = {
        "title": "Size and speed",
        "columns": ["", f"{format}, float32", f"{format}, {method}"],
        "rows": [
            ["size, MB", full["size_mb"], small["size_mb"]],
            ["latency p50 of one example, ms", full["latency_ms_p50"], small["latency_ms_p50"]],
        ],
        "note": f"On {machine['cpu_cores']} CPU core(s), {machine['memory_gb']} GB, called in turn in one "
        "process; model inputs in, predictions out.",
    }
    main = record["quality"][0]
    remarks = [
        f"{method}, {METHODS[method]}: {small['size_mb']:.1f} MB instead of {full['size_mb']:.1f}, "
        f"{main['metric']} {main['after']:.4f} instead of {main['before']:.4f}, "
        f"{small['latency_ms_p50']:.1f} ms instead of {full['latency_ms_p50']:.1f}."
    ]
    return {"tables": [quality, cost], "figures": [], "remarks": remarks}
