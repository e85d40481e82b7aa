"""Training batches from any position on."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TrainingData:
    """Batches whose content is a pure function of (epoch, step).

    Attributes:
        build: function `(start=(epoch, step), with_ids=False) -> dataset`, the endless batches
            `(x, y, sample_weight)` from that position on, or `(id, (x, y, sample_weight))`.
        steps_per_epoch: int.
    """

    build: Any
    steps_per_epoch: int

    def find_bad(self, epoch, step):
        """Returns the ids of the examples of a batch that hold a NaN or an infinity."""
        (ids, batch) = next(iter(self.build(start=(epoch, step), with_ids=True).take(1)))
        bad = np.zeros(len(ids), bool)
        for values in _leaves(batch):
            values = np.asarray(values)
            if np.issubdtype(values.dtype, np.floating):
                bad |= ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        return [name.decode() for name in ids.numpy()[bad]]


def _leaves(value):
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return [value]
    return [leaf for item in value for leaf in _leaves(item)]


def from_dataset(dataset):
    """Makes a finite dataset training data, whole passes of which follow each other.

    Where a pass begins in it is not known: it resumes at the beginning, and bad examples in it have
    no names.

    Args:
        dataset: `tf.data.Dataset` of `(x, y)` or `(x, y, sample_weight)`, of known length.
    """
    return _PlainData(lambda start: dataset.repeat(), len(dataset))


class _PlainData(TrainingData):
    def find_bad(self, epoch, step):
        return []
