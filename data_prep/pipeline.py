"""Source + preprocessor -> `tf.data` batches of `(x, y, sample_weight)`."""

import numpy as np
import tensorflow as tf

from data_prep import augment, features, images
from data_prep.errors import DataError


def build_dataset(
    source,
    split,
    preprocessor=None,
    batch_size=32,
    *,
    shuffle=False,
    augmentations=(),
    drop_remainder=False,
    with_ids=False,
    seed=0,
):
    """Builds the batches of one split.

    Every pass over a shuffled dataset has another order, another caption where an image has
    several, and other augmentations; all of them follow from `seed`, TensorFlow's global seed and
    the number of the pass.
    Without `shuffle`, the order is the source's and the caption the first one.

    Args:
        source: a source (see `data_prep.sources.source`).
        split: str. One of `source.splits`.
        preprocessor: a `mmlearn.MultimodalPreprocessor`, or `None` for raw examples, which are
            not batched because their images differ in size.
        batch_size: int. Examples per batch.
        shuffle: bool. Whether to shuffle and to draw captions, as training does.
        augmentations: names or functions `(example, seed) -> example`, see `data_prep.augment`.
        drop_remainder: bool. Whether to leave out the last, smaller batch.
        with_ids: bool. Whether to yield `(id, (x, y, sample_weight))`. Ids never go into `x`.
        seed: int.

    Returns:
        A `tf.data.Dataset` of `(x, y, sample_weight)`: a dict of model inputs, float32 labels
        `(batch_size, num_classes)` and float32 weights `(batch_size,)`, all 1. Or of examples.

    Raises:
        DataError: when the split is smaller than one batch and the remainder is dropped.
        ValueError: when the batch size is not positive, or an augmentation changes the dtype or rank
            of what it returns.

    Example:

    >>> import tempfile
    >>> from data_prep.sources.shapes import ShapesSource
    >>> source = ShapesSource(tempfile.mkdtemp() + "/shapes", num_train=4, num_val=4)
    >>> example = next(iter(build_dataset(source, "val")))
    >>> sorted(example), example["images"].shape.as_list()
    (['group', 'id', 'images', 'labels', 'text'], [96, 96, 3])
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}.")
    index = source.examples(split)
    if drop_remainder and len(index) < batch_size:
        raise DataError(
            f"The split {split!r} has {len(index)} examples, fewer than one batch of {batch_size}. "
            "Fix: a smaller batch size, or more data."
        )
    spec = features.example_spec(len(source.label_names))
    dataset = _order(len(index), shuffle, seed)
    dataset = dataset.map(_loader(index, shuffle), num_parallel_calls=tf.data.AUTOTUNE)
    if augmentations:
        apply = augment.compose(augmentations)
        dataset = dataset.map(
            lambda example, seeds: (apply(example, seeds), seeds),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    dataset = dataset.map(lambda example, _: example)
    features.check_element_spec(dataset, spec, f"pipeline of {split!r}")
    if preprocessor is None:
        return dataset.prefetch(tf.data.AUTOTUNE)

    def to_model_inputs(batch):
        x = preprocessor({k: v for k, v in batch.items() if k not in ("id", "group", "labels")})
        data = (x, batch["labels"], tf.ones(tf.shape(batch["labels"])[:1]))
        return (batch["id"], data) if with_ids else data

    dataset = dataset.map(preprocessor.convert_example, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    dataset = dataset.map(to_model_inputs, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)


def find_unreadable(source, split):
    """Decodes every image of a split and returns the paths that fail, in order.

    Slow by nature, so it runs only after a pipeline has failed, to name the file.
    """

    def readable(path):
        _, status = images.decode_batch(tf.io.read_file(path)[None], 8)
        return path, status[0] == images.OK

    paths = tf.data.Dataset.from_tensor_slices(np.array(source.examples(split).images))
    paths = paths.map(readable, num_parallel_calls=tf.data.AUTOTUNE)
    return [path.decode() for path, good in paths.as_numpy_iterator() if not good]


def _order(count, shuffle, seed):
    """Yields `(row, seed (2,))` for each example; a new permutation on each pass if shuffled."""
    passes = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=shuffle).take(1)

    def one_pass(pass_seed):
        pass_seed = tf.stack([tf.constant(seed, tf.int64), pass_seed])
        rows = tf.range(count, dtype=tf.int64)
        if shuffle:
            rows = tf.random.experimental.stateless_shuffle(rows, pass_seed)
        dataset = tf.data.Dataset.from_tensor_slices(rows)
        return dataset.map(lambda row: (row, tf.random.fold_in(pass_seed, row)))

    dataset = passes.flat_map(one_pass)
    return dataset.apply(tf.data.experimental.assert_cardinality(count))


def _loader(index, draw_caption):
    """Returns `(row, seed) -> (example, seed)`, which reads and decodes one example."""
    ids = tf.constant(index.ids)
    paths = tf.constant(index.images)
    captions = tf.constant([text for texts in index.captions for text in texts], tf.string)
    counts = np.array([len(texts) for texts in index.captions], np.int64)
    starts = tf.constant(np.cumsum(counts) - counts)
    counts = tf.constant(counts)
    groups, labels = tf.constant(index.groups), tf.constant(index.labels)

    def load(row, seed):
        choice = tf.constant(0, tf.int64)
        if draw_caption:
            draw = tf.random.stateless_uniform((), seed)
            choice = tf.cast(draw * tf.cast(counts[row], tf.float32), tf.int64)
        text = tf.cond(
            counts[row] > 0, lambda: captions[starts[row] + choice], lambda: tf.constant("")
        )
        example = {
            "id": ids[row],
            "group": groups[row],
            "images": images.decode(tf.io.read_file(paths[row])),
            "text": text,
            "labels": tf.cast(labels[row], tf.float32),
        }
        return example, seed

    return load
