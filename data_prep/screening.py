"""Finding the images that cannot be read, before training meets them.

Training on raw files would otherwise end at the first bad one, and leaving bad ones out on the way
would make the number of steps and the content of every batch depend on them. So each file is read
once: a JPEG at an eighth of its size, which needs its whole content, like full decoding.
"""

import os
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from data_prep import images
from data_prep.errors import DataError
from data_prep.splits import Selection
from data_prep.threads import PARALLEL_CALLS, with_threads

LARGEST_SHARE = 0.1  # of unreadable images that training goes on without


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read.

    Attributes:
        split: str.
        row: int. Its row in the index of the split.
        id: str. The id of the example.
        path: str.
        reason: str. What is wrong, such as "is empty".
    """

    split: str
    row: int
    id: str
    path: str
    reason: str


def find_unreadable(source, split, max_pixels=images.MAX_PIXELS):
    """Reads every image file of a split once.

    Args:
        source: a source. Prepared shards were checked when they were written, and are not read.
        split: str.
        max_pixels: int. Images with more are not decoded, and count as unreadable.

    Returns:
        A list of `Unreadable`, in the order of the index.
    """
    index = source.examples(split)
    if index.images is None or source.records(split) is not None:
        return []
    reasons = {row: file_problem(path) for row, path in enumerate(index.images) if path}
    rows = np.array([row for row, reason in reasons.items() if reason is None], np.int64)
    paths = tf.constant(index.images)

    def read(row):
        image = images.decode(tf.io.read_file(paths[row]), 1, max_pixels)
        with tf.control_dependencies([image]):
            return tf.identity(row)

    dataset = tf.data.Dataset.from_tensor_slices(rows)
    dataset = dataset.map(read, num_parallel_calls=PARALLEL_CALLS)
    dataset = with_threads(dataset.ignore_errors())
    good = set(dataset.as_numpy_iterator())
    for row in rows.tolist():
        if row not in good:
            reasons[row] = decode_problem(index.images[row], max_pixels)
    return [
        Unreadable(split, row, index.ids[row], index.images[row], reason)
        for row, reason in reasons.items()
        if reason is not None
    ]


def without_unreadable(source, splits, max_share=LARGEST_SHARE):
    """Leaves the examples out whose images cannot be read.

    Args:
        source: a source.
        splits: iterable of str. The splits that will be used.
        max_share: float in [0, 1]. More of them than this share of a split is an error.

    Returns:
        The source, or a `Selection` of it, and a list of `Unreadable`: the skip report.

    Raises:
        DataError: when more are unreadable than allowed.
    """
    found, rows = [], {}
    for split in splits:
        bad = find_unreadable(source, split)
        count = len(source.examples(split))
        if len(bad) > max_share * count:
            raise DataError(
                f"{len(bad)} of {count} images of {split!r} cannot be read, more than "
                f"{max_share:.0%}. The first: {bad[0].path!r} {bad[0].reason}. Fix: restore them "
                "(python -m data_prep doctor lists all), or allow more, --data.max-unreadable."
            )
        left_out = {item.row for item in bad}
        rows[split] = (split, np.array([row for row in range(count) if row not in left_out]))
        found += bad
    if not found:
        return source, []
    return Selection(source, rows, unreadable_left_out=len(found)), found


def file_problem(path):
    """Why a path cannot be an image file, as far as the file system knows.

    Args:
        path: str.

    Returns:
        str such as "is empty", or `None`.
    """
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if os.path.isdir(path):
        return "is a folder"
    if size == 0:
        return "is empty"
    return None if os.access(path, os.R_OK) else "must not be read (permission denied)"


def decode_problem(path, max_pixels=images.MAX_PIXELS):
    """Why a file that could not be decoded could not.

    Args:
        path: str.
        max_pixels: int. Images with more are not decoded.

    Returns:
        str such as "is no JPEG, PNG or BMP".
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
        height, width = images.size(tf.constant(data)).numpy().tolist()
    except (OSError, tf.errors.InvalidArgumentError):
        return "cannot be decoded"
    if not height * width:
        return "is no JPEG, PNG or BMP"
    if height * width > max_pixels:
        return f"has {height * width:,} pixels, more than {max_pixels:,}"
    return "is damaged"
