"""Measures what a cascade saves and costs, as evidence of a run."""

import time

import keras
import numpy as np
from rich.console import Console

from mmlearn.analysis.flops import count_macs
from mmlearn.analysis.profile import WARM_UP, describe_machine
from mmlearn.compression.cascade import Cascade
from mmlearn.evaluation.cascade import choose_threshold, confidence, threshold_curve
from mmlearn.evaluation.paired import paired_bootstrap
from mmlearn.evaluation.scores import MAIN, score
from mmlearn.experiments.comparison import compile_main
from mmlearn.experiments.findings import leave_findings
from mmlearn.experiments.opened import open_model_and_data
from mmlearn.training.callbacks import progress_bar

TOLERANCES = (0.0, 0.002, 0.005, 0.01, 0.02)


def find_cascade(
    model,
    data,
    split="val",
    batch_size=32,
    max_examples=2000,
    timed_examples=100,
    num_resamples=500,
    seed=0,
    output=None,
    command="",
    console=None,
):
    """Measures cascades that begin with each modality, and leaves that as evidence.

    Thresholds are chosen on one half of the examples, so that the main metric there is at most so much
    lower than the full model's, and everything is reported on the other half.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str.
        batch_size: int. Of the predictions whose quality counts.
        max_examples: int. If the split has more, so many are drawn.
        timed_examples: int. Of the second half, answered one by one, in turn with the full model.
        num_resamples: int. Of the bootstrap intervals.
        seed: int. Of all draws, and of the halves.
        output: str. The folder in which `evidence/` is made, by default the model's.
        command: str. For the record.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The evidence, see `mmlearn.analysis.evidence`, with what was measured under `cascade`.

    Raises:
        ValueError: when the model, the data or an option is not right.
    """
    if timed_examples < 1:
        raise ValueError(
            f"`timed_examples` must be at least 1. Received: timed_examples={timed_examples}."
        )
    opened = open_model_and_data(model, data, split, batch_size, max_examples, seed)
    task = opened.task
    head = task.described[task.main_output]
    cascades = {m: Cascade(task, m, np.inf) for m in task.backbone.modalities}
    with progress_bar(console or Console(quiet=True)) as bar, opened.naming_bad_images():
        line = bar.add_task("predictions", total=1 + len(cascades), status="")
        found, inputs = _predict(task, opened.dataset, cascades)
        groups = opened.source.examples(split).groups
        halves = split_in_half(groups, len(inputs["labels"]), seed)
        members = None if groups is None else np.asarray(groups)[halves[1]]
        bar.update(line, advance=1, description="cascades")
        rows = []
        for modality, cascade in cascades.items():
            rows += _measure(task, modality, found, inputs, halves, members, num_resamples, seed)
            _time(cascade, rows, inputs, halves[1][:timed_examples])
            bar.update(line, advance=1)
    record = {
        "metric": MAIN[head.kind],
        "num_examples": [len(half) for half in halves],
        "timed_examples": min(timed_examples, len(halves[1])),
        "machine": describe_machine(),
        "rows": rows,
    }
    content = {**_describe(record), "cascade": record, "command": command}
    return leave_findings(output or model, "cascade", "Cascade", content, lambda folder: None)


def split_in_half(groups, num_examples, seed=0):
    """Divides examples into two halves at random; those of a group stay together.

    Args:
        groups: int array `(num_examples,)`, or `None`.
        num_examples: int.
        seed: int.

    Returns:
        Two int arrays of rows.

    Example:

    >>> [len(half) for half in split_in_half([1, 1, 2, 2, 3, 3, 4, 4], 8)]
    [4, 4]
    """
    groups = np.arange(num_examples) if groups is None else np.asarray(groups)
    different, members = np.unique(groups, return_inverse=True)
    if len(different) < 2:
        raise ValueError("Two halves need two examples at least. Fix: more examples.")
    is_first = np.zeros(len(different), bool)
    order = np.random.default_rng(seed).permutation(len(different))
    is_first[order[: len(different) // 2]] = True
    return [np.flatnonzero(is_first[members]), np.flatnonzero(~is_first[members])]


def _predict(task, dataset, cascades):
    """The answers of each modality alone and of everything, and what they are made of."""
    found = {name: [] for name in ("full", *cascades)}
    inputs = {name: [] for name in (*task.input, "labels")}
    for x, y, *_ in dataset:
        x = {name: np.asarray(x[name]) for name in task.input}
        for modality, cascade in cascades.items():
            found[modality].append(cascade.answer_first(x))
        found["full"].append(np.asarray(task.predict_on_batch(x)[task.main_output]))
        for name, values in {**x, "labels": y.numpy()}.items():
            inputs[name].append(values)
    inputs = {name: np.concatenate(parts) for name, parts in inputs.items()}
    inputs["labels"] = inputs["labels"][:, task.columns[task.main_output]].astype(int)
    return {name: np.concatenate(parts) for name, parts in found.items()}, inputs


def _measure(task, modality, found, inputs, halves, members, num_resamples, seed):
    kind = task.described[task.main_output].kind
    present = inputs[f"{modality}_present"] == 1
    sure = np.where(present, confidence(kind, found[modality]), -1.0)
    labels, first, full = inputs["labels"], found[modality], found["full"]
    chosen, reported = halves
    curve = threshold_curve(kind, *(v[chosen] for v in (labels, first, full, sure)))
    costs = _macs(task, modality)
    rows = []
    for tolerance in TOLERANCES:
        # Rows without the modality, whose confidence is -1, are never answered early.
        threshold = max(choose_threshold(*curve, tolerance), 0.0)
        is_early = (sure >= threshold)[reported]
        answers = np.where(is_early[:, None], first[reported], full[reported])
        share, metric = float(is_early.mean()), MAIN[kind]
        change = paired_bootstrap(
            *(kind, labels[reported], answers, full[reported], metric, members, None),
            *(num_resamples, seed),
        )
        rows.append(
            {
                "first": modality,
                "tolerance": tolerance,
                "threshold": threshold if np.isfinite(threshold) else None,
                "early": share,
                "full": score(kind, labels[reported], full[reported])[metric],
                "cascade": score(kind, labels[reported], answers)[metric],
                "change": {
                    "value": change["difference"],
                    **{side: change[side] for side in ("low", "high")},
                },
                "macs": share * costs["first"] + (1 - share) * costs["both"],
                "full_macs": costs["full"],
            }
        )
    return rows


def _macs(task, modality):
    main, own = task.main_output, f"{modality}_{task.main_output}"
    wanted = {"first": [own], "full": [main], "both": [own, main]}
    return {
        name: count_macs(keras.Model(task.input, [task.output[each] for each in outputs]))
        for name, outputs in wanted.items()
    }


def _time(cascade, rows, inputs, examples):
    """Adds the mean time of an answer to the rows of a cascade, one example a call, all in turn."""
    own = [row for row in rows if row["first"] == cascade.first]
    full, task = compile_main(cascade.task), cascade.task
    times = np.zeros((1 + len(own), WARM_UP + len(examples)))
    for turn, example in enumerate([*examples[:1]] * WARM_UP + [*examples]):
        one = {name: inputs[name][example : example + 1] for name in task.input}
        for place, row in enumerate([None, *own]):
            # In the rounds that do not count, both halves are compiled.
            is_all = row is None or row["threshold"] is None or turn < WARM_UP
            cascade.threshold = np.inf if is_all else row["threshold"]
            answer = full if row is None else cascade.predict
            start = time.perf_counter()
            answer(one)
            times[place, turn] = 1000 * (time.perf_counter() - start)
    means = times[:, WARM_UP:].mean(axis=1)
    for row, mean in zip(own, means[1:], strict=True):
        row["ms"], row["full_ms"] = float(mean), float(means[0])


def _describe(record):
    """The tables and remarks of what was measured."""
    metric, machine = record["metric"], record["machine"]
    table = {
        "title": f"Cascades, {record['num_examples'][1]} examples",
        "columns": [
            *("first", "may lose", "threshold", "answered early", metric, "change"),
            *("MACs saved", "ms", "time saved"),
        ],
        "rows": [
            [
                row["first"],
                f"{row['tolerance']:g}",
                "none" if row["threshold"] is None else row["threshold"],
                f"{row['early']:.1%}",
                row["cascade"],
                row["change"],
                f"{1 - row['macs'] / row['full_macs']:.1%}",
                row["ms"],
                f"{1 - row['ms'] / row['full_ms']:.1%}",
            ]
            for row in record["rows"]
        ],
        "note": f"Thresholds of confidence chosen on {record['num_examples'][0]} other examples, to lose at most "
        f"so much {metric} there. Change is the cascade minus the full model, on the same examples; its "
        f"interval is of 95 %. Time: mean of {record['timed_examples']} examples answered one by one, on "
        f"{machine['cpu_cores']} CPU core(s).",
    }
    remarks = []
    for modality in dict.fromkeys(row["first"] for row in record["rows"]):
        row = next(
            row for row in record["rows"] if row["first"] == modality and row["tolerance"] == 0.005
        )
        remarks.append(
            f"With {modality} first and 0.005 {metric} to lose, {row['early']:.0%} of the examples are "
            f"answered early: {metric} {row['cascade']:.4f} instead of {row['full']:.4f}, "
            f"{1 - row['macs'] / row['full_macs']:.0%} of the MACs are saved."
        )
    return {"tables": [table], "figures": [], "remarks": remarks}
