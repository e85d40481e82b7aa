"""Where the metrics of every epoch are written besides `run.json`: a table, or an experiment tracker."""

import contextlib
import csv
import glob
import importlib
import json
import os
import time

import keras
import tensorflow as tf

from data_prep.names import find


class Logger(keras.callbacks.Callback):
    """A callback for all phases of a run, which knows what was before it. Base class.

    A subclass defines `write(step, logs)`, and what it needs of `begin(is_new)` and `end(failed)`.
    `run_phases` sets `records` at the beginning of each phase. A step is an epoch, counted over all
    phases from 1 on, as in the figure of the convergence.

    Args:
        folder: str. Everything that the logger keeps on this machine is in it.
        name: str. Of the run.
        config: dict of plain JSON types. Of the run.
    """

    def __init__(self, folder, name, config):
        super().__init__()
        self.folder = folder
        self.name = name
        self.config = config
        self.records = []
        self._is_open = False

    def on_train_begin(self, logs=None):
        if not self._is_open:
            is_new = self._num_epochs() == 0  # and not one that goes on
            os.makedirs(self.folder, exist_ok=True)
            self.begin(is_new)
            self._is_open = True

    def on_epoch_end(self, epoch, logs=None):
        self.write(self._num_epochs(), {name: float(value) for name, value in logs.items()})

    def close(self, failed=False):
        """Ends what was begun."""
        if self._is_open:
            self.end(failed)
            self._is_open = False

    def begin(self, is_new):
        """Prepares to write; what an earlier run has left in the folder is replaced if `is_new`."""

    def write(self, step, logs):
        """Writes the metrics of an epoch, a dict of floats. `records` hold them already."""
        raise NotImplementedError(f"{type(self).__name__} must define `write(step, logs)`.")

    def end(self, failed):
        """Is called once at the end of the run."""

    def _num_epochs(self):
        return sum(len(record["history"].get("loss", ())) for record in self.records)


class CsvLogger(Logger):
    """Writes `history.csv`: phase, epoch, and all metrics of all phases.

    The whole table is written anew after each epoch and renamed when it is complete, so that it
    neither ends in half a row nor repeats one, however often a run was interrupted.
    """

    def write(self, step, logs):
        """Writes the table."""
        path = os.path.join(self.folder, "history.csv")
        names = list(dict.fromkeys(name for r in self.records for name in r["history"]))
        with open(f"{path}.partial", "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ["phase", "epoch", *names])
            table.writeheader()
            epoch = 0
            for record in self.records:
                history = record["history"]
                for row in zip(*history.values(), strict=True):
                    epoch += 1
                    values = dict(zip(history, row, strict=True))
                    table.writerow({"phase": record["name"], "epoch": epoch, **values})
        os.replace(f"{path}.partial", path)


class TensorBoardLogger(Logger):
    """Appends events for TensorBoard to `tensorboard/train` and `tensorboard/validation`.

    Writing needs TensorFlow alone; `pip install tensorboard` is for looking at it.
    """

    def begin(self, is_new):
        """Opens the event files."""
        root = os.path.join(self.folder, "tensorboard")
        folders = {split: os.path.join(root, split) for split in ("train", "validation")}
        for folder in folders.values() if is_new else ():
            for path in glob.glob(os.path.join(glob.escape(folder), "events.out.tfevents.*")):
                os.remove(path)
        self._writers = {
            split: tf.summary.create_file_writer(path) for split, path in folders.items()
        }
        self._metadata = tf.compat.v1.SummaryMetadata(
            plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR"
        )

    def write(self, step, logs):
        """Writes the same tag for training and validation, so that the curves share a chart."""
        for name, value in logs.items():
            is_measured = name.startswith(("val_", "contribution_"))  # on validation examples
            with self._writers["validation" if is_measured else "train"].as_default():
                # `tf.summary.scalar` would need the package `tensorboard`.
                tf.summary.write(name.removeprefix("val_"), value, step, self._metadata)
        for writer in self._writers.values():
            writer.flush()

    def end(self, failed):
        """Closes the event files."""
        for writer in self._writers.values():
            writer.close()


class _Tracker(Logger):
    """A logger whose run has an id, kept in the folder so that an interrupted run goes on."""

    package = None

    def __init__(self, folder, name, config):
        super().__init__(folder, name, config)
        try:
            self._package = importlib.import_module(self.package)
        except ModuleNotFoundError as error:
            if error.name != self.package:
                raise
            raise ValueError(
                f"The logger {self.package!r} needs a package that is not installed. Fix: "
                f"pip install {self.package}"
            ) from None

    def begin(self, is_new):
        """Opens the run, a new one or the one that was interrupted."""
        path = os.path.join(self.folder, f"{self.package}_run.txt")
        run_id = None
        if not is_new and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                run_id = file.read().strip()
        run_id = self.open_run(run_id)
        with open(path, "w", encoding="utf-8") as file:
            file.write(run_id)

    def open_run(self, run_id):
        """Opens the run with that id, or a new one for `None`, and returns its id."""
        raise NotImplementedError(f"{type(self).__name__} must define `open_run(run_id)`.")


class MLflowLogger(_Tracker):
    """Writes to MLflow: to `MLFLOW_TRACKING_URI` if it is set, else to `mlflow.db` in the folder."""

    package = "mlflow"

    def open_run(self, run_id):
        """Opens the run, with the config as its parameters."""
        mlflow = self._package
        root = os.path.abspath(self.folder)
        address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root}/mlflow.db"
        self._client = mlflow.MlflowClient(tracking_uri=address)
        if run_id is None:
            experiment = self._client.get_experiment_by_name(self.name)
            if experiment is None:
                experiment_id = self._client.create_experiment(self.name)
            else:
                experiment_id = experiment.experiment_id
            run_id = self._client.create_run(experiment_id).info.run_id
            parameters = [mlflow.entities.Param(*item) for item in _flat(self.config)]
            self._client.log_batch(run_id, params=parameters)
        self._run_id = run_id
        return run_id

    def write(self, step, logs):
        """Writes the metrics of an epoch."""
        now = int(1000 * time.time())
        metrics = [self._package.entities.Metric(n, v, now, step) for n, v in logs.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def end(self, failed):
        """Marks the run as ended."""
        self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")


class WandbLogger(_Tracker):
    """Writes to Weights & Biases; with `WANDB_MODE=offline`, to the folder alone."""

    package = "wandb"

    def open_run(self, run_id):
        """Opens the run in a project of the same name."""
        self._run = self._package.init(
            project=self.name, dir=self.folder, config=self.config, id=run_id, resume="allow"
        )
        return self._run.id

    def write(self, step, logs):
        """Writes the metrics of an epoch."""
        self._run.log(logs, step=step)

    def end(self, failed):
        """Ends the run."""
        self._run.finish(exit_code=int(failed))


LOGGERS = {
    "csv": CsvLogger,
    "mlflow": MLflowLogger,
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
}


def get(name, folder, run_name, config):
    """Makes a logger.

    Args:
        name: str. One of `LOGGERS`.
        folder: str. For what it keeps on this machine; made when training begins.
        run_name: str.
        config: dict of plain JSON types.

    Raises:
        ValueError: when the name is unknown or its package is not installed.
    """
    return find(name, LOGGERS, "logger")(folder, run_name, config)


@contextlib.contextmanager
def closing(loggers):
    """Closes loggers at the end, as failed after an error.

    Args:
        loggers: list of `Logger`.
    """
    failed = True
    try:
        yield loggers
        failed = False
    finally:
        for logger in loggers:
            logger.close(failed)


def _flat(config, prefix=""):
    """Yields `(name, value)` of the leaves of a config, such as `training.phases.0.epochs`."""
    items = enumerate(config) if isinstance(config, (list, tuple)) else config.items()
    for name, value in items:
        if isinstance(value, (dict, list, tuple)) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)
