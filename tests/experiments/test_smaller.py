"""What is opened, pruned and taught from before a smaller model is trained."""

import dataclasses
import io
import json

import keras
import pytest
from rich.console import Console

from mmlearn import MultimodalClassifier
from mmlearn.experiments.compression_config import DistillationConfig, PruningConfig
from mmlearn.experiments.config import (
    ContinualConfig,
    DataConfig,
    Experiment,
    ModelConfig,
    TrainingConfig,
    from_dict,
    to_dict,
)
from mmlearn.experiments.smaller import open_smaller, pruning_callbacks
from mmlearn.training.phase import TrainingPhase
from tests import toys

PHASES = (TrainingPhase("first", 1), TrainingPhase("last", 2), TrainingPhase("none", 0))


@pytest.fixture(scope="module")
def saved(shapes, tmp_path_factory):
    """A preset for the labels of the small data set."""
    keras.utils.set_random_seed(0)
    names = list(shapes.label_names)
    task = MultimodalClassifier(
        toys.backbone(), len(names), toys.preprocessor(), label_names=names, hidden_dim=8
    )
    folder = str(tmp_path_factory.mktemp("saved") / "preset")
    task.save_to_preset(folder)
    return folder


def experiment(shapes_root, **parts):
    data = DataConfig("shapes", shapes_root, {"num_train": 24, "num_val": 12})
    return Experiment("smaller", data, ModelConfig(), TrainingConfig(PHASES), **parts)


@pytest.mark.parametrize("criterion", ["taylor", "l1"])
def test_a_saved_model_loses_the_share_of_its_units(
    criterion, saved, shapes, shapes_root, tmp_path
):
    pruning = PruningConfig(saved, 0.5, criterion, examples=8)
    told = io.StringIO()
    config = experiment(shapes_root, pruning=pruning)
    smaller = open_smaller(config, str(tmp_path), Console(file=told, width=200))
    source = smaller.join(shapes, config, smaller.console)
    task = smaller.build_classifier(source, config.model)
    assert task.count_params() < 0.5 * smaller.pruned.count_params()
    assert "pruned stem_conv: 16 of 32 are left" in told.getvalue()
    assert smaller.build_learner(task) is task
    assert task.label_names == list(shapes.label_names)


def test_a_pruned_model_may_learn_from_the_one_that_it_was(saved, shapes, shapes_root, tmp_path):
    config = experiment(
        shapes_root,
        pruning=PruningConfig(saved, 0.5, "l1"),
        distillation=DistillationConfig(saved),
    )
    smaller = open_smaller(config, str(tmp_path), Console(quiet=True))
    task = smaller.build_classifier(smaller.join(shapes, config, smaller.console), config.model)
    learner = smaller.build_learner(task, "float32")
    assert "text_to_images_attention" in learner.output
    assert learner.count_params() == task.count_params()
    first, second = smaller.weights.split("-")
    assert first == second
    assert smaller.record(shapes) == {"weights": smaller.weights}


def test_nothing_is_opened_where_nothing_is_to_become_smaller(shapes_root):
    config = experiment(shapes_root, pruning=PruningConfig(sparsity=0.5))
    assert open_smaller(config, "output", Console(quiet=True)) is None


def test_single_weights_are_pruned_in_the_last_phase_that_trains(shapes_root):
    config = experiment(shapes_root, pruning=PruningConfig(sparsity=0.5, every=3))
    (make,) = pruning_callbacks(config, PHASES, steps_per_epoch=4)
    assert type(make(PHASES[0])) is keras.callbacks.Callback
    assert vars(make(PHASES[1])).items() >= {"sparsity": 0.5, "num_steps": (2, 4)}.items()
    assert pruning_callbacks(experiment(shapes_root), PHASES, 4) == []
    kept = [dataclasses.replace(PHASES[1], restore_best=True)]
    with pytest.raises(
        ValueError, match=r"'last' ends with other weights .* Fix: no `restore_best`"
    ):
        pruning_callbacks(config, kept, 4)


def test_what_does_not_fit_is_refused(saved, shapes_root, tmp_path):
    config = experiment(shapes_root, pruning=PruningConfig(saved), continual=ContinualConfig(saved))
    with pytest.raises(ValueError, match=r"one after the other. Fix: leave out --continual.model"):
        open_smaller(config, str(tmp_path), Console(quiet=True))
    config = experiment(shapes_root, pruning=PruningConfig(saved, criterion="taylr"))
    with pytest.raises(ValueError, match=r"Did you mean 'taylor'\?"):
        open_smaller(config, str(tmp_path), Console(quiet=True))
    with pytest.raises(ValueError, match=r"`units` are removed from an earlier model. Fix"):
        PruningConfig(units=0.5)
    with pytest.raises(ValueError, match=r"`sparsity` must be in \[0.01, 0.999\]. Received"):
        PruningConfig(sparsity=1.0)
    with pytest.raises(ValueError, match=r"`temperature` must be positive"):
        DistillationConfig(temperature=0)
    with pytest.raises(ValueError, match=r"`attention` must be in \[0, inf\]"):
        DistillationConfig(attention=-1)


def test_configs_of_before_have_neither(shapes_root):
    values = json.loads(json.dumps(to_dict(experiment(shapes_root))))
    del values["pruning"], values["distillation"]
    assert from_dict(Experiment, values) == experiment(shapes_root)
