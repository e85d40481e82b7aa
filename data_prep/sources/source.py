"""The contract of a source: a folder in some format -> an index of examples.

A source is any object with

- `label_names`: list of str, the classes in the order of the label vector;
- `settings`: dict of what else defines the data, for the record of a run;
- `splits`: tuple of str, for example `("train", "val")`;
- `examples(split)`: an `Examples` index, read once and kept;
- `report(split)`: dict of str to int, what was found, left out or odd, in reading order;
- `oracles(split)`: dict of str to float32 `(num_examples, num_classes)`, the predictions of
  observers who know the truth in part; empty where the truth is not known.

and a constructor that takes `root` (path of the folder) first. Images are not opened here.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Examples:
    """An index of examples, column by column.

    Attributes:
        ids: list of str, unique.
        groups: int64 `(num_examples,)`, equal for examples of the same image (folds, positives).
        images: list of str, paths.
        captions: list of lists of str; an empty list where there is no text.
        labels: uint8 `(num_examples, num_classes)`, 0 or 1.
    """

    ids: list
    groups: np.ndarray
    images: list
    captions: list
    labels: np.ndarray

    def __len__(self):
        return len(self.ids)
