"""Scenes with a sensor: what it tells, and that the scenes are the same as without it."""

import shutil

import numpy as np
import pytest

from data_prep.sources.shapes import SHAPES, _draw_scene
from data_prep.sources.shapes_series import EVENTS, LENGTH, ShapesSeriesSource, read_sensor


@pytest.fixture(scope="module")
def source(shapes_root, tmp_path_factory):
    root = shutil.copytree(shapes_root, tmp_path_factory.mktemp("scenes") / "shapes")
    return ShapesSeriesSource(str(root))


def test_scenes_are_those_without_a_sensor(source, shapes):
    with_sensor, without = source.examples("train"), shapes.examples("train")
    assert with_sensor.ids == without.ids
    assert with_sensor.captions == without.captions
    np.testing.assert_array_equal(with_sensor.labels[:, :8], without.labels)
    assert source.label_names == [*shapes.label_names, *EVENTS]
    assert with_sensor.series.shape == (24, LENGTH, 2)
    assert list(with_sensor.modalities) == ["images", "text", "series"]


def test_the_same_seed_gives_the_same_series(source):
    again = ShapesSeriesSource(source.root)
    for split in ("train", "val"):
        np.testing.assert_array_equal(again.examples(split).series, source.examples(split).series)
    first = {split: source.examples(split).series[0] for split in ("train", "val")}
    assert not np.array_equal(first["train"], first["val"], equal_nan=True)


def test_events_show_in_the_channel_that_they_are_of():
    drawn = [read_sensor(0, "train", row) for row in range(400)]
    readings = np.stack([values for values, _ in drawn])
    happened = np.stack([events for _, events in drawn])
    is_off = np.isnan(readings).all((1, 2))
    assert 5 <= is_off.sum() <= 40
    readings, happened = readings[~is_off], happened[~is_off]
    half = LENGTH // 2
    ends = [np.nanmean(readings[:, part, 0], axis=1) for part in (slice(half), slice(half, None))]
    spread = np.nanstd(readings[:, :, 1], axis=1)
    largest = np.nanmax(np.abs(np.diff(readings[:, :, 0], axis=1)), axis=1)
    for event, sign in ((0, np.abs(ends[1] - ends[0])), (1, spread), (2, largest)):
        medians = [np.median(sign[happened[:, event] == truth]) for truth in (True, False)]
        assert medians[0] > 1.5 * medians[1], EVENTS[event]
    np.testing.assert_allclose(happened.mean(axis=0), 0.35, atol=0.1)


def test_scenes_tell_nothing_of_the_events():
    rows = range(1500)
    scenes = [
        _draw_scene(np.random.default_rng([0, False, row])) for row in rows
    ]  # as they are made
    first = [(*scene[0]["center"], scene[0]["radius"], scene[0]["faint"]) for scene in scenes]
    shapes = [[any(o["shape"] == shape for o in scene) for shape in SHAPES] for scene in scenes]
    scenes = np.column_stack([[len(scene) for scene in scenes], first, shapes])
    events = np.array([read_sensor(0, "train", row)[1] for row in rows])
    correlations = np.corrcoef(scenes.T.astype(float), events.T)[
        : scenes.shape[1], scenes.shape[1] :
    ]
    assert np.abs(correlations).max() < 0.1


def test_oracles_know_what_their_modality_tells(source):
    labels, oracles = source.examples("val").labels, source.oracles("val")
    assert set(oracles) == {"images", "text", "union", "series", "everything"}
    is_on = ~np.isnan(source.examples("val").series).all((1, 2))
    np.testing.assert_array_equal(oracles["series"][is_on, 8:], labels[is_on, 8:])
    assert (np.ptp(oracles["images"][:, 8:]) < 1e-3) and (np.ptp(oracles["series"][:, :8]) < 1e-3)
    np.testing.assert_array_equal(oracles["everything"][:, :8], oracles["union"][:, :8])
    np.testing.assert_array_equal(oracles["everything"][:, 8:], oracles["series"][:, 8:])
