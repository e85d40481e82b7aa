"""What a search draws, ends early, survives and goes on from. No training."""

import dataclasses
import json
import os
import types

import pytest

pytest.importorskip("optuna", reason="needs the extra `tune`")

from mmlearn import experiments
from mmlearn.experiments import search as module
from mmlearn.experiments.config import read_run
from mmlearn.experiments.search import Search, run_search, trial_experiment
from mmlearn.experiments.space import read_space
from mmlearn.experiments.task_kind import Measured

pytestmark = pytest.mark.large  # the tier whose environment has the extras

WORDS = ("model.dropout=0:0.5", "training.phases.2.learning_rate=1e-5:1e-2:log")


@pytest.fixture
def experiment(shapes_root, tmp_path):
    shapes = experiments.get("shapes")
    epochs = zip(shapes.training.phases, (1, 1, 2), strict=True)
    phases = tuple(dataclasses.replace(phase, epochs=count) for phase, count in epochs)
    return dataclasses.replace(
        shapes,
        data=dataclasses.replace(
            shapes.data, root=shapes_root, options={"num_train": 24, "num_val": 12}
        ),
        training=dataclasses.replace(shapes.training, strategy="none", phases=phases),
        output=str(tmp_path / "out"),
    )


def search(experiment, words=WORDS, metric="mAP"):
    return Search(experiment, read_space(words, experiment), metric)


class Fits:
    """Stands in for `fit`: the mAP is highest at a dropout of 0.2, and grows with the epochs.

    Attributes:
        problems: dict of the number of a call to the exception that it ends with.
        before_epoch: int. How many epochs there are before that.
        resumes: dict of the number of a call to the epoch that it goes on from.
    """

    def __init__(self):
        self.calls = 0
        self.epochs = []
        self.folders = []
        self.problems = {}
        self.before_epoch = 1
        self.resumes = {}

    def __call__(self, experiment, console, folder, callbacks):
        call, self.calls = self.calls, self.calls + 1
        self.folders.append(os.path.basename(folder))
        self.epochs.append(0)
        quality = 1 - abs(experiment.model.dropout - 0.2)
        for phase in experiment.training.phases:
            (callback,) = (make(phase) for make in callbacks)
            for epoch in range(phase.epochs):
                if self.epochs[-1] == self.before_epoch and call in self.problems:
                    raise self.problems[call]
                self.epochs[-1] += 1
                value = quality * (1 - 0.5 ** self.epochs[-1])
                callback.on_epoch_end(epoch, {"loss": 0.1, "val_classes_map": value})
        fused = {"mAP": quality, "AUC": 1 - quality}
        return types.SimpleNamespace(measured=Measured({"fused": fused}), data_print="print")


@pytest.fixture
def fits(monkeypatch):
    stand_in = Fits()
    monkeypatch.setattr(module, "fit", stand_in)
    # Nothing was built, so there is nothing to clear, and collecting garbage takes 0.2 s a trial.
    monkeypatch.setattr(module.keras.utils, "clear_session", lambda: None)
    return stand_in


def drawn(result):
    return [(t["value"], t["parameters"], t["state"], t["epochs"]) for t in result["trials"]]


def test_best_trial_is_first_and_its_config_can_be_trained(experiment, fits):
    result = run_search(search(experiment), 8)
    assert fits.calls == len(result["trials"]) == 8
    values = [t["value"] for t in result["trials"] if t["state"] == "complete"]
    assert values == sorted(values, reverse=True)
    assert result["value"] == values[0]
    config, data_print = read_run(result["best"])
    best = result["trials"][0]["parameters"]
    assert config.model.dropout == best["model.dropout"]
    assert config.training.phases[2].learning_rate == best["training.phases.2.learning_rate"]
    assert 1e-5 <= config.training.phases[2].learning_rate <= 1e-2
    assert data_print == "print"
    assert config.output == os.path.join(experiment.output, "best")
    with open(os.path.join(experiment.output, "trials.json")) as file:
        assert json.load(file) == result
    # The stand-in depends on the dropout alone.
    assert result["importances"]["model.dropout"] > 0.8


def test_trials_behind_the_median_end_early(experiment, fits):
    result = run_search(search(experiment), 9)
    early = [t for t in result["trials"] if t["state"] == "pruned"]
    assert early
    total = sum(phase.epochs for phase in experiment.training.phases)
    for trial in early:
        assert trial["epochs"] < total
        assert trial["value"] is None
        assert trial["problem"] is None
    complete = [t["epochs"] for t in result["trials"] if t["state"] == "complete"]
    assert set(complete) == {total}


def test_an_interrupted_search_ends_as_one_that_was_not(experiment, fits, tmp_path):
    whole = run_search(search(experiment), 13)
    other = dataclasses.replace(experiment, output=str(tmp_path / "other"))
    fits.calls, fits.folders = 0, []
    # The twelfth trial, whose values depend on those before it.
    fits.problems = {11: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run_search(search(other), 13)
    assert not os.path.exists(os.path.join(other.output, "best.json"))
    fits.problems = {}
    again = run_search(search(other), 13)
    assert drawn(again) == drawn(whole)
    # It goes on from its own checkpoints.
    assert fits.folders[11] == fits.folders[12] == "00011"
    assert len(fits.folders) == 14


def test_more_trials_are_added_to_a_finished_search(experiment, fits):
    first = run_search(search(experiment), 3)
    again = run_search(search(experiment), 3)
    assert (fits.calls, drawn(again)) == (3, drawn(first))
    more = run_search(search(experiment), 6)
    assert fits.calls == len(more["trials"]) == 6
    assert {str(t) for t in drawn(first)} < {str(t) for t in drawn(more)}


def test_reports_before_an_interruption_are_kept(experiment, fits):
    fits.problems, fits.before_epoch = {0: KeyboardInterrupt()}, 2
    with pytest.raises(KeyboardInterrupt):
        run_search(search(experiment), 1)
    fits.problems, fits.resumes = {}, {1: 2}
    result = run_search(search(experiment), 1)
    (trial,) = result["trials"]
    assert (trial["number"], trial["epochs"]) == (0, 4)


def test_a_crash_is_noted_and_the_search_goes_on(experiment, fits):
    fits.problems = {1: MemoryError("no memory"), 2: FloatingPointError("The loss became nan.")}
    fits.problems[3] = ValueError("`batch_size` is too large.")
    result = run_search(search(experiment), 6)
    assert len(result["trials"]) == fits.calls == 6
    problems = {t["number"]: (t["state"], t["problem"]) for t in result["trials"] if t["problem"]}
    assert problems == {
        1: ("fail", "MemoryError: no memory"),
        2: ("pruned", "The loss became nan."),
        3: ("fail", "`batch_size` is too large."),
    }


def test_crashes_in_a_row_end_the_search(experiment, fits):
    fits.problems = {call: ValueError("the disk is full.") for call in range(9)}
    with pytest.raises(ValueError, match=r"5 trials in a row have failed.*the disk is full\. Fix"):
        run_search(search(experiment), 20)
    assert fits.calls == 5
    with pytest.raises(ValueError, match=r"None of the 5 trials has ended.*the disk is full"):
        run_search(search(experiment), 5)


def test_another_search_in_the_folder_is_refused(experiment, fits):
    run_search(search(experiment), 2)
    seed = dataclasses.replace(experiment.training, seed=1)
    others = (
        search(dataclasses.replace(experiment, training=seed)),
        search(experiment, WORDS[:1]),
        search(experiment, metric="AUC"),
    )
    for other in others:
        with pytest.raises(ValueError, match=r"begun by `tune` with another experiment"):
            run_search(other, 2)
    restart = dataclasses.replace(experiment.training, restart=True)
    result = run_search(search(dataclasses.replace(experiment, training=restart), WORDS[:1]), 2)
    assert [set(t["parameters"]) for t in result["trials"]] == [{"model.dropout"}] * 2
    assert not read_run(result["best"])[0].training.restart


def test_metric_is_that_of_the_validation(experiment, fits):
    result = run_search(search(experiment, metric="AUC"), 3)
    dropout = result["trials"][0]["parameters"]["model.dropout"]
    assert result["value"] == pytest.approx(abs(dropout - 0.2))


@pytest.mark.parametrize(
    ("words", "metric", "message"),
    [
        (("model.fusion.name=concta,cross_attention",), "mAP", "Did you mean 'concat'"),
        (("model.images.name=resnet_tny",), "mAP", "Did you mean 'resnet_tiny'"),
        (("training.phases.0.loss=focl",), "mAP", "Unknown loss 'focl'"),
        (("model.fusion.options.num_haeds=2,4",), "mAP", "Did you mean 'num_heads'"),
        (WORDS, "macro_f1", "Did you mean 'macro_F1'"),
    ],
)
def test_unknown_names_are_refused_before_the_first_trial(words, metric, message, experiment, fits):
    with pytest.raises(ValueError, match=message):
        run_search(search(experiment, words, metric), 3)
    assert fits.calls == 0
    assert not os.path.exists(experiment.output)


def test_folds_are_refused(experiment, fits):
    with pytest.raises(ValueError, match="leave --folds out"):
        run_search(search(dataclasses.replace(experiment, folds=3)), 3)


def test_another_fusion_gets_no_options_that_it_does_not_take(experiment):
    values = {"model.fusion.name": "concat", "model.fusion.options.num_layers": 2}
    assert trial_experiment(experiment, values).model.fusion.options == {}
    values = {"model.fusion.name": "cross_attention", "model.fusion.options.num_layers": 2}
    known = experiment.model.fusion.options
    assert trial_experiment(experiment, values).model.fusion.options == {**known, "num_layers": 2}


@pytest.mark.parametrize(
    ("logs", "value"),
    [
        ({"val_classes_map": 0.5, "val_text_classes_map": 0.9, "classes_map": 0.1}, 0.5),
        ({"val_images_classes_map": 0.5, "val_text_classes_map": 0.9}, 0.7),
        ({"val_map": 0.25, "val_loss": 1.0}, 0.25),
        ({"val_loss": 1.0}, None),
    ],
)
def test_reported_is_the_fused_map_or_that_of_what_is_trained(logs, value):
    assert module._validation_score(logs) == (value if value is None else pytest.approx(value))


def test_command_prints_the_best_trials(experiment, fits, monkeypatch, capfd):
    from mmlearn.cli.main import main

    monkeypatch.setenv("COLUMNS", "120")
    arguments = [
        *(
            "tune",
            "shapes",
            "--trials",
            "4",
            "--space",
            *WORDS,
            "--data.root",
            experiment.data.root,
        ),
        *("--data.options", "num_train=24", "num_val=12", "--training.strategy", "none"),
        *("--output", experiment.output, "--json"),
    ]
    assert main(arguments) == 0
    captured = capfd.readouterr()
    summary = json.loads(captured.out)
    assert summary["trials"] == 4
    assert "4 trials, 0 ended early, 0 failed" in captured.err
    assert f"{summary['value']:.4f}" in captured.err
    assert f"python -m mmlearn train {summary['best']}" in captured.err
    config, _ = read_run(summary["best"])
    assert abs(config.model.dropout - 0.2) == pytest.approx(1 - summary["value"])


@pytest.mark.parametrize(("kind", "metric"), [("regression", "mAP"), ("multi_label", "R2")])
def test_the_metric_must_be_one_of_the_labels(experiment, monkeypatch, kind, metric):
    source = module.build_source(experiment.data)
    source.label_kind = kind
    monkeypatch.setattr(module, "build_source", lambda config: source)
    with pytest.raises(
        ValueError, match=rf"are {kind}, which {metric} is no metric of\. Fix: --metric"
    ):
        run_search(search(experiment, metric=metric), 1)


def test_a_trial_on_numbers_reports_their_score():
    score = module._validation_score
    assert score({"val_values_r2": 0.5, "val_images_values_r2": 0.1, "val_loss": 3.0}) == 0.5
    assert score({"val_images_classes_map": 0.2, "val_text_classes_map": 0.4}) == pytest.approx(0.3)
    assert score({"val_loss": 3.0}) is None


def test_names_of_encoders_may_be_those_of_presets_and_files(experiment):
    words = ["model.images.name=resnet_tiny,vit_base_patch16_224_imagenet,my.keras"]
    module._check(search(experiment, words), 1)
    with pytest.raises(ValueError, match=r"Unknown encoder of audio 'cov'\. Did you mean 'conv'"):
        module._check(search(experiment, ["model.audio.name=conv,cov"]), 1)
