"""Cross-validation: one run per fold, and what they say together."""

import dataclasses
import json
import os

import keras
import numpy as np
from rich.console import Console

from data_prep.arrays import read_arrays
from data_prep.fingerprint import fingerprint
from mmlearn.evaluation.cross_validation import pooled_metrics, summarize_folds
from mmlearn.evaluation.scores import kind_of_metrics
from mmlearn.experiments.begun import open_output
from mmlearn.experiments.build import build_source
from mmlearn.experiments.config import to_dict
from mmlearn.experiments.continual import with_earlier_model
from mmlearn.experiments.output import write_json
from mmlearn.experiments.run import check_one_host, identity, run, versions, with_precision
from mmlearn.training.distribution import make_strategy

CONTENTS = ("fold-*", "folds.json", "predictions.npz")  # what it leaves


def run_folds(experiment, console=None):
    """Trains and evaluates an experiment once per fold, each in a folder of its own.

    An interrupted cross-validation goes on with the next call: finished folds are kept, and
    the one that was not finished goes on from its checkpoints.

    Args:
        experiment: `Experiment` with `folds`.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The record, which is also in `folds.json`: a dict of `output`, `config`, `metrics` (see
        `summarize_folds`), `pooled` (see `pooled_metrics`), `runs`, `seconds`, `data`, `versions`.

    Raises:
        ValueError: when the config, the data (`DataError`) or the output folder is not right.
        FloatingPointError: when the loss is no number.
    """
    _check(experiment)
    console = console or Console(quiet=True)
    output = experiment.output or os.path.join("saved_models", f"{experiment.name}-folds")
    # Devices before the first op; the runs of the folds find them made.
    make_strategy(experiment.training.strategy, experiment.training.num_replicas)
    # Folds of different precisions could not be averaged.
    experiment = with_precision(with_earlier_model(experiment))
    runs = [fold_experiment(experiment, output, fold) for fold in range(experiment.folds)]
    data_print = fingerprint(build_source(runs[0].data), ("train", "val"))
    begun = {"command": "train --folds", "config": identity(experiment), "data": data_print}
    open_output(output, begun, CONTENTS, experiment.training.restart)
    for fold, own in enumerate(runs):
        title = f"[bold]fold {fold + 1} of {len(runs)}[/]"
        if os.path.isfile(os.path.join(own.output, "run.json")):  # it is there last, and whole
            console.print(f"{title}: is there")
            continue
        console.print(title)
        # So that memory does not grow, and a fold is the same run with or without others before it.
        keras.utils.clear_session()
        run(own, console)
    keras.utils.clear_session()
    return _join(experiment, output, runs, data_print)


def fold_experiment(experiment, output, fold):
    """Returns the experiment of one fold, an ordinary one: `data.fold` of `data.num_folds`."""
    training, own = experiment.training, os.path.join(output, f"fold-{fold}")
    log_dir = training.log_dir and os.path.join(training.log_dir, f"fold-{fold}")
    return dataclasses.replace(
        experiment,
        folds=None,
        data=dataclasses.replace(experiment.data, num_folds=experiment.folds, fold=fold),
        training=dataclasses.replace(training, restart=False, log_dir=log_dir),
        output=own,
    )


def _check(experiment):
    if experiment.folds is None or experiment.folds < 2:
        raise ValueError(
            f"`folds` must be at least 2. Received: folds={experiment.folds}. Fix: --folds 5."
        )
    check_one_host(experiment, "--folds")
    data = experiment.data
    for flag, is_given in (
        ("--data.num-folds", data.num_folds is not None),
        ("--data.fold", data.fold != 0),
        ("--data.val-fraction", data.val_fraction is not None),
    ):
        if is_given:
            raise ValueError(
                f"--folds trains on all folds in turn, and {flag} is for a single run. Fix: leave "
                "one of them out."
            )


def _join(experiment, output, runs, data_print):
    records, predictions = [], []
    for own in runs:
        with open(os.path.join(own.output, "run.json"), encoding="utf-8") as file:
            records.append(json.load(file))
        predictions.append(read_arrays(os.path.join(own.output, "predictions.npz")))
    counts = [len(own["labels"]) for own in predictions]
    joined = {name: np.concatenate([own[name] for own in predictions]) for name in predictions[0]}
    joined["fold"] = np.repeat(np.arange(len(runs)), counts)
    prior = np.repeat([record["data"]["label_prior"] for record in records], counts, axis=0)
    stages, config = records[0]["seconds"], to_dict(experiment)
    record = {
        "output": output,
        "config": {**config, "training": {**config["training"], "restart": False}},
        "metrics": summarize_folds([record["metrics"] for record in records]),
        "pooled": pooled_metrics(joined, prior, kind_of_metrics(records[0]["metrics"])),
        "runs": [os.path.join(own.output, "run.json") for own in runs],
        "seconds": {name: round(sum(r["seconds"][name] for r in records), 2) for name in stages},
        "data": {
            "fingerprint": data_print,
            "label_names": records[0]["data"]["label_names"],
        },
        "versions": versions(),
    }
    path = os.path.join(output, "predictions.npz")
    with open(f"{path}.partial", "wb") as file:
        np.savez_compressed(file, **joined)
    os.replace(f"{path}.partial", path)
    write_json(os.path.join(output, "folds.json"), record)
    return record
