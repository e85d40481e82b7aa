"""The order of examples: a pure function of (seed, epoch, position), by index or by record files.

Elements are blocks of examples, so that what can be done for many at once is: `(rows, files, seeds)`,
the rows in the index `(count,)`, the bytes of the image files where they come from records (else
empty), and int32 seeds `(count, 2)` that no other position of any epoch has.
"""

import itertools

import numpy as np
import tensorflow as tf

CYCLE_LENGTH = 8  # record files that are read in turn when shuffling
BURST = 16  # records from one file before the next one's turn
BLOCK = 1024  # examples of a block; records are shuffled within one: about 40 MB


def passes(one_pass, start, repeat, is_counted):
    """Joins passes over the data into a dataset.

    Args:
        one_pass: function from an epoch (scalar int64 tensor) to the dataset of that epoch.
        start: int. The first epoch.
        repeat: bool. Whether the epochs follow each other without end; then nothing is remembered
            outside of the dataset. Else each iteration over it is the next epoch.
        is_counted: bool. If `False`, all passes are equal, and none need to be counted.
    """
    if repeat:
        epochs = tf.data.Dataset.range(start, np.iinfo(np.int64).max)
    elif is_counted:
        count = itertools.count(start)
        epochs = tf.data.Dataset.from_generator(
            lambda: iter([next(count)]), output_signature=tf.TensorSpec((), tf.int64)
        )
    else:
        epochs = tf.data.Dataset.from_tensors(tf.constant(start, tf.int64))
    return epochs.flat_map(one_pass)


def index_order(rows, epoch, seed, shuffle):
    """One pass over the rows of an index.

    Args:
        rows: int64 array. A row that comes twice is yielded twice.
        epoch: scalar int64 tensor.
        seed: int.
        shuffle: bool.
    """
    pass_seed = _seed(seed, epoch)
    order = tf.constant(rows, tf.int64)
    if shuffle:
        order = tf.random.experimental.stateless_shuffle(order, pass_seed)
    dataset = tf.data.Dataset.from_tensor_slices((order, _seeds(len(rows), pass_seed)))
    dataset = dataset.batch(BLOCK)
    return dataset.map(lambda rows, seeds: (rows, tf.fill(tf.shape(rows), ""), seeds))


def record_order(records, rows, epoch, seed, shuffle):
    """One pass over record files: files in random order, several in turn, then shuffled in blocks.

    Args:
        records: `data_prep.records.Records`.
        rows: int64 array. The rows of the index that are wanted, as often as they are wanted.
        epoch: scalar int64 tensor.
        seed: int.
        shuffle: bool. If `False`, the order is that of the files.
    """
    pass_seed = _seed(seed, epoch)
    wanted = np.bincount(rows, minlength=int(max(records.rows.max(), rows.max())) + 1)
    wanted, index_rows = tf.constant(wanted, tf.int64), tf.constant(records.rows, tf.int64)
    paths = tf.constant(records.paths)
    starts = tf.constant(np.cumsum([0, *records.counts[:-1]]), tf.int64)
    files = tf.range(len(records.paths))
    if shuffle:
        files = tf.random.experimental.stateless_shuffle(files, _seed_at(pass_seed, 0))

    def read(file):
        blocks = tf.data.TFRecordDataset(paths[file], buffer_size=2**20).batch(BURST)
        return blocks.enumerate().map(
            lambda block, found: (starts[file] + block * BURST + _range(found), found)
        )

    def arrange(number, block):
        """Parses a block of records, repeats or drops them as wanted, and shuffles them."""
        positions, found = block
        written_rows, data = records.parse(found, positions)
        chosen = tf.gather(index_rows, written_rows)
        counts = tf.where(
            chosen < 0, tf.constant(0, tf.int64), tf.gather(wanted, tf.maximum(chosen, 0))
        )
        places = tf.repeat(_range(found), counts)
        block_seed = _seed_at(_seed_at(pass_seed, 1), number)
        if shuffle:
            places = tf.random.experimental.stateless_shuffle(places, block_seed)
        seeds = _seeds(tf.size(places), block_seed)
        return tf.gather(chosen, places), tf.gather(data, places), seeds

    dataset = tf.data.Dataset.from_tensor_slices(files)
    dataset = dataset.interleave(
        read, CYCLE_LENGTH if shuffle else 1, 1, num_parallel_calls=1, deterministic=True
    )
    dataset = dataset.unbatch().batch(BLOCK).prefetch(1).enumerate()
    return dataset.map(arrange)


def _range(values):
    return tf.range(tf.size(values, tf.int64))


def _seed(seed, epoch):
    """The seed of an epoch, int32 `(2,)`; it does not depend on TensorFlow's global seed."""
    return _seed_at(tf.constant([seed % 2**31, 0], tf.int32), epoch)


def _seed_at(seed, place):
    return tf.random.fold_in(seed, tf.cast(place, tf.int32))


def _seeds(count, seed):
    """Seeds of their own for so many examples, int32 `(count, 2)`."""
    seed = _seed_at(seed, 2)
    return tf.random.stateless_uniform((count, 2), seed, minval=None, maxval=None, dtype=tf.int32)
