"""Loggers hold every epoch once, whatever happened to the run."""

import csv
import glob
import os
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.training import loggers
from mmlearn.training.checkpoints import Checkpoints
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests.training.test_contribution import (
    BATCH,
    STEPS,
    KillAt,
    Killed,
    classifier,
    examples,
    training_data,
)

CONFIG = {"name": "toy", "training": {"phases": [{"epochs": 2}, {"epochs": 1}], "loggers": []}}
RECORDS = [
    {"name": "encoders", "history": {"loss": [2.0, 1.0], "val_loss": [2.5, 1.5]}},
    {"name": "fusion", "history": {"loss": [0.5], "val_loss": [0.25], "contribution_text": [0.1]}},
]


def write_run(logger, records=RECORDS, first=0, failed=False):
    """Does what `run_phases` does with a logger, from the epoch `first` on."""
    done = 0
    for number, record in enumerate(records):
        history = record["history"]
        for epoch in range(len(history["loss"])):
            now = {name: values[:epoch] for name, values in history.items()}
            logger.records = [*records[:number], {"name": record["name"], "history": now}]
            done += 1
            if done <= first:
                continue
            logger.on_train_begin()
            logs = {name: values[epoch] for name, values in history.items()}
            for name, value in logs.items():  # the history comes before the loggers
                now[name] = [*now[name], value]
            logger.on_epoch_end(epoch, logs)
    logger.close(failed)


def read_csv(folder):
    with open(os.path.join(folder, "history.csv"), newline="") as file:
        return list(csv.DictReader(file))


def read_events(folder):
    """`{(split, tag): [(step, value)]}` of all event files."""
    from tensorflow.core.util import event_pb2

    found = {}
    for split in ("train", "validation"):
        for path in sorted(glob.glob(os.path.join(folder, "tensorboard", split, "events.*"))):
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                event = event_pb2.Event.FromString(record)
                for item in event.summary.value:
                    assert item.metadata.plugin_data.plugin_name == "scalars"
                    value = float(tf.make_ndarray(item.tensor))
                    found.setdefault((split, item.tag), []).append((event.step, value))
    return found


def test_csv_has_a_row_per_epoch_and_the_metrics_of_all_phases(tmp_path):
    write_run(loggers.get("csv", str(tmp_path), "toy", CONFIG))
    rows = read_csv(tmp_path)
    assert list(rows[0]) == ["phase", "epoch", "loss", "val_loss", "contribution_text"]
    assert [list(row.values()) for row in rows] == [
        ["encoders", "1", "2.0", "2.5", ""],
        ["encoders", "2", "1.0", "1.5", ""],
        ["fusion", "3", "0.5", "0.25", "0.1"],
    ]
    assert os.listdir(tmp_path) == ["history.csv"]


def test_tensorboard_counts_epochs_over_all_phases(tmp_path):
    write_run(loggers.get("tensorboard", str(tmp_path), "toy", CONFIG))
    expected = {
        ("train", "loss"): [(1, 2.0), (2, 1.0), (3, 0.5)],
        ("validation", "loss"): [(1, 2.5), (2, 1.5), (3, 0.25)],
        ("validation", "contribution_text"): [(3, pytest.approx(0.1))],
    }
    assert read_events(tmp_path) == expected


def test_tensorboard_appends_when_a_run_goes_on_and_replaces_an_earlier_one(tmp_path):
    write_run(loggers.get("tensorboard", str(tmp_path), "toy", CONFIG), RECORDS[:1])
    write_run(loggers.get("tensorboard", str(tmp_path), "toy", CONFIG), first=2)
    assert [step for step, _ in read_events(tmp_path)["train", "loss"]] == [1, 2, 3]
    write_run(loggers.get("tensorboard", str(tmp_path), "toy", CONFIG), RECORDS[:1])
    assert [step for step, _ in read_events(tmp_path)["train", "loss"]] == [1, 2]


@pytest.fixture
def mlflow(monkeypatch):
    """A stand-in for the package, which notes what it is asked to do."""
    calls = []

    class Client:
        def __init__(self, tracking_uri):
            calls.append(("at", tracking_uri))

        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            return f"experiment of {name}"

        def create_run(self, experiment_id):
            calls.append(("run", experiment_id))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="run-7"))

        def log_batch(self, run_id, metrics=(), params=()):
            calls.append((run_id, [*metrics, *params]))

        def set_terminated(self, run_id, status):
            calls.append((run_id, status))

    module = types.ModuleType("mlflow")
    module.MlflowClient = Client
    module.entities = types.SimpleNamespace(
        Metric=lambda name, value, time, step: (name, value, step), Param=lambda *item: item
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return calls


def test_mlflow_gets_config_metrics_and_the_end(mlflow, tmp_path):
    write_run(loggers.get("mlflow", str(tmp_path), "toy", CONFIG))
    assert mlflow[0] == ("at", f"sqlite:///{tmp_path}/mlflow.db")
    assert mlflow[1] == ("run", "experiment of toy")
    parameters = dict(mlflow[2][1])
    assert parameters["training.phases.1.epochs"] == "1"
    assert parameters["training.loggers"] == "[]"
    assert mlflow[3] == ("run-7", [("loss", 2.0, 1), ("val_loss", 2.5, 1)])
    assert mlflow[-1] == ("run-7", "FINISHED")


def test_mlflow_goes_on_with_its_run(mlflow, tmp_path, monkeypatch):
    write_run(loggers.get("mlflow", str(tmp_path), "toy", CONFIG), RECORDS[:1], failed=True)
    assert mlflow[-1] == ("run-7", "FAILED")
    del mlflow[:]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    write_run(loggers.get("mlflow", str(tmp_path), "toy", CONFIG), first=2)
    assert mlflow[0] == ("at", "http://localhost:5000")
    assert [what for what, _ in mlflow] == ["at", "run-7", "run-7"]


def test_wandb_gets_config_metrics_and_the_end_and_goes_on(tmp_path, monkeypatch):
    calls = []

    class Run:
        def __init__(self, **options):
            calls.append(options)
            self.id = options["id"] or "new"

        def log(self, values, step):
            calls.append((step, values))

        def finish(self, exit_code):
            calls.append(exit_code)

    module = types.ModuleType("wandb")
    module.init = Run
    monkeypatch.setitem(sys.modules, "wandb", module)
    write_run(loggers.get("wandb", str(tmp_path), "toy", CONFIG), RECORDS[:1], failed=True)
    assert calls[0] == {
        "project": "toy",
        "dir": str(tmp_path),
        "config": CONFIG,
        "id": None,
        "resume": "allow",
    }
    assert calls[1:] == [
        (1, {"loss": 2.0, "val_loss": 2.5}),
        (2, {"loss": 1.0, "val_loss": 1.5}),
        1,
    ]
    del calls[:]
    write_run(loggers.get("wandb", str(tmp_path), "toy", CONFIG), first=2)
    assert calls[0]["id"] == "new"
    assert calls[1][0] == 3
    assert calls[-1] == 0


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_package_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=rf"not installed\. Fix: pip install {name}$"):
        loggers.get(name, str(tmp_path), "toy", CONFIG)


def test_an_unknown_logger_gets_a_suggestion(tmp_path):
    with pytest.raises(
        ValueError, match=r"Unknown logger 'tensorbord'\. Did you mean 'tensorboard'"
    ):
        loggers.get("tensorbord", str(tmp_path), "toy", CONFIG)


def test_loggers_are_closed_as_failed_after_an_error():
    class Ends(loggers.Logger):
        def end(self, failed):
            ends.append(failed)

    ends = []
    for error in (None, KeyboardInterrupt):
        logger = Ends("unused", "toy", CONFIG)
        logger._is_open = True
        try:
            with loggers.closing([logger]):
                if error:
                    raise error
        except KeyboardInterrupt:
            pass
    assert ends == [False, True]


@pytest.mark.large
def test_an_interrupted_run_has_every_epoch_once(tmp_path):
    data = examples(BATCH * STEPS, 0)
    phases = [
        TrainingPhase("first", 2, ("head",), loss_weights={"classes": 1.0}),
        TrainingPhase("second", 2),
    ]

    def train(kill=None):
        made = [
            loggers.get(n, str(tmp_path / "logs"), "toy", CONFIG) for n in ("csv", "tensorboard")
        ]
        with loggers.closing(made):
            return run_phases(
                classifier(),
                phases,
                training_data(data),
                checkpoints=Checkpoints(str(tmp_path / "checkpoints")),
                checkpoint_seconds=0.0,
                callbacks=[lambda phase: kill or keras.callbacks.Callback()],
                loggers=made,
            )

    with pytest.raises(Killed):
        train(KillAt(batches=3 * STEPS + 3))  # in the second epoch of the second phase
    assert len(read_csv(tmp_path / "logs")) == 3
    records = train()
    rows = read_csv(tmp_path / "logs")
    assert [row["phase"] for row in rows] == ["first"] * 2 + ["second"] * 2
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    values = [value for record in records for value in record["history"]["loss"]]
    assert [float(row["loss"]) for row in rows] == values
    events = read_events(tmp_path / "logs")["train", "loss"]
    assert [step for step, _ in events] == [1, 2, 3, 4]
    np.testing.assert_allclose([value for _, value in events], values, rtol=1e-6)
