"""Which folds are trained, resumed, refused, and how their results are joined. No training."""

import dataclasses
import json
import os

import numpy as np
import pytest

from data_prep.sources.shapes import ShapesSource
from mmlearn import experiments
from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.experiments import folds
from mmlearn.experiments.build import build_source
from mmlearn.experiments.config import read_run
from mmlearn.experiments.folds import run_folds
from mmlearn.experiments.run import fit, with_precision


@pytest.fixture
def experiment(shapes_root, tmp_path):
    shapes = experiments.get("shapes")
    return dataclasses.replace(
        shapes,
        data=dataclasses.replace(
            shapes.data, root=shapes_root, options={"num_train": 24, "num_val": 12}
        ),
        training=dataclasses.replace(shapes.training, strategy="none"),
        output=str(tmp_path / "out"),
        folds=3,
    )


class Runs:
    """Stands in for `run`: predicts a number per example; may stop before a fold."""

    def __init__(self):
        self.done = []
        self.stops_at = None

    def __call__(self, experiment, console):
        fold = experiment.data.fold
        if fold == self.stops_at:
            raise KeyboardInterrupt
        self.done.append(fold)
        source = build_source(experiment.data)
        index = source.examples("val")
        random = np.random.default_rng(fold)
        values = {name: random.random(index.labels.shape) for name in ("fused", "text")}
        scores = {name: multilabel_metrics(index.labels, own) for name, own in values.items()}
        os.makedirs(experiment.output)
        np.savez_compressed(
            os.path.join(experiment.output, "predictions.npz"),
            ids=np.array(index.ids),
            labels=index.labels,
            text_present=np.ones(len(index), bool),
            **values,
        )
        data = {
            "fingerprint": "a",
            "label_names": source.label_names,
            "label_prior": source.examples("train").labels.mean(axis=0).tolist(),
        }
        record = {"metrics": scores, "data": data, "seconds": {"train": 1.5, "total": 2.0}}
        with open(os.path.join(experiment.output, "run.json"), "w") as file:
            json.dump(record, file)


@pytest.fixture
def runs(monkeypatch):
    stand_in = Runs()
    monkeypatch.setattr(folds, "run", stand_in)
    # Nothing is built, so there is nothing to clear, and collecting garbage takes 0.2 s a fold.
    monkeypatch.setattr(folds.keras.utils, "clear_session", lambda: None)
    return stand_in


def test_every_example_is_predicted_once_by_a_model_that_has_not_seen_it(
    experiment, runs, shapes_root
):
    record = run_folds(experiment)
    assert runs.done == [0, 1, 2]
    with np.load(os.path.join(experiment.output, "predictions.npz")) as file:
        joined = dict(file)
    index = ShapesSource(shapes_root, num_train=24, num_val=12).examples("train")
    assert sorted(joined["ids"]) == sorted(index.ids)
    rows = [index.ids.index(name) for name in joined["ids"]]
    np.testing.assert_array_equal(joined["labels"], index.labels[rows])
    for fold in range(3):
        own = folds.fold_experiment(experiment, experiment.output, fold)
        trained = set(build_source(own.data).examples("train").ids)
        validated = set(joined["ids"][joined["fold"] == fold])
        assert len(validated) == 8
        assert not trained & validated
    pooled = multilabel_metrics(joined["labels"], joined["fused"])
    assert record["pooled"]["fused"] == pooled
    assert record["metrics"]["fused"]["mAP"]["mean"] == pytest.approx(
        np.mean(record["metrics"]["fused"]["mAP"]["folds"])
    )
    assert record["seconds"] == {"train": 4.5, "total": 6.0}


def test_record_is_on_disk_and_can_be_repeated(experiment, runs):
    record = run_folds(experiment)
    path = os.path.join(experiment.output, "folds.json")
    with open(path) as file:
        assert json.load(file) == json.loads(json.dumps(record))
    repeated, data_print = read_run(path)
    assert repeated == with_precision(experiment)
    assert data_print == record["data"]["fingerprint"]


def test_finished_folds_are_not_repeated(experiment, runs):
    runs.stops_at = 2
    with pytest.raises(KeyboardInterrupt):
        run_folds(experiment)
    assert not os.path.exists(os.path.join(experiment.output, "folds.json"))
    runs.stops_at = None
    interrupted = run_folds(experiment)
    assert runs.done == [0, 1, 2]
    assert run_folds(experiment) == interrupted
    assert runs.done == [0, 1, 2]


def test_another_experiment_is_refused_unless_restarted(experiment, runs):
    run_folds(experiment)
    for changes in ({"seed": 1}, {"batch_size": 8}):
        other = dataclasses.replace(
            experiment, training=dataclasses.replace(experiment.training, **changes)
        )
        with pytest.raises(ValueError, match=r"another experiment.* --training\.restart"):
            run_folds(other)
    with pytest.raises(ValueError, match="another experiment"):
        run_folds(dataclasses.replace(experiment, folds=4))
    data = dataclasses.replace(experiment.data, options={"num_train": 23, "num_val": 12})
    with pytest.raises(ValueError, match="other data"):
        run_folds(dataclasses.replace(experiment, data=data))
    assert runs.done == [0, 1, 2]
    training = dataclasses.replace(experiment.training, seed=1, restart=True)
    run_folds(dataclasses.replace(experiment, training=training, folds=2))
    assert runs.done == [0, 1, 2, 0, 1]
    assert not os.path.exists(os.path.join(experiment.output, "fold-2"))


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"num_folds": 3}, "--data.num-folds"),
        ({"fold": 1}, "--data.fold"),
        ({"val_fraction": 0.1}, "--data.val-fraction"),
    ],
)
def test_flags_of_a_single_fold_are_refused(changes, flag, experiment, runs):
    data = dataclasses.replace(experiment.data, **changes)
    with pytest.raises(ValueError, match=f"{flag} is for a single run. Fix: "):
        run_folds(dataclasses.replace(experiment, data=data))
    assert runs.done == []


def test_one_fold_and_more_folds_than_images_are_refused(experiment, runs):
    with pytest.raises(ValueError, match=r"`folds` must be at least 2. Received: folds=1"):
        run_folds(dataclasses.replace(experiment, folds=1))
    with pytest.raises(ValueError, match="too few images for 25 folds"):
        run_folds(dataclasses.replace(experiment, folds=25))
    assert not os.path.exists(experiment.output)


def test_a_single_run_takes_no_folds(experiment):
    with pytest.raises(ValueError, match=r"Received: folds=3\. Fix: .*run_folds"):
        fit(experiment)


def test_table_has_a_row_per_predictor_and_metric(experiment, runs, monkeypatch, capfd):
    from mmlearn.cli.main import main

    arguments = [
        *("--data.root", experiment.data.root, "--data.options", "num_train=24", "num_val=12"),
        *("--training.strategy", "none", "--output", experiment.output, "--folds", "3"),
    ]
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["train", "shapes", *arguments, "--json"]) == 0
    captured = capfd.readouterr()
    summary = json.loads(captured.out)
    assert summary["folds"] == f"{experiment.output}/folds.json"
    for metrics in summary["metrics"].values():
        assert "binary_accuracy" in metrics  # not in the table: mAP is what to read
        for metric in ("mAP", "macro_F1", "micro_F1", "AUC"):
            values = metrics[metric]
            interval = f"{values['low']:.3f} to {values['high']:.3f}"
            cells = (metric.replace("_", " "), f"{values['mean']:.4f}", interval)
            assert any(all(c in line for c in cells) for line in captured.err.splitlines()), cells
    assert main(["train", "shapes", *arguments, "--data.fold", "1"]) == 2
    assert "--data.fold is for a single run" in capfd.readouterr().err
