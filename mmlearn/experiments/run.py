"""Runs an experiment: train, evaluate, save."""

import contextlib
import dataclasses
import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from data_prep.fingerprint import fingerprint
from data_prep.screening import without_empty, without_unreadable
from mmlearn.analysis.curves import plot_curves, remarks
from mmlearn.experiments.begun import begin
from mmlearn.experiments.build import (
    build_data,
    build_sample,
    build_source,
    build_task,
    build_unlabeled,
    build_unlabeled_data,
)
from mmlearn.experiments.config import NOT_IN_RESULTS, all_phases, to_dict
from mmlearn.experiments.continual import open_earlier, with_earlier_model
from mmlearn.experiments.output import MEASURED, check_output, remove, replacing, write_json
from mmlearn.experiments.scoring import name_bad_images
from mmlearn.experiments.smaller import open_smaller, pruning_callbacks
from mmlearn.experiments.task_kind import Measured
from mmlearn.experiments.tasks import kind_of
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.task import MultimodalTask
from mmlearn.serving.versions import default_name, export_version
from mmlearn.training import loggers as logger_registry
from mmlearn.training.callbacks import RichProgress, progress_bar
from mmlearn.training.checkpoints import Checkpoints
from mmlearn.training.contribution import ContributionMonitor, find_ignored
from mmlearn.training.distribution import find_host, make_strategy
from mmlearn.training.feature_cache import FeatureCache
from mmlearn.training.hosts import Hosts, lost_hosts_named
from mmlearn.training.objectives import data_of
from mmlearn.training.phases import check_phases, run_phases
from mmlearn.training.precision import choose, find_cpu_flags, find_gpus

SHOWN = 5  # images that are left out and named on the screen; all are in the record
MONITORED = 256  # validation examples on which contributions are measured
RESULTS = ("preset", "serving", "figures", "predictions.npz", "run.json", *MEASURED)


@dataclass(frozen=True)
class Fitted:
    """What training leaves in memory.

    Attributes:
        task: the trained task.
        source: the source of its data, without what cannot be read.
        precision: str, the dtype policy it was trained in; the task computes in float32.
        data_print: str, the fingerprint of the data.
        skipped: list of `Unreadable`, the images that were left out.
        reports: dict of split to what was found in it.
        history: list of dicts, as `run_phases` returns.
        measured: `Measured`, what it scored on the validation split.
        prior: what is known of the answers before any example is seen, see `TaskKind`: an array or
            `None`.
        clock: seconds per stage so far.
        earlier: dict, what is known of the model that it went on from; or `None`.
        forgetting: dict, as `measure_forgetting` returns; or `None` where nothing was measured.
    """

    task: MultimodalTask
    source: object
    precision: str
    data_print: str
    skipped: list
    reports: dict
    history: list
    measured: Measured
    prior: np.ndarray | None
    clock: "_Clock"
    earlier: dict | None = None
    forgetting: dict | None = None


def run(experiment, console=None):
    """Trains, evaluates and saves as an experiment says.

    The results are written beside the output folder and renamed at the end, so that those of an
    earlier run stay until then. An interrupted run leaves its checkpoints in `OUTPUT.checkpoints`,
    where the next call with the same experiment goes on; they are removed at the end.

    Of several hosts, which all call this, the chief alone reports, evaluates and writes. The others
    wait for it: if it fails, all must be started again.

    Args:
        experiment: `Experiment`.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The record of the run, which is also in `run.json`: a dict of `output`, `task` (its class), `config`,
        `metrics`, `intervals`, `comparisons`, `per_class` (see `describe`), `history`, `remarks`, `warnings`, `precision`, `backend` (of Keras), `seconds`, `data`, `earlier`,
        `forgetting`, `parameters` and `versions`. `None` on a host that is not the chief.

    Raises:
        ValueError: when the config, the data (`DataError`) or the output folder is not right.
        FloatingPointError: when the loss is no number.
        ConnectionError: when another host is lost.
    """
    experiment = with_earlier_model(experiment)
    training = experiment.training
    output = _output(experiment)
    folder = f"{output.rstrip(os.sep)}.checkpoints"
    with lost_hosts_named(find_host(training.strategy)):
        # Devices before the first op, which is in the screening of images: logical ones cannot be
        # made afterwards.
        hosts = Hosts(make_strategy(training.strategy, training.num_replicas))
        if hosts.host.is_chief:
            check_output(output, "a run", "run.json", RESULTS)
        fitted = fit(experiment, console, folder, hosts)
        record = None
        if hosts.host.is_chief:
            with (console or Console(quiet=True)).status("exporting, and drawing figures"):
                record = save(fitted, experiment, output)
            remove(folder)
        hosts.wait()
    return record


def _output(experiment):
    return experiment.output or os.path.join("saved_models", experiment.name)


def fit(experiment, console=None, folder=None, hosts=None, callbacks=(), prepare=None):
    """Builds, trains and evaluates as an experiment says.

    Args:
        experiment: `Experiment`.
        console: `rich.console.Console` for progress, or `None` for silence.
        folder: str. Where checkpoints are kept, and where training goes on if there are some; or
            `None` for no checkpoints.
        hosts: `Hosts` of the experiment's strategy, which is made when it is `None`.
        callbacks: iterable of functions from a phase to a `keras.callbacks.Callback`.
        prepare: function of the task, called before it is trained, such as one that loads weights.

    Returns:
        A `Fitted`; `None` on a host that is not the chief.

    Raises:
        ValueError: when the config or the data (`DataError`) is not right.
        FloatingPointError: when the loss is no number.
    """
    if experiment.folds is not None:
        raise ValueError(
            f"A single run has no folds. Received: folds={experiment.folds}. Fix: leave --folds out, "
            "or call `mmlearn.experiments.folds.run_folds`."
        )
    clock = _Clock()
    training = experiment.training
    phases = all_phases(training)
    check_phases(phases)
    hosts = hosts or Hosts(make_strategy(training.strategy, training.num_replicas))
    strategy, host = hosts.strategy, hosts.host
    console = console if console and host.is_chief else Console(quiet=True)
    log_dir = training.log_dir or f"{_output(experiment).rstrip(os.sep)}.logs"
    loggers = [  # of the chief alone
        logger_registry.get(name, log_dir, experiment.name, to_dict(experiment))
        for name in training.loggers
        if host.is_chief
    ]
    precision, reason = _choose_precision(training)
    console.print(f"[bold]precision[/]: {precision}, {reason}", highlight=False)
    source, earlier, unlabeled, skipped = open_sources(experiment, hosts, console)
    reports = {split: source.report(split) for split in ("train", "val")}
    for split, report in reports.items():
        console.print(f"[bold]{split}[/]: {_summary(report)}")
    if unlabeled is not None:
        console.print(f"[bold]unlabeled[/]: {len(unlabeled.examples('train'))} examples")
    clock.lap("data")
    keras.utils.set_random_seed(training.seed)
    tf.config.experimental.enable_op_determinism()
    with strategy.scope():
        num_replicas = strategy.num_replicas_in_sync
        if earlier is None:
            task = learner = build_task(
                experiment.model, source, num_replicas, precision, unlabeled
            )
        else:
            task = earlier.build_classifier(source, experiment.model, num_replicas, precision)
            if any(phase.learn_loss_weights for phase in phases):
                task.learn_loss_weights(True)  # before the learner takes its heads: they are saved
            learner = earlier.build_learner(task, precision)
        if prepare is not None:
            prepare(task)
    console.print(
        f"[bold]model[/]: {task.count_params():,} parameters, "
        f"{strategy.num_replicas_in_sync} replica(s) on {host.count} host(s), Keras on "
        f"{keras.config.backend()}"
    )
    data = build_data(experiment, source, task.preprocessor, host)
    data_print = fingerprint(source, ("train", "val"))
    unlabeled_data = None
    if unlabeled is not None:
        unlabeled_data = build_unlabeled_data(experiment, unlabeled, task.preprocessor, host)
        data_print = f"{data_print}-{fingerprint(unlabeled, ('train', 'val'))}"
    # In this precision: another device may choose another.
    chosen = dataclasses.replace(training, precision=precision)
    resolved = dataclasses.replace(experiment, training=chosen)
    weights = earlier and earlier.weights
    hosts.check_same([identity(resolved), data_print, weights, versions()])
    keeps = folder and host.is_chief
    checkpoints = open_checkpoints(folder, resolved, data_print, weights) if keeps else None
    clock.lap("build")
    kind = kind_of(task)
    prior = kind.prior(source, "train")
    callbacks = [*callbacks, *pruning_callbacks(experiment, phases, data.steps_per_epoch)]
    monitors = []
    monitored = training.monitor_contribution and isinstance(task, PredictionTask)
    if monitored:
        sample = build_sample(experiment, source, task.preprocessor, MONITORED)
        monitor = ContributionMonitor(
            sample, task, lambda line: console.print(f"[bold]warning[/]: {line}", highlight=False)
        )
        monitors.append(monitor.for_phase)
    try:
        with strategy.scope(), progress_bar(console) as bar, logger_registry.closing(loggers):
            history = run_phases(
                learner,
                phases,
                data,
                checkpoints=checkpoints,
                checkpoint_seconds=60 * training.checkpoint_minutes,
                feature_cache=_feature_cache(
                    experiment, folder, data_print, host, task, console, bar
                ),
                callbacks=[
                    *monitors,
                    lambda phase: RichProgress(
                        bar, phase, data_of(phase, data, unlabeled_data).steps_per_epoch
                    ),
                    *callbacks,
                ],
                loggers=loggers,
                unlabeled=unlabeled_data,
            )
        clock.lap("train")
        if not host.is_chief:
            return None
        if monitored:
            clock.part("contribution", monitor.seconds)  # of those of "train"
        if precision != "float32" or host.count > 1:
            # What is scored is what is saved, and computes the same on any device; of several
            # hosts, the others do not take part.
            with strategy.scope() if host.count == 1 else contextlib.nullcontext():
                task = task.with_dtype("float32")
        with console.status("scoring"):
            measured = kind.measure(task, source, "val", data.on_one_host().validation(), prior)
            forgetting = earlier and earlier.measure(task, training.batch_size)
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        both = ("train", "val")
        read = [(source, both), (unlabeled, both), (earlier and earlier.source, ("val",))]
        bad = (name_bad_images(each, splits) for each, splits in read if each is not None)
        raise next(filter(None, bad), error) from None
    clock.lap("evaluate")
    return Fitted(
        task,
        source,
        precision,
        data_print,
        skipped,
        reports,
        history,
        measured,
        prior,
        clock,
        earlier and earlier.record(source),
        forgetting,
    )


def _summary(report):
    """The report of a split as a line; of one that was drawn, what it was drawn from in brackets."""
    drawn = [f"{count} {what}" for what, count in report.items() if what.startswith("of the ")]
    found = ", ".join(f"{n} {what}" for what, n in report.items() if not what.startswith("of the "))
    return f"{', '.join(drawn)} ({found})" if drawn else found


def open_sources(experiment, hosts, console):
    """Opens what an experiment reads: the source, the earlier run, the source without labels.

    Args:
        experiment: `Experiment`.
        hosts: `Hosts`.
        console: `rich.console.Console` for what is left out.

    Returns:
        The three, the last two maybe `None`, and the list of `Unreadable` images, which are left out.
    """
    config = experiment.data
    # A synthetic data set is drawn here, where it is not there yet.
    with hosts.chief_first(), console.status("preparing the data"):
        source = build_source(config)
        where = (experiment, _output(experiment), console)
        earlier = open_earlier(*where) or open_smaller(*where)
        unlabeled = build_unlabeled(experiment.unlabeled, config)
    splits = ("train", "val")
    with progress_bar(console) as bar:
        line = bar.add_task("reading", visible=False, status="every file once")

        def show(done, total):
            bar.update(line, completed=done, total=total, visible=True)

        source, skipped = without_unreadable(source, splits, config.max_unreadable, show)
        if unlabeled is not None:
            unlabeled, more = without_unreadable(unlabeled, splits, config.max_unreadable, show)
            skipped = [*skipped, *more]
    modalities = earlier.modalities if earlier else experiment.model.modalities
    source, num_empty = without_empty(source, splits, modalities)
    if earlier is not None:
        source = earlier.join(source, experiment, console)
    for item in skipped[:SHOWN]:
        console.print(f"[bold]left out[/]: {item.path} {item.reason}", highlight=False)
    if len(skipped) > SHOWN:
        console.print(f"[bold]left out[/]: {len(skipped) - SHOWN} more images, see run.json")
    if num_empty:
        console.print(f"[bold]left out[/]: {num_empty} examples without {' or '.join(modalities)}")
    return source, earlier, unlabeled, skipped


def _choose_precision(config):
    gpus = find_gpus()
    if config.strategy == "mirrored":
        gpus = gpus[: config.num_replicas]
    return choose(config.precision, gpus, find_cpu_flags(), keras.config.backend())


def with_precision(experiment):
    """Returns the experiment with the precision that these devices choose in the place of `auto`."""
    precision, _ = _choose_precision(experiment.training)
    training = dataclasses.replace(experiment.training, precision=precision)
    return dataclasses.replace(experiment, training=training)


def _feature_cache(experiment, folder, data_print, host, task, console, bar):
    """Makes the `FeatureCache` of a run, or `None` where none is wanted or there is no one folder."""
    config = experiment.cache
    if host.count > 1:
        console.print("features of frozen encoders are not stored: there are several hosts")
        return None
    if config.folder is None and folder is not None:
        config = dataclasses.replace(config, folder=os.path.join(folder, "features"))
    if not config.features or config.folder is None:
        return None
    if experiment.continual.distillation or experiment.distillation.model:
        console.print(
            "features of frozen encoders are not stored: the earlier model must see the examples"
        )
        return None

    def progress(description, total):
        line = bar.add_task(description, total=total, status="")
        return lambda count: bar.advance(line, count)

    return FeatureCache(
        config.folder,
        data_print,
        config.budget_gb,
        report=lambda text: console.print(text, highlight=False),
        progress=progress,
        # Of the checkpoints: weights, two averages of the optimizer; the last ones and a new one.
        reserve_bytes=12 * task.count_params() * (experiment.training.keep_checkpoints + 1),
    )


def open_checkpoints(folder, experiment, data_print, weights=None):
    """Opens the checkpoints of a run, new ones or those that an interrupted run has left.

    Args:
        folder: str.
        experiment: `Experiment`.
        data_print: str. The fingerprint of its data.
        weights: str. The fingerprint of the weights that it goes on from, or `None`.

    Raises:
        ValueError: when the checkpoints there are of another experiment or other data.
    """
    training = experiment.training
    if training.restart:
        remove(folder)
    checkpoints = Checkpoints(folder, training.keep_checkpoints)
    begun = {"config": identity(experiment), "data": data_print}
    if weights is not None:
        begun["weights"] = weights
    if not begin(folder, begun):
        raise ValueError(
            f"{folder!r} holds the checkpoints of an interrupted run of another experiment or on "
            "other data or another Keras backend. Fix: start that one again to finish it, or pass "
            "--training.restart to throw it away, or another --output."
        )
    return checkpoints


def check_one_host(experiment, what):
    """Refuses several hosts for what trains more than once.

    Args:
        experiment: `Experiment`.
        what: str. For the message.

    Raises:
        ValueError: when the experiment is for several hosts.
    """
    if experiment.training.strategy == "multi_worker":
        raise ValueError(
            f"{what} trains on one host. Received: training.strategy='multi_worker'. Fix: "
            "--training.strategy mirrored, on each host with folds or trials of its own."
        )


def identity(experiment):
    """The part of an experiment that decides its results, as plain JSON types."""
    config = to_dict(experiment)
    for name in NOT_IN_RESULTS:
        config["training"].pop(name)
    config.pop("output")
    config["cache"].pop("folder")
    return {**config, "backend": keras.config.backend()}


def save(fitted, experiment, output):
    """Writes the results of a run: preset, SavedModel, figures, predictions, record.

    Args:
        fitted: `Fitted`.
        experiment: `Experiment`, for the record.
        output: str. The folder; an earlier run's results there are replaced at the end.

    Returns:
        The record, see `run`.
    """
    task, source, clock = fitted.task, fitted.source, fitted.clock
    measured = fitted.measured
    # What was chosen, to be repeated on any device; and not what is for one start alone.
    training = dataclasses.replace(experiment.training, precision=fitted.precision, restart=False)
    experiment = dataclasses.replace(experiment, training=training)
    with replacing(output) as partial:
        for folder in ("figures", "serving"):
            os.makedirs(os.path.join(partial, folder))
        task.save_to_preset(os.path.join(partial, "preset"))
        name = default_name(output)
        export_version(task, os.path.join(partial, "serving"), name=name)
        predictions = {**measured.predictions, "ids": np.array(source.examples("val").ids)}
        np.savez_compressed(os.path.join(partial, "predictions.npz"), **predictions)
        clock.lap("export")
        plot_curves(fitted.history, os.path.join(partial, "figures", "curves.png"))
        kind_of(task).draw(task, source, measured, os.path.join(partial, "figures"))
        clock.lap("figures")
        record = {
            "output": output,
            "task": type(task).__name__,
            "config": to_dict(experiment),
            "metrics": measured.metrics,
            **measured.details,
            "history": fitted.history,
            "remarks": remarks(fitted.history),
            "warnings": [line for record in fitted.history for line in find_ignored(record)],
            "precision": fitted.precision,
            "backend": keras.config.backend(),
            "seconds": clock.seconds(),
            "data": {
                "fingerprint": fitted.data_print,
                "settings": source.settings,
                "reports": fitted.reports,
                "skipped": [dataclasses.asdict(item) for item in fitted.skipped],
                "label_names": source.label_names,
                "label_prior": None if fitted.prior is None else fitted.prior.tolist(),
            },
            "earlier": fitted.earlier,
            "forgetting": fitted.forgetting,
            "parameters": task.count_params(),
            "versions": versions(),
        }
        write_json(os.path.join(partial, "run.json"), record)
    return record


def versions():
    """The versions that a run depends on."""
    names = (
        "tensorflow",
        "keras",
        "keras-hub",
        "tensorflow-text",
        "numpy",
        "opencv-python-headless",
    )
    if keras.config.backend() == "jax":
        names += ("jax",)
    return {"python": platform.python_version(), **{n: metadata.version(n) for n in names}}


class _Clock:
    """Seconds per stage."""

    def __init__(self):
        self._start = self._last = time.monotonic()
        self._laps = {}

    def lap(self, name):
        now = time.monotonic()
        self._laps[name] = round(now - self._last, 2)
        self._last = now

    def part(self, name, seconds):
        """Notes what a part of a stage took."""
        self._laps[name] = round(seconds, 2)

    def seconds(self):
        return {**self._laps, "total": round(time.monotonic() - self._start, 2)}
