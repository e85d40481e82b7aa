"""Finding the files that cannot be read, and the examples with nothing, before training meets them.

Training on raw files would otherwise end at the first bad one, and leaving bad ones out on the way
would make the number of steps and the content of every batch depend on them. So each image and each
recording is read once: a JPEG at an eighth of its size, which needs its whole content, like full
decoding.
"""

import functools
import os
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from data_prep import audio, features, images
from data_prep.errors import DataError
from data_prep.splits import Selection
from data_prep.threads import PARALLEL_CALLS, with_threads

LARGEST_SHARE = 0.1  # of unreadable files that training goes on without
PROGRESS_EVERY = 50  # files


@dataclass(frozen=True)
class Unreadable:
    """An image or a recording that cannot be read.

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


def find_unreadable(source, split, max_pixels=images.MAX_PIXELS, progress=None):
    """Reads every image file and every recording of a split once.

    Args:
        source: a source. Prepared shards were checked when they were written, and are not read.
        split: str.
        max_pixels: int. Images with more are not decoded, and count as unreadable.
        progress: function `(done, total)` of the files of a column, or `None`.

    Returns:
        A list of `Unreadable`, in the order of the index; of an example with two, the image.
    """
    index, found = source.examples(split), {}
    if index.audio is not None:
        found.update(find_bad_recordings(index.audio, progress))
    if index.images is not None and source.records(split) is None:
        decode = functools.partial(images.decode, image_size=1, max_pixels=max_pixels)
        explain = functools.partial(decode_problem, max_pixels=max_pixels)
        found.update(_find_bad(index.images, decode, explain, progress))
    return [Unreadable(split, row, index.ids[row], *found[row]) for row in sorted(found)]


def find_bad_recordings(files, progress=None):
    """Reads every recording of a column once.

    Args:
        files: list of str, paths; "" where there is none.
        progress: function `(done, total)` of the files of a column, or `None`.

    Returns:
        A dict of row to path and reason, of those that cannot be read.
    """
    return _find_bad(files, audio.decode, lambda path: "is no whole 16-bit WAV file", progress)


def _find_bad(files, decode, explain, progress):
    """Which rows of a column of paths cannot be read: dict of row to path and reason."""
    reasons = {row: file_problem(path) for row, path in enumerate(files) if path}
    rows = np.array([row for row, reason in reasons.items() if reason is None], np.int64)
    paths = tf.constant(files)

    def read(row):
        with tf.control_dependencies([decode(tf.io.read_file(paths[row]))]):
            return tf.identity(row)

    dataset = tf.data.Dataset.from_tensor_slices(rows)
    dataset = dataset.map(read, num_parallel_calls=PARALLEL_CALLS)
    dataset = with_threads(dataset.ignore_errors())
    good = set()
    for row in dataset.as_numpy_iterator():
        good.add(row)
        if progress is not None and len(good) % PROGRESS_EVERY == 0:
            progress(len(good), len(rows))
    if progress is not None:
        progress(len(rows), len(rows))
    for row in rows.tolist():
        if row not in good:
            reasons[row] = explain(files[row])
    return {row: (files[row], reason) for row, reason in reasons.items() if reason is not None}


def without_unreadable(source, splits, max_share=LARGEST_SHARE, progress=None):
    """Leaves the examples out whose images or recordings cannot be read.

    Args:
        source: a source.
        splits: iterable of str. The splits that will be used.
        max_share: float in [0, 1]. More of them than this share of a split is an error.
        progress: function `(done, total)` of the files of a column, or `None`.

    Returns:
        The source, or a `Selection` of it, and a list of `Unreadable`: the skip report.

    Raises:
        DataError: when more are unreadable than allowed.
    """
    found, rows = [], {}
    for split in splits:
        bad = find_unreadable(source, split, progress=progress)
        count = len(source.examples(split))
        if len(bad) > max_share * count:
            raise DataError(
                f"{len(bad)} of {count} examples of {split!r} cannot be read, more than "
                f"{max_share:.0%}. The first: {bad[0].path!r} {bad[0].reason}. Fix: restore them "
                "(python -m data_prep doctor lists all), or allow more, --data.max-unreadable."
            )
        left_out = {item.row for item in bad}
        rows[split] = (split, np.array([row for row in range(count) if row not in left_out]))
        found += bad
    if not found:
        return source, []
    return Selection(source, rows, unreadable_left_out=len(found)), found


def find_empty(index, modalities=features.MODALITIES):
    """Finds the examples that have nothing to see: no image, no text, and so on.

    Args:
        index: `data_prep.sources.source.Examples`.
        modalities: iterable of str. Those that count.

    Returns:
        int64 array of rows, rising.

    Example:

    >>> from data_prep.sources.source import Examples
    >>> labels = np.zeros((3, 1), np.uint8)
    >>> captions = [["a dog"], [], [" "]]
    >>> index = Examples(["a", "b", "c"], np.arange(3), labels, ["", "b.jpg", ""], captions)
    >>> find_empty(index).tolist(), find_empty(index, ["text"]).tolist()
    ([2], [1, 2])
    """
    there = np.zeros(len(index), bool)
    for modality, column in index.modalities.items():
        if modality in modalities:
            there |= _has_value(column)
    return np.flatnonzero(~there)


def without_empty(source, splits, modalities):
    """Leaves the examples out that have none of the modalities of a model.

    Args:
        source: a source.
        splits: iterable of str. The splits that will be used.
        modalities: iterable of str.

    Returns:
        The source, or a `Selection` of it, and the number of examples that are left out.

    Raises:
        DataError: when a split has no others.
    """
    count, rows = 0, {}
    for split in splits:
        index = source.examples(split)
        empty = find_empty(index, modalities)
        if 0 < len(index) == len(empty):
            raise DataError(
                f"No example of {split!r} in {source.root!r} has any of the model's modalities, "
                f"{', '.join(modalities)}. Fix: other data or other modalities, or name the columns, "
                "such as --data.options images=NAME text=NAME."
            )
        rows[split] = (split, np.setdiff1d(np.arange(len(index)), empty))
        count += len(empty)
    if not count:
        return source, 0
    return Selection(source, rows, empty_left_out=count), count


def _has_value(column):
    """Which rows of a column of an index have a value: bool `(num_examples,)`."""
    if isinstance(column, dict):  # a table has one where any of its cells has
        return np.any([_has_value(cells) for cells in column.values()], axis=0)
    if isinstance(column, np.ndarray):
        return ~np.isnan(column).reshape(len(column), -1).all(axis=1)
    texts = (value if isinstance(value, list) else [value] for value in column)
    return np.array([any(text.strip() for text in each) for each in texts], bool)


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
