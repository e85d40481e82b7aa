"""Phases without labels train encoders, resume exactly, and say what they lack."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.sources.shapes import ShapesSource
from data_prep.sources.source import Examples, Source
from mmlearn.training import objectives
from mmlearn.training.checkpoints import Checkpoints
from mmlearn.training.contribution import ContributionMonitor
from mmlearn.training.data import SourceData, from_dataset
from mmlearn.training.objectives import OBJECTIVES
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests import toys
from tests.programs import run_program
from tests.training.test_phases import weights_by_part
from tests.training.test_resume import KillAt, Killed

UNLABELED = sorted(set(OBJECTIVES) - {"labels"})
STEPS, BATCH_SIZE = 3, 8
SLOW, FULL = pytest.mark.large, pytest.mark.full


@pytest.fixture(scope="module", autouse=True)
def deterministic():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("data") / "shapes")
    return ShapesSource(root, num_train=BATCH_SIZE * STEPS + 1, num_val=BATCH_SIZE + 3)


def toy(source, modalities=("images", "text")):
    keras.utils.set_random_seed(3)
    small = toys.classifier(modalities, fusion="concat")
    return type(small)(
        small.backbone,
        len(source.label_names),
        preprocessor=small.preprocessor,
        hidden_dim=8,
    )


def data_for(task, source, **options):
    return SourceData(source, task.preprocessor, BATCH_SIZE, **options)


class Texts(Source):
    """Texts alone, and no labels."""

    splits = ("train", "val")

    def _read_split(self, split):
        captions = [["a red dog"], ["a cat on the sofa"], ["a blue circle"], []] * BATCH_SIZE
        ids = [f"{split}-{row}" for row in range(len(captions))]
        groups = np.arange(len(captions), dtype=np.int64)
        return Examples(ids, groups, np.zeros((len(ids), 0), np.uint8), captions=captions), {}


@pytest.mark.parametrize(
    "objective",
    [o if o == "masked_language" else pytest.param(o, marks=SLOW) for o in UNLABELED],
)
def test_a_phase_lowers_its_loss_and_trains_the_encoders_that_it_needs(source, objective):
    task = toy(source)
    before = weights_by_part(task)
    phase = TrainingPhase("alone", 5, objective=objective, learning_rate=3e-3)
    data = data_for(task, source, class_weights="balanced", augmentations=("flip", "drop_words"))
    sample = data.validation().take(1)
    monitor = ContributionMonitor(sample, task)
    (record,) = run_phases(task, [phase], data, callbacks=[monitor.for_phase])
    history = record["history"]
    assert set(history) == {"loss", "val_loss"}
    assert history["loss"][-1] < 0.95 * history["loss"][0]
    assert np.isfinite(history["val_loss"]).all()
    after = weights_by_part(task)
    changed = {
        part
        for part, weights in before.items()
        if any((a != b).any() for a, b in zip(weights, after[part], strict=True))
    }
    learned = OBJECTIVES[objective].task.trained or OBJECTIVES[objective].task.modalities
    assert changed == {f"{modality}_encoder" for modality in learned}
    assert task.trainable_variables and all(
        layer.trainable for layers in task.parts.values() for layer in layers
    )


def test_what_regions_say_of_a_word_adds_up_to_how_often_it_occurs(source):
    task = toy(source)
    phase = TrainingPhase("alone", 1, objective="caption_counts")
    learner, data = objectives.prepare(task, phase, data_for(task, source))
    x, _, _ = next(iter(data.validation()))
    found = learner.predict_on_batch(x)["objective"]
    features, _ = task.backbone.encode(x, training=False)
    head = learner.heads["caption_counts"]
    rates = np.log1p(np.exp(features["images"] @ head.kernel + head.bias)).sum(1)
    length = x["token_ids"].shape[1]
    np.testing.assert_allclose(rates.sum(1), length, rtol=0.5)  # at first, those of a text
    for row, value in enumerate(found):
        ids = x["token_ids"][row][x["padding_mask"][row] > 0]
        counts = np.bincount(ids, minlength=rates.shape[1])
        expected = (rates[row] - counts * np.log(rates[row])).sum() / len(ids)
        assert value == pytest.approx(expected, rel=1e-4)


def test_frozen_encoders_stay_as_they_are(source):
    task = toy(source)
    phase = TrainingPhase("tune", 1, ("text_encoder",), objective="image_text_contrast")
    learner, _ = objectives.prepare(task, phase, data_for(task, source))
    paths = {variable.path for variable in learner.trainable_variables}
    assert not any(path.startswith("images_encoder") for path in paths)
    assert any("token_embedding" in path for path in paths)
    assert {"image_text_contrast/logit_scale", "images_embedding/kernel"} <= paths


@pytest.mark.parametrize(
    "objective", [o if o == "masked_language" else pytest.param(o, marks=FULL) for o in UNLABELED]
)
def test_what_is_drawn_is_the_same_from_any_position_on(source, objective):
    task = toy(source, OBJECTIVES[objective].task.modalities)
    phase = TrainingPhase("alone", 2, objective=objective)
    _, data = objectives.prepare(task, phase, data_for(task, source))

    def batches(dataset, count):
        return [batch[0] for batch in dataset.take(count).as_numpy_iterator()]

    first = batches(data.build(), 2 * STEPS)
    later = batches(data.build(start=(1, 1)), 1)
    drawn = [name for name in first[0] if name in ("text_draws", "images_views")]
    for name, values in later[0].items():
        np.testing.assert_array_equal(values, first[STEPS + 1][name])
    for name in drawn:
        assert (first[0][name] != first[STEPS][name]).any()
    for one, two in zip(batches(data.validation(), 2), batches(data.validation(), 2), strict=True):
        for name, values in one.items():
            np.testing.assert_array_equal(values, two[name])


def test_two_views_differ_and_show_the_same_image(source):
    task = toy(source, ("images",))
    phase = TrainingPhase("alone", 1, objective="image_contrast")
    _, data = objectives.prepare(task, phase, data_for(task, source))
    x, _, _ = next(iter(data.validation()))
    views = x["images_views"].numpy()
    assert views.shape == (BATCH_SIZE, 2, toys.IMAGE_SIZE, toys.IMAGE_SIZE, 3)
    assert (views[:, 0] != views[:, 1]).any(axis=(1, 2, 3)).all()
    assert set(x) == {"images_views", "images_present", "pair"}


def test_files_that_are_not_needed_are_not_opened(tmp_path):
    source = ShapesSource(str(tmp_path / "shapes"), num_train=BATCH_SIZE, num_val=BATCH_SIZE)
    task = toy(source, ("text",))
    for path in source.examples("val").images:
        os.remove(path)
    phase = TrainingPhase("alone", 1, objective="masked_language")
    _, data = objectives.prepare(task, phase, data_for(task, source))
    ((x, _, _),) = data.validation()
    assert set(x) == {*task.backbone.encoders["text"].model_inputs("text"), "text_draws"} | {
        "text_present"
    }
    assert data.places == ()  # nothing is stored


def train(source, phases, folder=None, kill=None):
    task = toy(source, ("text",))
    texts = data_for(task, Texts(None))  # one step an epoch more than the labelled
    records = run_phases(
        task,
        phases,
        data_for(task, source, augmentations=("drop_words",)),
        checkpoints=Checkpoints(folder) if folder else None,
        checkpoint_seconds=0.0,
        callbacks=[] if kill is None else [lambda phase: kill],
        unlabeled=texts,
    )
    return [np.array(weight) for weight in task.get_weights()], records


PHASES = (
    TrainingPhase("texts", 2, objective="masked_language", learning_rate=3e-3, restore_best=True),
    TrainingPhase("again", 1, objective="masked_language", learning_rate=3e-3),
    TrainingPhase("labels", 1, ("fusion", "head"), learning_rate=1e-2),
)


@pytest.mark.parametrize(
    ("count", "batches"),
    [
        # within the second epoch of the first phase, which has one step more
        pytest.param(1, STEPS + 3, marks=FULL),
        # at the first step of the second phase, whose head is made anew
        pytest.param(3, 2 * (STEPS + 1), marks=FULL),
        pytest.param(3, 3 * (STEPS + 1) + 1, marks=SLOW),  # within the last one
    ],
)
def test_an_interrupted_phase_goes_on_exactly(source, tmp_path, count, batches):
    phases = PHASES[:count]
    weights, records = train(source, phases)
    with pytest.raises(Killed):
        train(source, phases, str(tmp_path), KillAt(batches=batches))
    got, again = train(source, phases, str(tmp_path))
    assert again == records
    for one, two in zip(got, weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_an_objective_lacks_is_one_error_before_training(source):
    tasks = {m: toy(source, m) for m in (("images", "text"), ("text",))}

    def refused(match, objective, modalities=("images", "text"), data=None, **options):
        task = tasks[modalities]
        data = data_for(task, source) if data is None else data(task)
        phases = [
            TrainingPhase("labels", 1),
            TrainingPhase("alone", 1, objective=objective, **options),
        ]
        before = task.get_weights()
        with pytest.raises(ValueError, match=match):
            run_phases(task, phases, data)
        for one, two in zip(task.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, two)

    refused("Unknown objective 'masked_languag'. Did you mean 'masked_language'", "masked_languag")
    refused(
        r"'image_text_contrast' of phase 'alone' needs images and text\. The model has text\. Fix",
        "image_text_contrast",
        ("text",),
    )
    refused(
        r"'image_contrast' of phase 'alone' needs images\. The data in None have text\. Fix: ",
        "image_contrast",
        data=lambda task: data_for(task, Texts(None)),
    )
    refused(
        r"compares all examples of a batch, .* Received: micro_batches=2\. Fix: 1",
        "image_contrast",
        micro_batches=2,
    )
    refused(
        r"needs a source of them\. Received: _PlainData\. Fix: `mmlearn",
        "masked_language",
        data=lambda task: from_dataset(tf.data.Dataset.range(4)),
    )


@SLOW
@pytest.mark.full
def test_two_replicas_train_what_one_device_trains(tmp_path):
    report = run_program("-m", "tests.training.objectives_program", tmp_path / "shapes")
    assert sorted(report) == UNLABELED
    for found in report.values():
        assert found["moved"] > 1e-2
        assert found["weights"] <= 2e-6
        assert found["losses"] <= 1e-5
