"""Images that lie in record files instead of files of their own."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Records:
    """The record files of one split.

    Attributes:
        paths: list of str, TFRecord files.
        counts: list of int, the records in each.
        parse: function from serialised records and their positions over all files (string and int64
            tensors `(count,)`) to the rows that they have in the index of the split as it was
            written, and the bytes of their image files.
        rows: int64 array, from that row to the row in the index at hand; -1 where it is left out.
        is_prepared: bool. Whether the images are JPEG files of our own making, upright and checked,
            which are decoded without a look at their header.
    """

    paths: list
    counts: list
    parse: Callable
    rows: np.ndarray
    is_prepared: bool = False
