"""The synthetic scenes with a sensor beside the camera: a third modality that tells what no other does.

A window of 48 readings in 2 channels belongs to each scene. Three things may have happened, each with
probability 0.35 and independent of the scene and of each other; they are three more classes, of which
neither image nor caption says anything:

- `drifting`: the first channel rises or falls steadily;
- `vibrating`: the second one swings with a period of 4 to 8 readings;
- `jolted`: the first one jumps for three readings.

Both channels have an offset and noise. One reading in ten is missing, each channel has a gap of 4 to 10
readings, and for one scene in twenty the sensor was off.
"""

import dataclasses
import os

import numpy as np

from data_prep.sources.shapes import MAX_OBJECTS, MIN_OBJECTS, SHAPES, ShapesSource
from data_prep.sources.source import Source

EVENTS = ("drifting", "vibrating", "jolted")
EVENT_PROBABILITY = 0.35
LENGTH, NUM_CHANNELS = 48, 2
NOISE = 0.4
MISSING_PROBABILITY, OFF_PROBABILITY = 0.1, 0.05
_VERSION = 1  # of this generator, to be raised when it changes


class ShapesSeriesSource(Source):
    """The scenes of `ShapesSource` with a series and three more classes each.

    The scenes are on disk, as those of `ShapesSource`; the series are made when they are read.

    Args:
        root: path of the folder. Made if absent.
        num_train: int. Training scenes; by default those that are there, else 6,000.
        num_val: int. Validation scenes; by default those that are there, else 1,000.
        seed: int. Of scenes and series; by default that of those there, else 0.
    """

    default_root = os.path.join("data", "shapes_series")

    def __init__(self, root, num_train=None, num_val=None, seed=None):
        self._scenes = ShapesSource(root, num_train, num_val, seed)
        super().__init__(root, **self._scenes.settings, series_version=_VERSION)
        self.splits = self._scenes.splits
        self.label_names = [*self._scenes.label_names, *EVENTS]

    def _read_split(self, split):
        scenes = self._scenes.examples(split)
        seed = self.settings["seed"]
        readings = [read_sensor(seed, split, row) for row in range(len(scenes))]
        series = np.stack([values for values, _ in readings])
        events = np.stack([happened for _, happened in readings]).astype(scenes.labels.dtype)
        labels = np.concatenate([scenes.labels, events], axis=1)
        report = {
            **self._scenes.report(split),
            "missing series": int(np.isnan(series).all((1, 2)).sum()),
        }
        return dataclasses.replace(scenes, labels=labels, series=series), report

    def oracles(self, split):
        """The observers of the scenes, who see no series; `series`, who sees nothing else and is certain
        of the events where the sensor was on; and `everything`.
        """
        examples = self.examples(split)
        is_on = ~np.isnan(examples.series).all((1, 2))[:, None]
        count, num_shapes = len(examples), len(SHAPES)
        # Equal probabilities are told apart as those of the scenes are.
        jitter = 1 - 1e-3 * np.random.default_rng(1).random(examples.labels.shape)
        numbers = np.arange(MIN_OBJECTS, MAX_OBJECTS + 1)
        shape_prior = 1 - np.mean((1 - 1 / num_shapes) ** numbers)
        no_shapes = np.full((count, num_shapes), shape_prior) * jitter[:, :num_shapes]
        no_events = np.full((count, len(EVENTS)), EVENT_PROBABILITY) * jitter[:, num_shapes:]
        events = np.where(is_on, examples.labels[:, num_shapes:], no_events)
        scenes = self._scenes.oracles(split)
        parts = {name: (shapes, no_events) for name, shapes in scenes.items()}
        parts.update({"series": (no_shapes, events), "everything": (scenes["union"], events)})
        return {
            name: np.concatenate(both, axis=1).astype(np.float32) for name, both in parts.items()
        }


def read_sensor(seed, split, row):
    """Draws the series of one scene.

    Args:
        seed: int.
        split: str.
        row: int. The number of the scene in its split.

    Returns:
        Float32 `(LENGTH, NUM_CHANNELS)`, NaN where a reading is missing, and bool `(3,)`, which of the
        `EVENTS` happened.
    """
    # The last number sets it apart from the generator of the scene itself, whose draws it would repeat.
    random = np.random.default_rng([seed, split == "val", row, 1])
    happened = random.random(len(EVENTS)) < EVENT_PROBABILITY
    is_drifting, is_vibrating, is_jolted = happened
    time = np.arange(LENGTH)
    values = random.normal(size=NUM_CHANNELS) + NOISE * random.normal(size=(LENGTH, NUM_CHANNELS))
    if is_drifting:
        values[:, 0] += random.choice([-1, 1]) * random.uniform(2, 3) * (time / LENGTH - 0.5)
    if is_vibrating:
        turns = time / random.uniform(4, 8) + random.random()
        values[:, 1] += random.uniform(0.8, 1.5) * np.sin(2 * np.pi * turns)
    if is_jolted:
        start = random.integers(LENGTH - 2)
        values[start : start + 3, 0] += random.choice([-1, 1]) * random.uniform(3, 4)
    values[random.random(values.shape) < MISSING_PROBABILITY] = np.nan
    for channel in range(NUM_CHANNELS):
        gap = random.integers(4, 11)
        start = random.integers(LENGTH - gap + 1)
        values[start : start + gap, channel] = np.nan
    if random.random() < OFF_PROBABILITY:
        values[:] = np.nan
    return values.astype(np.float32), happened
