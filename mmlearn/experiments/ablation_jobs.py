"""Trains what the rows of an ablation need, each job once, in this process or in one per device."""

import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import os
import threading
import time
import warnings
from dataclasses import dataclass
from multiprocessing.connection import wait

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from data_prep.arrays import read_arrays
from data_prep.fingerprint import fingerprint
from mmlearn.encoders.features import Features
from mmlearn.evaluation.evaluate import evaluate
from mmlearn.experiments.baselines import label_prior
from mmlearn.experiments.build import build_data, build_task, join_encoders
from mmlearn.experiments.config import Experiment
from mmlearn.experiments.output import remove, write_json
from mmlearn.experiments.run import fit, identity, open_sources
from mmlearn.training.distribution import make_strategy
from mmlearn.training.feature_cache import FeatureCache
from mmlearn.training.hosts import Hosts
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases

RUNS, CHECKPOINTS, FEATURES = "runs", "checkpoints", "features"
# A row that cannot be trained is not measured, and the others go on.
_OF_A_ROW = (ValueError, FloatingPointError, OSError, tf.errors.ResourceExhaustedError)


@dataclass(frozen=True)
class Job:
    """One training run.

    Attributes:
        kind: `"encoders"`, `"frozen"` or `"end_to_end"`.
        row: str, the row that it is for, in messages; others may need the same job.
        experiment: `Experiment`, of the phases that it trains.
        encoders: the `Job` whose encoders it starts from, or `None`.
    """

    kind: str
    row: str
    experiment: Experiment
    encoders: "Job | None" = None

    @property
    def key(self):
        """A name by all that decides the result: that of its files."""
        content = [identity(self.experiment), self.encoders and self.encoders.key]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{self.kind}-{self.experiment.training.seed}-{digest[:16]}"


def read_result(output, job):
    """Returns the result of a job, or `None` where it is not there.

    Args:
        output: str. The folder of the ablation.
        job: `Job`.

    Returns:
        A dict of `row`, `seed`, `metrics` (see `evaluate`), `history`, `seconds` (`train` and `total`) and
        `config`. Predictions are beside it, in a `.npz`.
    """
    try:
        with open(_path(output, job, ".json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def _path(output, job, end):
    return os.path.join(output, RUNS, f"{job.key}{end}")


def train_jobs(chains, output, num_workers=1, tell=lambda line: None):
    """Trains the jobs that have no result yet.

    Args:
        chains: list of lists of `Job`: each is done in its order by one worker, and those of a list after
            the encoders that it begins with, if they are not there already.
        output: str. The folder of the ablation.
        num_workers: int. With more than one, each is a process of its own: on a GPU of its own where
            there are some, else with its share of the processor's cores.
        tell: function that takes a line of text.

    Returns:
        A dict of a job's key to why it could not be trained.

    Raises:
        RuntimeError: when a worker ends by itself.
    """
    chains = [chain for chain in chains if any(read_result(output, job) is None for job in chain)]
    if num_workers == 1 or len(chains) < 2:
        worker, problems = Worker(output, tell), {}
        for chain in chains:
            problems.update(worker.run(chain))
        return problems
    return _train_in_processes(chains, output, num_workers, tell)


class Worker:
    """Trains one job after the other; what jobs in a row have in common is opened once.

    Args:
        output: str. The folder of the ablation.
        tell: function that takes a line of text.
    """

    def __init__(self, output, tell=lambda line: None):
        self.output = output
        self.tell = tell
        self._stored = None

    def run(self, chain):
        """Trains the jobs of a chain that have no result; returns a dict of key to problem."""
        problems = {}
        for job in chain:
            if read_result(self.output, job) is not None:
                continue
            if job.encoders is not None and job.encoders.key in problems:
                problems[job.key] = problems[job.encoders.key]
                continue
            start = time.monotonic()
            try:
                result, predictions = self._train(job)
            except _OF_A_ROW as error:
                problems[job.key] = " ".join(str(error).split())
                self.tell(f"{_name(job)}: failed, {problems[job.key]}")
                continue
            result["seconds"]["total"] = round(time.monotonic() - start, 2)
            self._write(job, result, predictions)
            self.tell(f"{_name(job)}: {_score(job, result)}{result['seconds']['total']:.0f} s")
        return problems

    def _train(self, job):
        train = self._train_frozen if job.kind == "frozen" else self._train_whole
        with warnings.catch_warnings():
            # A row without a loss means to leave what that alone trains as it is.
            warnings.filterwarnings("ignore", "Gradients do not exist")
            metrics, predictions, history, seconds = train(job)
        result = {
            "row": job.row,
            "seed": job.experiment.training.seed,
            "metrics": metrics,
            "history": history,
            "seconds": {"train": round(seconds, 2)},
            "config": identity(job.experiment),
        }
        return result, predictions

    def _train_whole(self, job):
        """Trains all of a model, or its encoders; goes on from its checkpoints."""
        keras.utils.clear_session()  # so that memory does not grow, and names are those of a new process
        self._stored = None
        experiment = dataclasses.replace(job.experiment, cache=self._cache(job.experiment))
        arrays = job.encoders and self._read_encoders(job.encoders)
        folder = os.path.join(self.output, CHECKPOINTS, job.key)
        prepare = (lambda task: _load_encoders(task, arrays)) if arrays else None
        fitted = fit(experiment, None, folder, prepare=prepare)
        if job.kind == "encoders":
            self._save(job, ".weights.npz", _encoder_arrays(fitted.task))
        remove(folder)
        measured, seconds = fitted.measured, fitted.clock.seconds()["train"]
        predictions = {**measured.predictions, "ids": np.array(fitted.source.examples("val").ids)}
        return measured.metrics, predictions, fitted.history, seconds

    def _train_frozen(self, job):
        """Trains fusion and head on stored features."""
        stored = self._open(job.encoders)
        training = job.experiment.training
        keras.utils.set_random_seed(training.seed)
        tf.config.experimental.enable_op_determinism()
        start = time.monotonic()
        with stored.strategy.scope():
            shapes = stored.task.backbone.output["features"]
            encoders = {
                modality: Features(*shapes[modality].shape[1:], name=f"{modality}_stored")
                for modality in job.experiment.model.modalities
            }
            task = join_encoders(
                job.experiment.model, stored.source, encoders, dtype=training.precision
            )
            _load_encoders(task, stored.arrays, heads_alone=True)
            history = run_phases(task, training.phases, stored.data)
            seconds = time.monotonic() - start
            if training.precision != "float32":
                task = task.with_dtype("float32")  # as `fit` scores
        validation = stored.data.validation()
        oracles = stored.source.oracles("val")
        metrics, predictions = evaluate(task, validation, stored.prior, oracles)
        predictions["ids"] = np.array(stored.source.examples("val").ids)
        return metrics, predictions, history, seconds

    def _open(self, job):
        """What the encoders of a job make of the data, stored."""
        if self._stored is None or self._stored.key != job.key:
            self._stored = None
            keras.utils.clear_session()
            self._stored = self._store(job)
        return self._stored

    def _store(self, job):
        experiment, training = job.experiment, job.experiment.training
        strategy = make_strategy(training.strategy, training.num_replicas)
        source, _, unlabeled, _ = open_sources(experiment, Hosts(strategy), Console(quiet=True))
        data_print = fingerprint(source, ("train", "val"))
        if unlabeled is not None:
            data_print = f"{data_print}-{fingerprint(unlabeled, ('train', 'val'))}"
        arrays = self._read_encoders(job)
        with strategy.scope():
            replicas, precision = strategy.num_replicas_in_sync, training.precision
            task = build_task(experiment.model, source, replicas, precision, unlabeled)
            _load_encoders(task, arrays)
            # Two epochs: of one, nothing would be stored.
            phase = TrainingPhase("features", 2, trainable=("fusion",), augment=False)
            task.set_trainable(phase.trainable)
            data = build_data(experiment, source, task.preprocessor).for_phase(phase)
            config = self._cache(experiment)
            lines = []
            cache = FeatureCache(config.folder, data_print, config.budget_gb, lines.append)
            prepared = cache.prepare(task, phase, data)
        if prepared is None or set(prepared[1].places) != set(experiment.model.modalities):
            why = f" ({lines[-1]})" if lines else ""
            raise ValueError(
                f"Rows with frozen encoders need the features of all modalities stored{why}. Fix: room in "
                f"{config.folder!r}, or --cache.budget-gb, or --cache.folder."
            )
        prior = label_prior(source, "train")
        return _Stored(job.key, strategy, source, *prepared, arrays, prior)

    def _cache(self, experiment):
        folder = experiment.cache.folder or os.path.join(self.output, FEATURES)
        return dataclasses.replace(experiment.cache, folder=folder)

    def _read_encoders(self, job):
        return read_arrays(_path(self.output, job, ".weights.npz"))

    def _write(self, job, result, predictions):
        self._save(job, ".npz", predictions)
        write_json(_path(self.output, job, ".json"), result)  # last: then all is there

    def _save(self, job, end, arrays):
        path = _path(self.output, job, end)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f"{path}.partial", "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(f"{path}.partial", path)


@dataclass(frozen=True)
class _Stored:
    """Data with the features of trained encoders in their place.

    Attributes:
        key: str, of the job that trained the encoders.
        strategy: `tf.distribute.Strategy`.
        source: a source.
        task: the task on stored features.
        data: its `SourceData`.
        arrays: dict, the weights of the encoders and their heads.
        prior: float array `(num_columns,)`, see `label_prior`.
    """

    key: str
    strategy: object
    source: object
    task: object
    data: object
    arrays: dict
    prior: np.ndarray


def _encoder_arrays(task):
    """The weights of the encoders and of their own heads: dict of str to array."""
    layers = {f"encoder:{m}": encoder for m, encoder in task.backbone.encoders.items()}
    layers.update({f"head:{n}": layer for n, layer in task.heads.items() if task.is_auxiliary(n)})
    return {
        f"{name}:{place}": array
        for name, layer in layers.items()
        for place, array in enumerate(layer.get_weights())
    }


def _load_encoders(task, arrays, heads_alone=False):
    """Puts such weights into a task: of its modalities, and of the heads that it has."""
    layers = {f"head:{n}": layer for n, layer in task.heads.items() if task.is_auxiliary(n)}
    if not heads_alone:
        layers.update({f"encoder:{m}": own for m, own in task.backbone.encoders.items()})
    for name, layer in layers.items():
        own = [arrays[key] for key in arrays if key.rpartition(":")[0] == name]
        if own:
            layer.set_weights(own)


def _name(job):
    kind = job.kind.replace("_", " ")
    what = kind if job.kind == "encoders" else f"{job.row}, {kind}"
    return f"seed {job.experiment.training.seed}, {what}"


def _score(job, result):
    if job.kind == "encoders":  # the fused prediction is not trained yet
        return ""
    fused = result["metrics"]["fused"]
    name = "mAP" if "mAP" in fused else "R2"
    return f"{name} {fused[name]:.4f}, "


# --- Processes -----------------------------------------------------------------------------------


def _train_in_processes(chains, output, num_workers, tell):
    count = min(num_workers, len(chains))
    devices = _devices(count)
    context, workers, problems = multiprocessing.get_context("spawn"), {}, {}
    waiting = list(chains)
    try:
        for device in devices:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, output, device, count))
            process.start()
            there.close()
            workers[here] = process
            here.send(waiting.pop(0))
        while workers:
            for connection in wait(list(workers)):
                try:
                    kind, content = connection.recv()
                except EOFError:
                    raise RuntimeError(
                        "A process of the ablation has ended by itself, maybe for lack of memory. Fix: "
                        "--workers 1; finished runs are kept."
                    ) from None
                if kind == "line":
                    tell(content)
                elif kind == "error":
                    raise RuntimeError(content)
                else:
                    problems.update(content)
                    if waiting:
                        connection.send(waiting.pop(0))
                    else:
                        connection.close()
                        workers.pop(connection).join()
    finally:
        for process in workers.values():
            process.terminate()
    return problems


def share_gpus():
    """Lets this process take memory of the GPUs as it needs it: else it would take all at once."""
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # it has started
            tf.config.experimental.set_memory_growth(gpu, True)


def _devices(count):
    """The GPU of each worker, as `CUDA_VISIBLE_DEVICES` names it; `None` where there is none."""
    gpus = [str(place) for place in range(len(tf.config.list_physical_devices("GPU")))]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpus and visible:
        gpus = visible.split(",")
    return [gpus[place % len(gpus)] if gpus else None for place in range(count)]


def _serve(connection, output, device, count):
    """Trains the chains that come, until the other end is closed: a worker's process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # before TensorFlow looks for devices
        share_gpus()
    else:
        tf.config.threading.set_intra_op_parallelism_threads(max(os.cpu_count() // count, 1))
    worker = Worker(output, lambda line: connection.send(("line", line)))
    try:
        while True:
            connection.send(("done", worker.run(connection.recv())))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:
        connection.send(("error", f"{type(error).__name__}: {error}"))


def _end_with_parent():
    """Ends this process when the one that started it is gone, which might start the same again."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
