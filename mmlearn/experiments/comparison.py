"""A model and a smaller one, or another form of it, on the same examples."""

import gzip
import os
import time

import keras
import numpy as np
from rich.console import Console

from mmlearn.analysis.flops import count_macs
from mmlearn.analysis.profile import MB, WARM_UP, describe_machine, model_inputs
from mmlearn.compression.pruning import sparsity_of
from mmlearn.evaluation.paired import paired_bootstrap
from mmlearn.evaluation.scores import MAIN, score
from mmlearn.experiments.findings import leave_findings
from mmlearn.experiments.opened import open_model_and_data
from mmlearn.models.compiled import compile_function
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset
from mmlearn.models.signatures import served_names
from mmlearn.training.callbacks import progress_bar

BATCH_SIZES = (1, 32)  # of the time


def compare_models(
    before,
    after,
    data,
    topic,
    split="val",
    batch_size=32,
    max_examples=2000,
    num_resamples=500,
    repeats=30,
    seed=0,
    command="",
    console=None,
):
    """Compares a smaller model with the one it was made of, and leaves that as evidence of the smaller.

    Args:
        before: str. Output folder of a run, or a preset directory.
        after: str. Output folder of the run of the smaller model, with the same model inputs.
        data: `DataConfig`.
        topic: str. Of the evidence.
        split: str.
        batch_size: int.
        max_examples: int. If the split has more, so many are drawn.
        num_resamples: int. Of the bootstrap intervals.
        repeats: int. Calls whose time counts.
        seed: int. Of all draws.
        command: str. For the record.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The evidence, see `mmlearn.analysis.evidence`, with what was measured under `comparison`: `quality`,
        a list by head and missing modality, and `cost`, dicts of `before` and `after`.

    Raises:
        ValueError: when a model or the data are not right.
    """
    opened = open_model_and_data(after, data, split, batch_size, max_examples, seed)
    tasks = {
        "before": PredictionTask.from_preset(find_preset(before, PredictionTask)),
        "after": opened.task,
    }
    with progress_bar(console or Console(quiet=True)) as bar, opened.naming_bad_images():
        line = bar.add_task("quality", total=2, status="")
        forms = {"preset": tasks["before"].predict_on_batch, "small": opened.task.predict_on_batch}
        predicted, labels = predict_forms(opened.task, opened.dataset, forms)
        groups = opened.source.examples(split).groups
        quality = score_forms(opened.task, labels, predicted, groups, None, num_resamples, seed)
        bar.update(line, advance=1, description="latency")
        cost = {name: _count(task) for name, task in tasks.items()}
        compiled = {n: compile_main(task) for n, task in tasks.items()}
        for size in BATCH_SIZES:
            times = time_in_turn(compiled, model_inputs(opened.task, size), repeats)
            for name, milliseconds in times.items():
                cost[name][f"latency_ms_p50_batch_{size}"] = milliseconds
        bar.update(line, advance=1)
    record = {
        "before": str(before),
        "num_examples": len(labels),
        "machine": describe_machine(),
        "cost": cost,
        "quality": quality,
    }
    content = {**_describe(record), "comparison": record, "command": command}
    return leave_findings(after, topic, topic.capitalize(), content, lambda folder: None)


def predict_forms(task, dataset, forms):
    """Predicts with each form of a model, of everything and without each modality.

    Args:
        task: the `PredictionTask` that says what goes in and out.
        dataset: batches of `(x, y, ...)` of model inputs.
        forms: dict of name to function of a dict of model inputs that returns named predictions.

    Returns:
        A dict of `(form, without)` to a dict of head to array, where `without` is a modality or `None`; and
        the labels.
    """
    modalities = task.backbone.modalities
    missing = (None, *(modalities if len(modalities) > 1 else ()))
    found, labels = {(form, without): [] for form in forms for without in missing}, []
    for x, y, *_ in dataset:
        labels.append(y.numpy())
        x = {name: np.asarray(x[name]) for name in task.input}
        for form, without in found:
            hidden = f"{without}_present"
            inputs = {n: np.zeros_like(v) if n == hidden else v for n, v in x.items()}
            outputs = forms[form](inputs)
            found[form, without].append(_by_head(task, outputs))
    joined = {
        key: {name: np.concatenate([each[name] for each in parts]) for name in task.described}
        for key, parts in found.items()
    }
    return joined, np.concatenate(labels)


def _by_head(task, outputs):
    """The predictions of each head, which Keras and the signature name differently."""
    own = {name: served_names(task, head)[0] for name, head in task.described.items()}
    return {n: np.asarray(outputs[n] if n in outputs else outputs[own[n]]) for n in own}


def score_forms(task, labels, predicted, groups, between=None, num_resamples=500, seed=0):
    """Scores the form `small` beside the form `preset`.

    Args:
        task: `PredictionTask`.
        labels: array `(num_examples, num_columns)`.
        predicted: what `predict_forms` returns.
        groups: int array `(num_examples,)`, or `None`. Examples of a group are resampled together.
        between: str. A form that differs from `preset` in the format alone, or `None`.
        num_resamples: int. Of the bootstrap intervals.
        seed: int.

    Returns:
        A list of dicts of plain JSON types, by head and missing modality.
    """
    rows = []
    for name, columns in task.columns.items():
        head = task.described[name]
        own = labels[:, columns] if head.is_regression else labels[:, columns].astype(int)
        metric = MAIN[head.kind]
        for without in dict.fromkeys(missing for _, missing in predicted):
            before, after = (predicted[form, without][name] for form in ("preset", "small"))
            change = paired_bootstrap(
                head.kind, own, after, before, metric, groups, None, num_resamples, seed
            )
            row = {
                "head": name,
                "without": without,
                "metric": metric,
                "before": score(head.kind, own, before)[metric],
                "after": score(head.kind, own, after)[metric],
                "change": {
                    "value": change["difference"],
                    **{side: change[side] for side in ("low", "high")},
                },
                "largest_difference": float(np.abs(after - before).max()),
            }
            if between is not None:
                full = predicted[between, without][name]
                row["same_format"] = score(head.kind, own, full)[metric]
                row["same_format_difference"] = float(np.abs(full - before).max())
            rows.append(row)
    return rows


def quality_rows(quality, names):
    """What `score_forms` returns as rows of a table: modalities, metric, what is named, difference.

    Args:
        quality: list of dicts.
        names: tuple of str, keys of these.
    """
    several = len({row["head"] for row in quality}) > 1
    return [
        [
            "all" if row["without"] is None else f"without {row['without']}",
            f"{row['head']}: {row['metric']}" if several else row["metric"],
            *(row[name] for name in names),
            row["largest_difference"],
        ]
        for row in quality
    ]


def time_in_turn(calls, inputs, repeats):
    """Median milliseconds of each, called in turn, so that whatever slows the machine slows all.

    Args:
        calls: dict of name to function of model inputs.
        inputs: dict of arrays.
        repeats: int. Calls that count.
    """
    inputs = {name: np.asarray(values) for name, values in inputs.items()}
    times = {name: [] for name in calls}
    for _ in range(WARM_UP + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call(inputs)
            times[name].append(time.perf_counter() - start)
    return {name: 1000 * float(np.median(own[WARM_UP:])) for name, own in times.items()}


def compile_main(task):
    """Makes a function of model inputs that returns the main output, an array, and computes no more."""
    main = task.main_output
    run = compile_function(lambda x: task(x, training=False)[main], task)
    return lambda inputs: np.asarray(run(inputs))


def _count(task):
    weights = [keras.ops.convert_to_numpy(variable) for variable in task.weights]
    return {
        "parameters": task.count_params(),
        "macs": count_macs(task),
        "weights_mb": sum(each.nbytes for each in weights) / MB,
        "gzip_mb": len(gzip.compress(b"".join(each.tobytes() for each in weights), 6)) / MB,
        "zeros": sparsity_of(task),
    }


def _describe(record):
    """The tables and remarks of what was measured."""
    before, after = record["cost"]["before"], record["cost"]["after"]
    name, machine = os.path.basename(os.path.normpath(record["before"])), record["machine"]
    quality = {
        "title": f"Quality before and after, {record['num_examples']} examples",
        "columns": [
            *("modalities", "metric", "before", "after", "change"),
            "largest difference of a prediction",
        ],
        "rows": quality_rows(record["quality"], ("before", "after", "change")),
        "note": f"Before: {name}. Change is after minus before, on the same examples; its interval is of 95 %.",
    }
    rows = [
        ["parameters", "parameters", 1],
        ["MACs, millions", "macs", 1e6],
        ["weights in float32, MB", "weights_mb", 1],
        ["the same, gzipped, MB", "gzip_mb", 1],
        *(
            [f"latency p50, batch {size}, ms", f"latency_ms_p50_batch_{size}", 1]
            for size in BATCH_SIZES
        ),
    ]
    cost = {
        "title": "Cost",
        "columns": ["", "before", "after", "after / before"],
        "rows": [
            [what, before[key] / unit, after[key] / unit, after[key] / before[key]]
            for what, key, unit in rows
        ]
        + [["zeros in kernels, share", before["zeros"], after["zeros"], ""]],
        "note": f"Keras in a TensorFlow graph on {machine['cpu_cores']} CPU core(s), {machine['memory_gb']} GB, "
        "called in turn in one process; model inputs in, predictions out.",
    }
    main = record["quality"][0]
    remarks = [
        f"{main['metric']} {main['after']:.4f} instead of {main['before']:.4f}, with "
        f"{after['macs'] / before['macs']:.0%} of the MACs and "
        f"{after['parameters'] / before['parameters']:.0%} of the parameters."
    ]
    return {"tables": [quality, cost], "figures": [], "remarks": remarks}
