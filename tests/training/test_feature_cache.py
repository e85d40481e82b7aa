"""Stored features train what computed ones train."""

import os
import re
import shutil

import numpy as np
import pytest

from mmlearn import MultimodalClassifier
from mmlearn.training.data import SourceData
from mmlearn.training.feature_cache import FeatureCache, storable_modalities
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests import toys

FUSION = TrainingPhase("fusion", 3, trainable=("fusion", "head"), learning_rate=3e-3)
BATCH_SIZE = 8


@pytest.fixture(scope="module")
def task(shapes):
    """A toy for the synthetic scenes; whoever changes its weights puts them back."""
    return MultimodalClassifier(
        toys.backbone(), len(shapes.label_names), preprocessor=toys.preprocessor(), hidden_dim=8
    )


@pytest.fixture
def data(shapes, task):
    """Their batches."""
    return SourceData(shapes, task.preprocessor, BATCH_SIZE)


def cache(folder, lines=None, **options):
    report = (lambda line: None) if lines is None else lines.append
    return FeatureCache(str(folder), "data", report=report, **options)


def prepare(task, data, folder, lines=None, phase=FUSION, **options):
    task.set_trainable(phase.trainable, phase.trainable_blocks)
    return cache(folder, lines, **options).prepare(task, phase, data.for_phase(phase))


def test_batches_hold_the_features_that_the_encoders_give(task, data, tmp_path):
    task.set_trainable(FUSION.trainable)
    learner, stored = cache(tmp_path).prepare(task, FUSION, data)
    assert sorted(learner.input) == [
        f"{modality}_{what}"
        for modality in ("images", "text")
        for what in ("features", "mask", "present")
    ]
    assert learner.backbone.fusion is task.backbone.fusion
    for split in ("train", "val"):
        plain = data.build((1, 1)) if split == "train" else data.validation()
        found = stored.build((1, 1)) if split == "train" else stored.validation()
        for (x, y, weight), (other, other_y, other_weight) in zip(
            plain.take(3), found.take(3), strict=True
        ):
            features, masks = task.backbone.encode(x, training=False)
            for modality in ("images", "text"):
                want = np.asarray(features[modality])
                got = np.asarray(other[f"{modality}_features"])
                np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-3 * np.abs(want).max())
                np.testing.assert_array_equal(other[f"{modality}_mask"], masks[modality])
                np.testing.assert_array_equal(
                    other[f"{modality}_present"], x[f"{modality}_present"]
                )
            np.testing.assert_array_equal(y, other_y)
            np.testing.assert_array_equal(weight, other_weight)


@pytest.mark.large
def test_a_phase_ends_where_it_ends_without_and_the_encoders_stay(task, data, tmp_path):
    x = data.validation().map(lambda x, *_: x)
    start = task.predict(x, verbose=0)
    variables = [np.array(v) for v in task.variables]  # with the state of the random numbers
    encoders = [np.array(v) for v in task.backbone.encoders["images"].variables]
    records, ends = [], []
    for feature_cache in (None, cache(tmp_path)):
        for variable, value in zip(task.variables, variables, strict=True):
            variable.assign(value)
        records += run_phases(task, [FUSION], data, feature_cache=feature_cache)
        ends.append(task.predict(x, verbose=0))
        after = task.backbone.encoders["images"].variables
        assert all((a == np.array(b)).all() for a, b in zip(encoders, after, strict=True))
    plain, stored = records
    assert plain["stored_features"] == []
    assert stored["stored_features"] == ["images", "text"]
    assert np.abs(ends[0] - start).max() > 0.02
    np.testing.assert_allclose(ends[1], ends[0], atol=2e-3)
    for name, values in plain["history"].items():
        np.testing.assert_allclose(stored["history"][name], values, atol=5e-3, err_msg=name)


def test_what_is_augmented_or_learns_is_computed(shapes, task):
    data = SourceData(shapes, task.preprocessor, BATCH_SIZE, augmentations=("crop",))
    task.set_trainable(("fusion",))
    assert storable_modalities(task, data) == ["text"]
    assert storable_modalities(task, data.for_phase(TrainingPhase("a", 2, augment=False))) == [
        "images",
        "text",
    ]
    task.set_trainable(("images_encoder",))
    assert storable_modalities(task, data) == ["text"]
    task.set_trainable(("fusion",), blocks=1)
    assert storable_modalities(task, data) == []


def test_stored_features_are_used_again_and_other_weights_are_not(task, data, tmp_path):
    lines = []
    assert prepare(task, data, tmp_path, lines)
    assert len(lines) == 2  # two modalities
    assert prepare(task, data, tmp_path, lines)
    assert len(lines) == 2
    (weight, *_) = task.backbone.encoders["text"].weights
    before = np.array(weight)
    weight.assign(before + 1e-3)
    assert prepare(task, data, tmp_path, lines)
    weight.assign(before)
    assert len(lines) == 3
    assert re.match(r"features of text: 121 \(train\) and 61 \(val\) are computed once", lines[2])


@pytest.mark.large
def test_an_interrupted_store_goes_on_where_it_stopped(task, data, tmp_path, monkeypatch):
    from mmlearn.training import feature_cache

    monkeypatch.setattr(feature_cache, "SECONDS_BETWEEN_NOTES", -1)
    monkeypatch.setattr(feature_cache, "BYTES_AT_A_TIME", 1)
    _, whole = prepare(task, data, tmp_path / "whole")
    counts = []

    def dies(description, total):
        def advance(count):
            counts.append(count)
            if len(counts) == 3:
                raise KeyboardInterrupt

        return advance

    with pytest.raises(KeyboardInterrupt):
        prepare(task, data, tmp_path / "killed", progress=dies)
    done = []
    _, again = prepare(
        task,
        data,
        tmp_path / "killed",
        progress=lambda description, total: lambda count: done.append((description, count)),
    )
    assert done[0] == ("features of text (train)", BATCH_SIZE)  # there from before
    for (x, *_), (other, *_) in zip(whole.build().take(3), again.build().take(3), strict=True):
        np.testing.assert_array_equal(x["images_features"], other["images_features"])
        np.testing.assert_array_equal(x["text_features"], other["text_features"])


def test_one_epoch_is_not_worth_it_unless_they_are_there(task, data, tmp_path):
    once = TrainingPhase("fusion", 1, trainable=("fusion", "head"))
    assert prepare(task, data, tmp_path, phase=once) is None
    assert prepare(task, data, tmp_path)
    assert prepare(task, data, tmp_path, phase=once)


def test_a_budget_keeps_what_fits(task, data, tmp_path):
    lines = []
    images = 36 * (2 * 2 * 128 * 2 + 4 + 1)  # 36 scenes, a 2x2 grid of 128 numbers
    learner, _ = prepare(task, data, tmp_path, lines, budget_gb=(images + 10) / 1e9)
    assert "images_features" in learner.input and "token_ids" in learner.input
    assert any("features of text are not stored" in line and "budget-gb" in line for line in lines)
    assert prepare(task, data, tmp_path, budget_gb=0) is None
    with pytest.raises(ValueError, match=r"`budget_gb` must be at least 0"):
        cache(tmp_path, budget_gb=-1)


def test_a_short_or_full_disk_is_said_and_nothing_is_left(task, data, tmp_path, monkeypatch):
    lines = []
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    assert prepare(task, data, tmp_path / "short", lines) is None
    assert "to spare (--cache.folder)" in lines[0]
    monkeypatch.undo()
    folder = tmp_path / "file"
    folder.write_text("not a folder")
    assert prepare(task, data, folder / "below", lines) is None
    assert "cannot be written to" in lines[-1]
    assert os.listdir(tmp_path) == ["file"]


def test_features_too_large_for_16_bits_are_computed(task, data, tmp_path):
    positions = task.backbone.encoders["images"].positions
    before = np.array(positions)
    positions.assign(before * 0 + 1e6)
    lines = []
    learner, _ = prepare(task, data, tmp_path, lines)
    positions.assign(before)
    assert "images" in learner.input and "text_features" in learner.input
    assert any("too large for 16 bits" in line for line in lines)
