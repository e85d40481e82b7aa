"""One pass over the images of a split: what can be read, how large it is, how it looks in small.

Each file is read and decoded once. A JPEG is decoded at a fraction of its size, which needs its
whole content, like full decoding.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from data_prep import images, order
from data_prep.screening import decode_problem, file_problem
from data_prep.threads import PARALLEL_CALLS, with_threads

THUMBNAIL_SIZE = 16  # pixels: 768 bytes per image are kept
# JPEGs are decoded to no less than this. At 16 it would be 1.5 times as fast, but an eighth of a
# small photo ends beside its last pixels, so that nine of ten copies at 0.7 times the size are missed.
_DECODED_SIZE = 64
_BATCH_SIZE = 64  # images between two calls of `progress`


@dataclass(frozen=True)
class Measured:
    """The image files of a split, each once, in the order of the index.

    Attributes:
        rows: int64 `(num_files,)`, the first row of the index that has this file.
        is_read: bool `(num_files,)`. What follows is zero where it is `False`.
        sizes: int32 `(num_files, 2)`: height and width in pixels, upright.
        orientations: int32 `(num_files,)`, EXIF orientation, 1 to 8.
        contents: int64 `(num_files,)`, a hash of the bytes of the file.
        thumbnails: uint8 `(num_files, 16, 16, 3)`, RGB, the picture without its aspect ratio.
        problems: dict of row to str, why it cannot be read; all rows of the index, not only the
            first ones.
        num_absent: int. Examples without an image.
    """

    rows: np.ndarray
    is_read: np.ndarray
    sizes: np.ndarray
    orientations: np.ndarray
    contents: np.ndarray
    thumbnails: np.ndarray
    problems: dict
    num_absent: int


def num_files(source, split):
    """How many images `measure` will read of a split; none where it has no images."""
    index = source.examples(split)
    return 0 if index.images is None else len(_rows_by_file(index, source.records(split)))


def _rows_by_file(index, records):
    rows = {}
    for row, path in enumerate(index.images):
        if path:
            # In prepared shards every example has an image of its own, whatever its path was.
            rows.setdefault(path if records is None else row, []).append(row)
    return rows


def measure(source, split, progress=None):
    """Reads every image of a split once, from its file or from prepared shards.

    Args:
        source: a source whose examples have images.
        split: str.
        progress: callable `(done, total)`, called about every 64 files and at the end, or `None`.

    Returns:
        `Measured`.
    """
    index, records = source.examples(split), source.records(split)
    rows_of = _rows_by_file(index, records)
    rows = np.array([members[0] for members in rows_of.values()], np.int64)
    place = {row: position for position, row in enumerate(rows.tolist())}
    problems = {}
    if records is None:
        problems = {row: file_problem(index.images[row]) for row in place}
        problems = {row: problem for row, problem in problems.items() if problem}
    measured = Measured(
        rows=rows,
        is_read=np.zeros(len(rows), bool),
        sizes=np.zeros((len(rows), 2), np.int32),
        orientations=np.zeros(len(rows), np.int32),
        contents=np.zeros(len(rows), np.int64),
        thumbnails=np.zeros((len(rows), THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3), np.uint8),
        problems={},
        num_absent=len(index) - sum(map(len, rows_of.values())),
    )
    wanted = [row for row in rows.tolist() if row not in problems]
    done = len(rows) - len(wanted)
    for found, *columns in _read(index, records, wanted) if wanted else ():
        places = [place[row] for row in found.tolist()]
        measured.is_read[places] = True
        kept = (measured.sizes, measured.orientations, measured.contents, measured.thumbnails)
        for column, values in zip(kept, columns, strict=True):
            column[places] = values
        done += len(places)
        if progress is not None:
            progress(done, len(rows))
    for row in rows[~measured.is_read].tolist():
        if records is not None:
            problems[row] = "is damaged in its record file"
        elif row not in problems:
            problems[row] = decode_problem(index.images[row])
    for members in rows_of.values():
        if members[0] in problems:
            measured.problems.update(dict.fromkeys(members, problems[members[0]]))
    if progress is not None:
        progress(len(rows), len(rows))
    return measured


def _read(index, records, rows):
    """Yields batches of (row, size, orientation, content, thumbnail) of what can be decoded."""
    if records is None:
        paths = tf.constant(index.images)
        dataset = tf.data.Dataset.from_tensor_slices(np.array(rows, np.int64))
        dataset = dataset.map(
            lambda row: (row, *_measure(tf.io.read_file(paths[row]))),
            num_parallel_calls=PARALLEL_CALLS,
        )
    else:
        first = tf.constant(0, tf.int64)
        dataset = order.record_order(records, np.array(rows), first, seed=0, shuffle=False)
        dataset = dataset.unbatch().map(
            lambda row, data, _: (row, *_measure(data)), num_parallel_calls=PARALLEL_CALLS
        )
    dataset = with_threads(dataset.ignore_errors().batch(_BATCH_SIZE).prefetch(1))
    return dataset.as_numpy_iterator()


def _measure(data):
    image = images.decode(data, _DECODED_SIZE)
    thumbnail = tf.image.resize(image[None], (THUMBNAIL_SIZE, THUMBNAIL_SIZE), method="area")[0]
    orientation = images.exif_orientation(data)
    size = images.size(data)
    return (
        tf.where(orientation >= 5, size[::-1], size),  # 5 to 8 turn the image on its side
        orientation,
        tf.strings.to_hash_bucket_fast(data, 2**63 - 1),
        tf.cast(tf.round(thumbnail), tf.uint8),
    )
