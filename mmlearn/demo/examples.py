"""Examples for the page: some of what a run was validated on, where its data are there."""

import dataclasses
import os

from data_prep import sources
from mmlearn.experiments.build import build_source
from mmlearn.experiments.config import DataConfig, from_dict, read_run
from mmlearn.experiments.scoring import read_calibration

COUNT = 6


def validation_examples(model, count=COUNT):
    """The first images with texts of the validation split of a run.

    Args:
        model: str. Output folder of a run or a calibration, whose record says which data it had, or a
            preset directory, of which nothing is known.
        count: int.

    Returns:
        A list of `(path, text)`, empty where the data are not there any more.

    Raises:
        ValueError: when the record of the run, or the data, cannot be read.
    """
    config = _read_data(model)
    if config is None:
        return []
    default = sources.get(config.source).default_root
    if not os.path.exists(config.root or default):
        return []
    if default is not None:  # what makes its files shall read those there are, and make none
        config = dataclasses.replace(config, options={})
    examples = build_source(config).examples("val")
    if examples.images is None or examples.captions is None:
        return []
    pairs = zip(examples.images, examples.captions, strict=True)
    found = ((path, texts[0]) for path, texts in pairs if texts and os.path.isfile(path))
    return [pair for _, pair in zip(range(count), found, strict=False)]


def _read_data(model):
    record = os.path.join(model, "run.json")
    if os.path.isfile(record):
        return read_run(record)[0].data
    noted = read_calibration(model)
    return noted and from_dict(DataConfig, noted["config"]["data"], f"{model}: calibration.json")
