"""A saved model together with the data to measure it on."""

import contextlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from data_prep.pipeline import build_dataset
from data_prep.splits import Selection
from mmlearn.experiments.scoring import name_bad_images, open_fitting_source, prior_of
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset


@dataclass(frozen=True)
class ModelAndData:
    """A saved model, and the data to measure it on.

    Attributes:
        task: the `PredictionTask`.
        source: a source with the labels of the model, without what cannot be read.
        split: str.
        prior: float array `(num_columns,)`, the share of each label, or the mean of each target: of
            the run's training split, else of the data's, else of the split itself.
        dataset: batches of the split in a fixed order.
    """

    task: PredictionTask
    source: object
    split: str
    prior: np.ndarray
    dataset: tf.data.Dataset

    @contextlib.contextmanager
    def naming_bad_images(self):
        """Names the files that went bad since they were screened, if reading fails inside."""
        try:
            yield
        except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
            raise name_bad_images(self.source, (self.split,)) or error from None


def open_model_and_data(model, data, split="val", batch_size=32, max_examples=None, seed=0):
    """Opens a saved model and a split of a data set that fits it.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`. Its classes may be a part of the model's.
        split: str.
        batch_size: int.
        max_examples: int, or `None`. If the split has more, so many are drawn.
        seed: int. Of the draw.

    Returns:
        `ModelAndData`.

    Raises:
        ValueError: when the data do not fit the model, or `max_examples` is not positive.
    """
    if max_examples is not None and max_examples < 1:
        raise ValueError(
            f"`max_examples` must be at least 1. Received: max_examples={max_examples}."
        )
    task = PredictionTask.from_preset(find_preset(model, PredictionTask))
    source = open_fitting_source(task, data, split)
    prior = prior_of(model, task, source, split)
    everything = len(source.examples(split))
    if max_examples is not None and everything > max_examples:
        rows = np.sort(np.random.default_rng(seed).permutation(everything)[:max_examples])
        # With the training split, whose captions tell which words are usual.
        others = {n: (n, np.arange(len(source.examples(n)))) for n in {"train"} & {*source.splits}}
        rows = {**others, split: (split, rows)}
        source = Selection(source, rows, drawn=max_examples, draw_seed=seed)
    dataset = build_dataset(source, split, task.preprocessor, batch_size)
    return ModelAndData(task, source, split, prior, dataset)
