"""A search for good settings: many trials of one experiment. Needs the extra `tune` (Optuna)."""

import dataclasses
import itertools
import os
import shutil
import time
from dataclasses import dataclass

import keras
import numpy as np
import optuna
from optuna.trial import TrialState
from rich.console import Console

from data_prep.fingerprint import fingerprint
from data_prep.names import find, parameters
from mmlearn.encoders import ENCODERS, image_presets
from mmlearn.experiments.begun import open_output
from mmlearn.experiments.build import build_source
from mmlearn.experiments.config import to_dict
from mmlearn.experiments.continual import with_earlier_model
from mmlearn.experiments.output import write_json
from mmlearn.experiments.run import check_one_host, fit, identity, versions, with_precision
from mmlearn.experiments.values import with_values
from mmlearn.fusions import FUSIONS
from mmlearn.losses import classification, regression
from mmlearn.training.distribution import make_strategy

CONTENTS = ("study.sqlite3*", "checkpoints", "best.json", "trials.json")  # what it leaves
METRICS = ("mAP", "macro_F1", "micro_F1", "AUC", "R2")  # the last of numbers
MOST_FAILURES = 5  # in a row; then it is not the values that are wrong
_FUSION_OPTIONS = "model.fusion.options."


@dataclass(frozen=True)
class Search:
    """A search: where its trials come from.

    Attributes:
        experiment: `Experiment`.
        space: tuple of `Parameter`, what is varied.
        metric: str, that of the fused prediction on the validation split which is to be high.
    """

    experiment: object
    space: tuple
    metric: str = "mAP"


def run_search(search, num_trials=20, console=None):
    """Draws settings, trains with them, and keeps the best.

    Trials are drawn by a tree-structured Parzen estimator, and ended early when their validation
    mAP falls behind the median of the earlier ones at the same epoch. The draws of a trial are a function
    of the seed and the results before it, so that an interrupted search, which goes on with the
    next call, ends as one that was not interrupted. A trial that fails is noted, and the search
    goes on.

    Args:
        search: `Search`. Its experiment's `training.seed` is also that of the draws.
        num_trials: int. How many trials there are in all, those of earlier calls included.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        A dict of `output`, `metric`, `best` (path of the `best.json`, which can be trained), `value`,
        `trials` (list of dicts, the best first, those that did not end after them) and
        `importances` (dict of path to share, or empty).

    Raises:
        ValueError: when the space, the metric, the data (`DataError`) or the output folder is not
            right, several trials in a row fail, or none has ended.

    Reference:
        Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011. Akiba et al.,
        "Optuna", 2019.
    """
    _check(search, num_trials)
    experiment = search.experiment
    check_one_host(experiment, "A search")
    console = console or Console(quiet=True)
    output = experiment.output or os.path.join("saved_models", f"{experiment.name}-search")
    # Devices before the first op; the trials find them made.
    make_strategy(experiment.training.strategy, experiment.training.num_replicas)
    # Trials of different precisions could not be compared.
    experiment = with_precision(with_earlier_model(experiment))
    source = build_source(experiment.data)
    is_prediction = experiment.model.task.name == "prediction"
    if is_prediction and (source.label_kind == "regression") != (search.metric == "R2"):
        needed = "--metric R2" if source.label_kind == "regression" else "--metric mAP"
        raise ValueError(
            f"The labels of {source.root!r} are {source.label_kind}, which {search.metric} is no metric "
            f"of. Fix: {needed}."
        )
    search = dataclasses.replace(search, experiment=experiment)
    begun = {
        "command": "tune",
        "config": identity(experiment),
        "data": fingerprint(source, ("train", "val")),
        "space": [dataclasses.asdict(parameter) for parameter in search.space],
        "metric": search.metric,
    }
    open_output(output, begun, CONTENTS, experiment.training.restart)
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{os.path.abspath(os.path.join(output, 'study.sqlite3'))}"
    )
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=experiment.name,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(),
            load_if_exists=True,
        )
        _run_trials(study, search, num_trials, output, console)
        return _write_results(study, search, output)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def trial_experiment(experiment, values):
    """Returns the experiment of a trial.

    Args:
        experiment: `Experiment` of the search.
        values: dict of path to value. Options that another fusion than the experiment's own does not
            take are left out.
    """
    trial = with_values(experiment, values)
    fusion = trial.model.fusion
    if fusion.name != experiment.model.fusion.name:
        taken = parameters(FUSIONS[fusion.name])
        options = {name: value for name, value in fusion.options.items() if name in taken}
        fusion = dataclasses.replace(fusion, options=options)
    return dataclasses.replace(
        trial,
        model=dataclasses.replace(trial.model, fusion=fusion),
        training=dataclasses.replace(trial.training, restart=False),
    )


class ReportToStudy(keras.callbacks.Callback):
    """Reports the validation mAP, or R², of every epoch, and ends a trial that falls behind.

    Where the phase does not train the fused prediction, that is the mean of the modalities' own.

    Args:
        trial: `optuna.Trial`.
        first_epoch: int. That of the phase, counted over all phases.
        reported: set of the epochs that were reported already; it grows.

    Raises:
        optuna.TrialPruned: out of `fit`.
    """

    def __init__(self, trial, first_epoch, reported):
        super().__init__()
        self.trial = trial
        self.first_epoch = first_epoch
        self.reported = reported

    def on_epoch_end(self, epoch, logs=None):
        value = _validation_score(logs)
        if value is None:
            return
        step = self.first_epoch + epoch
        if step not in self.reported:
            self.trial.report(value, step)
            self.reported.add(step)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def _validation_score(logs):
    scores = {n: v for n, v in logs.items() if n.startswith("val_") and n.endswith(("map", "r2"))}
    fused = ("val_classes_map", "val_map", "val_values_r2", "val_r2")
    main = [scores[name] for name in fused if name in scores]
    values = main or list(scores.values())
    return float(np.mean(values)) if values else None


def _check(search, num_trials):
    if num_trials < 1:
        raise ValueError(f"`num_trials` must be at least 1. Received: {num_trials}. Fix: --trials.")
    find(search.metric, METRICS, "metric")
    if search.experiment.folds is not None:
        raise ValueError(
            "A search trains each trial once. Fix: leave --folds out, and cross-validate its "
            "best.json afterwards."
        )
    registries = {f"model.{m}.name": (known, f"encoder of {m}") for m, known in ENCODERS.items()}
    registries["model.fusion.name"] = (FUSIONS, "fusion")
    fusions = {search.experiment.model.fusion.name}
    for parameter in search.space:
        known = registries.get(parameter.path)
        if parameter.path.startswith("training.phases.") and parameter.path.endswith(".loss"):
            known = (("auto", *classification.LOSSES, *regression.LOSSES), "loss")
        for choice in parameter.choices if known else ():
            if parameter.path != "model.images.name" or image_presets.find(choice) is None:
                find(choice, *known)
        if parameter.path == "model.fusion.name":
            fusions = set(parameter.choices)
    options = set()
    for name in fusions:
        options |= set(parameters(find(name, FUSIONS, "fusion")))
    for parameter in search.space:
        if parameter.path.startswith(_FUSION_OPTIONS):
            name = parameter.path.removeprefix(_FUSION_OPTIONS)
            find(name, options, f"option of fusion {' or '.join(sorted(fusions))}")


def _run_trials(study, search, num_trials, output, console):
    _take_over(study)
    failures = 0
    while (done := len(_done(study))) < num_trials:
        # A sampler that starts anew with each trial: after an interruption it draws the same.
        seed = np.random.SeedSequence([search.experiment.training.seed, done]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
        trial = study.ask()
        title = f"[bold]trial {done + 1} of {num_trials}[/]"
        result = _run_trial(trial, study, search, output, console, title)
        failures = failures + 1 if result.startswith("failed") else 0
        console.print(f"{title}: {result}", highlight=False)
        if failures == MOST_FAILURES:
            raise ValueError(
                f"{failures} trials in a row have failed, so it is not the values that are wrong. The "
                f"last: {result.removeprefix('failed: ')} Fix: repair that and start the same "
                "command again."
            )


def _done(study):
    """The trials that ended by themselves; one that was interrupted has failed without a problem."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return [t for t in study.get_trials() if t.state in ended or "problem" in t.user_attrs]


def _take_over(study):
    """Makes trials that an interruption has left the next ones."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        # In this order: what is interrupted in between is done twice, and not lost.
        if "problem" not in trial.user_attrs:
            study.enqueue_trial(trial.params, user_attrs={"continues": trial.number})
        study.tell(trial.number, state=TrialState.FAIL)


def _run_trial(trial, study, search, output, console, title):
    """Runs a trial and tells the study; returns what became of it, in words."""
    reported, first = set(), trial.number
    if "continues" in trial.user_attrs:
        earlier = study.get_trials()[trial.user_attrs["continues"]]
        for step, value in earlier.intermediate_values.items():
            trial.report(value, step)
            reported.add(step)
        first = earlier.user_attrs.get("first", earlier.number)
    trial.set_user_attr("first", first)
    values = {parameter.path: _draw(trial, parameter) for parameter in search.space}
    console.print(f"{title}: {values_in_words(values)}", highlight=False)
    experiment = trial_experiment(search.experiment, values)
    logs = os.path.join(experiment.training.log_dir or f"{output}.logs", f"{first:05d}")
    training = dataclasses.replace(experiment.training, log_dir=logs)
    experiment = dataclasses.replace(experiment, training=training)
    phases = [phase for phase in experiment.training.phases if phase.epochs > 0]

    def report(phase):
        before = itertools.takewhile(lambda other: other is not phase, phases)
        return ReportToStudy(trial, sum(other.epochs for other in before), reported)

    folder = os.path.join(output, "checkpoints", f"{first:05d}")
    start = time.monotonic()
    keras.utils.clear_session()  # so that memory does not grow
    try:
        fitted = fit(experiment, console, folder, callbacks=[report])
        scores = next(iter(fitted.measured.metrics.values()))  # of the model itself
        value = find(search.metric, scores, "metric of this task")
        if not np.isfinite(value):
            raise ValueError(f"{search.metric} is {value}, which cannot be compared.")
        trial.set_user_attr("data", fitted.data_print)
        trial.set_user_attr("seconds", round(time.monotonic() - start, 2))
        study.tell(trial, value)
        result = f"{search.metric} {value:.4f}"
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        result = "ended early, behind the others"
    except FloatingPointError as error:
        # Told as ended early and not as failed: so the sampler learns to stay away from there.
        trial.set_user_attr("problem", str(error))
        study.tell(trial, state=TrialState.PRUNED)
        result = f"ended early: {error}"
    except Exception as error:
        is_users = isinstance(error, (ValueError, OSError))
        problem = str(error) if is_users else f"{type(error).__name__}: {error}"
        problem = " ".join(problem.split())
        trial.set_user_attr("problem", problem)
        study.tell(trial, state=TrialState.FAIL)
        result = f"failed: {problem}"
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _draw(trial, parameter):
    if parameter.choices:
        return trial.suggest_categorical(parameter.path, parameter.choices)
    draw = trial.suggest_int if isinstance(parameter.low, int) else trial.suggest_float
    return draw(parameter.path, parameter.low, parameter.high, log=parameter.log)


def values_in_words(values):
    """Writes drawn values in one line, by the last parts of their paths.

    Example:

    >>> values_in_words({"training.phases.2.learning_rate": 0.000123456, "model.dropout": 0.25})
    'phases.2.learning_rate 0.000123, dropout 0.25'
    """
    words = []
    for path, value in values.items():
        name = path.removeprefix("training.").removeprefix("model.")
        words.append(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(words)


def _write_results(study, search, output):
    """Writes `best.json` and `trials.json`, and returns what `run_search` does."""
    done = _done(study)
    ended = [trial for trial in done if trial.state == TrialState.COMPLETE]
    if not ended:
        problems = [trial.user_attrs["problem"] for trial in done if "problem" in trial.user_attrs]
        raise ValueError(
            f"None of the {len(done)} trials has ended. The last problem: {(problems or ['none'])[-1]} "
            "Fix: another --space, or more --trials."
        )
    ended.sort(key=lambda trial: (-trial.value, trial.number))
    trials = [
        {
            "number": trial.user_attrs["first"],
            "state": trial.state.name.lower(),
            "value": trial.value if trial.state == TrialState.COMPLETE else None,
            "parameters": trial.params,
            "epochs": len(trial.intermediate_values),
            "seconds": trial.user_attrs.get("seconds"),
            "problem": trial.user_attrs.get("problem"),
        }
        for trial in [*ended, *(trial for trial in done if trial.state != TrialState.COMPLETE)]
    ]
    best = trial_experiment(search.experiment, ended[0].params)
    best = dataclasses.replace(best, output=os.path.join(output, "best"))
    record = {
        "config": to_dict(best),
        "data": {"fingerprint": ended[0].user_attrs["data"]},
        "metric": search.metric,
        "value": ended[0].value,
        "parameters": ended[0].params,
        "versions": versions(),
    }
    result = {
        "output": output,
        "metric": search.metric,
        "best": os.path.join(output, "best.json"),
        "value": ended[0].value,
        "trials": trials,
        "importances": _importances(study),
    }
    for name, content in (("best.json", record), ("trials.json", result)):
        write_json(os.path.join(output, name), content)
    shutil.rmtree(os.path.join(output, "checkpoints"), ignore_errors=True)
    return result


def _importances(study):
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        return optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError):  # too few trials, or all alike
        return {}
