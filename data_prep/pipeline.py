"""Source + preprocessor -> `tf.data` batches of `(x, y, sample_weight)`."""

import functools
import os

import numpy as np
import psutil
import tensorflow as tf
from scipy import sparse

from data_prep import audio, augment, balance, features, images, mix, order
from data_prep.errors import DataError
from data_prep.names import find
from data_prep.splits import check_has_labels
from data_prep.threads import PARALLEL_CALLS, with_threads

SHARE_OF_MEMORY = 0.5  # of what is free, for `cache`
PREFETCH = 2  # batches (or single examples without a preprocessor) that wait to be used


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
    start=(0, 0),
    repeat=False,
    class_weights=None,
    oversample=None,
    cache=False,
    shard=(0, 1),
    service=None,
    places=(),
    with_seeds=False,
    parallel_calls=None,
):
    """Builds the batches of one split.

    Every pass over a shuffled dataset has another order, another caption where an image has
    several, and other augmentations. All of them are a pure function of (seed, epoch, step): the
    same batch comes whatever the number of parallel calls, and after `start=(epoch, step)`.
    Without `shuffle`, the order is the source's, the caption the first one, and all passes equal.

    Args:
        source: a source (see `data_prep.sources.source`).
        split: str. One of `source.splits`.
        preprocessor: a `mmlearn.MultimodalPreprocessor`, or `None` for raw examples, which are
            not batched because their images differ in size.
        batch_size: int. Examples per batch.
        shuffle: bool. Whether to shuffle and to draw captions, as training does.
        augmentations: names or functions `(example, seed) -> example`, see `data_prep.augment`;
            `mixup` and `cutmix` (`data_prep.mix`) act on batches, of images alone.
        drop_remainder: bool. Whether to leave out the last, smaller batch.
        with_ids: bool. Whether to yield `(id, (x, y, sample_weight))`. Ids never go into `x`.
        seed: int.
        start: `(epoch, step)`. Where the first pass begins, to go on after an interruption. Each
            further pass is the next epoch.
        repeat: bool. Whether the epochs follow each other without end, in whole batches; `fit` then
            needs `steps_per_epoch`.
        class_weights: `"balanced"`, or one number per class, or `None`: what `sample_weight` is made
            of, see `data_prep.balance.example_weights`.
        oversample: float in (0, 1], or `None`. Classes with a smaller share of the examples are
            shown more often, see `data_prep.balance.oversampled_rows`.
        cache: bool. Whether to read all image files into memory first, for slow disks; or what
            `read_into_memory` returned, where several datasets share them.
        shard: `(index, count)`. Only each `count`-th example, from that index on: for several
            hosts. `batch_size` is then that of one host.
        service: str, or `None`. Address of a tf.data service, such as "grpc://host:5000", whose
            workers do the reading. A dataset whose passes differ must then be endless (`repeat`).
        places: names of modalities whose values are known elsewhere, such as stored features. Their
            files are not opened; an example holds the int64 place instead: the row in the index, and
            for `text` the number of the caption, see `flat_captions`.
        with_seeds: bool. Whether an example has its int32 `seed (2,)` when it comes to the
            preprocessor, for what that draws at random.
        parallel_calls: int. Examples that are prepared at a time; by default four per core.

    Returns:
        A `tf.data.Dataset` of `(x, y, sample_weight)`: a dict of model inputs, float32 labels
        `(batch_size, num_classes)` and float32 weights `(batch_size,)`. Or of examples.

    Raises:
        DataError: when the split is smaller than one batch and the remainder is dropped, or too
            large for `cache`.
        ValueError: when an option is out of its range, or is for labels and the data have
            regression targets, or an augmentation changes the dtype or rank of what it returns, or
            needs the values of `places`.

    Example:

    >>> import tempfile
    >>> from data_prep.sources.shapes import ShapesSource
    >>> source = ShapesSource(tempfile.mkdtemp() + "/shapes", num_train=4, num_val=4)
    >>> example = next(iter(build_dataset(source, "val")))
    >>> sorted(example), example["images"].shape.as_list()
    (['group', 'id', 'images', 'labels', 'text'], [96, 96, 3])
    """
    _check(batch_size, start, shard, service, shuffle, repeat)
    _check_places(places, augmentations)
    parallel_calls = parallel_calls or PARALLEL_CALLS
    index = source.examples(split)
    rows = _rows(source, index, oversample)
    whole_batches = drop_remainder or repeat
    shard_index, num_shards = shard
    # Hosts must have the same number of batches, or the last ones wait for ever.
    count = len(rows) // num_shards if whole_batches else len(rows[shard_index::num_shards])
    if whole_batches and count < batch_size:
        raise DataError(
            f"The split {split!r} has {count} examples, fewer than one batch of {batch_size}. "
            "Fix: a smaller batch size, or more data."
        )
    count = count // batch_size * batch_size if whole_batches else count
    mixes = [mix.MIXES[name] for name in augmentations if name in mix.MIXES]
    transforms = [name for name in augmentations if name not in mix.MIXES]
    records = source.records(split)
    is_prepared = records is not None and records.is_prepared
    files = read_into_memory(source, split) if cache is True else cache
    files = None if files is False else files
    records = None if files is not None else records
    look_up = _columns(index, _example_weights(source, index, class_weights), shuffle, places)

    def one_pass(epoch):
        # Without shuffling, all passes are the first; only where it begins may differ.
        arguments = (rows, epoch if shuffle else tf.constant(0, tf.int64), seed, shuffle)
        if records is None:
            dataset = order.index_order(*arguments)
        else:
            dataset = order.record_order(records, *arguments)
        dataset = dataset.map(look_up).unbatch().shard(num_shards, shard_index).take(count)
        first = tf.where(epoch == start[0], start[1], 0)
        return dataset.skip(tf.cast(first, tf.int64) * batch_size) if start[1] else dataset

    dataset = order.passes(one_pass, start[0], repeat, is_counted=shuffle or start[1] > 0)
    if not repeat and not start[1]:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    decode = functools.partial(images.decode, image_size=getattr(preprocessor, "image_size", None))
    if is_prepared:
        decode = images.decode_jpeg
    read = _reader(index, files, records is not None, decode, places)
    spec = features.example_spec(index)
    spec.update({name: tf.TensorSpec((), tf.int64) for name in places})
    apply = augment.compose(transforms)

    has_labels = index.labels.shape[1] > 0

    def prepare(example, weight, row, file, example_seed):
        if not has_labels:
            example = {**example, "labels": tf.zeros((0,))}
        example = apply(read(example, row, file), example_seed)
        features.check_element_spec(example, spec, f"pipeline of {split!r}")
        if preprocessor is None:
            return example
        if with_seeds:
            example = {**example, "seed": example_seed}
        return preprocessor.convert_example(example), weight, example_seed

    prepare = tf.autograph.experimental.do_not_convert(prepare)
    dataset = dataset.map(prepare, num_parallel_calls=parallel_calls)
    if preprocessor is None:
        return with_threads(dataset).prefetch(PREFETCH)

    own = {"id", "group", "labels"}
    if getattr(preprocessor, "with_group", False):
        own.remove("group")

    def to_model_inputs(batch, weights, seeds):
        x, y = preprocessor({k: v for k, v in batch.items() if k not in own}), batch["labels"]
        for number, mixed in enumerate(mixes):
            x, y = mixed(x, y, tf.random.fold_in(seeds[0], number + 1))
        return (batch["id"], (x, y, weights)) if with_ids else (x, y, weights)

    to_model_inputs = tf.autograph.experimental.do_not_convert(to_model_inputs)
    dataset = dataset.batch(batch_size, drop_remainder=whole_batches)
    dataset = dataset.map(to_model_inputs, num_parallel_calls=parallel_calls)
    dataset = with_threads(dataset)
    if service is not None:
        policy = tf.data.experimental.service.ShardingPolicy.OFF
        dataset = dataset.apply(
            tf.data.experimental.service.distribute(processing_mode=policy, service=service)
        )
    return dataset.prefetch(PREFETCH)


def count_examples(source, split, oversample=None):
    """The examples of one pass over a split."""
    return len(_rows(source, source.examples(split), oversample))


def _rows(source, index, oversample):
    if oversample is None:
        return np.arange(len(index))
    check_has_labels(source, "oversample")
    return balance.oversampled_rows(index.labels, oversample)


def _check(batch_size, start, shard, service, shuffle, repeat):
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}.")
    if min(start) < 0:
        raise ValueError(f"`start` must be (epoch, step), both from 0. Received: start={start}.")
    if not 0 <= shard[0] < shard[1]:
        raise ValueError(
            f"`shard` must be (index, count) with an index below the count. Received: shard={shard}."
        )
    if service is not None and (shuffle or start[1]) and not repeat:
        raise ValueError(
            "A tf.data service starts every pass anew and would repeat the first one. Fix: "
            "`repeat=True` here and `steps_per_epoch` in `fit`."
        )


def _check_places(places, augmentations):
    for name in places:
        find(name, features.MODALITIES, "modality")
    needed = sorted({*places} & augment.touched_modalities(augmentations))
    if needed:
        raise ValueError(
            f"An augmentation needs the values of {needed[0]!r}, of which only the places are wanted. "
            f"Received: augmentations={tuple(augmentations)}, places={tuple(places)}."
        )


def _example_weights(source, index, class_weights):
    if class_weights is None:
        return np.ones(len(index), np.float32)
    check_has_labels(source, "class_weights")
    if isinstance(class_weights, str):
        if class_weights != "balanced":
            raise ValueError(
                f"`class_weights` must be 'balanced' or numbers. Received: {class_weights!r}."
            )
        class_weights = balance.class_weights(index.labels)
    return balance.example_weights(index.labels, class_weights)


def read_into_memory(source, split):
    """Reads the image files of a split, for `build_dataset(cache=...)`.

    Args:
        source: a source.
        split: str.

    Returns:
        String tensor `(num_examples,)`, the bytes; empty where an example has no image.

    Raises:
        DataError: when they need more than half of the free memory.
    """
    index, records = source.examples(split), source.records(split)
    present = [path for path in index.images or () if path]
    paths = present if records is None else records.paths
    needed, free = sum(map(os.path.getsize, paths)), psutil.virtual_memory().available
    if needed > SHARE_OF_MEMORY * free:
        raise DataError(
            f"The images of {split!r} need {needed / 1e9:.1f} GB, more than half of the free memory "
            f"({free / 1e9:.1f} GB). Fix: no cache, or prepared shards (python -m data_prep shards)."
        )
    if records is None:
        dataset = tf.data.Dataset.from_tensor_slices(np.array(index.images, object))
        dataset = with_threads(dataset.map(_read_file, num_parallel_calls=PARALLEL_CALLS))
        return tf.constant(list(dataset.as_numpy_iterator()))
    found = [b""] * len(index)
    rows = np.arange(len(index))
    once = order.record_order(records, rows, tf.constant(0, tf.int64), 0, shuffle=False)
    for row, data, _ in with_threads(once.unbatch()).as_numpy_iterator():
        found[row] = data
    return tf.constant(found)


def _read_file(path):
    """Reads a file; an empty path means absent, and gives empty bytes."""
    return tf.cond(tf.strings.length(path) > 0, lambda: tf.io.read_file(path), lambda: "")


def flat_captions(index):
    """All captions of an index one after the other, and an empty one that stands for none."""
    return [*(text for texts in index.captions for text in texts), ""]


def _columns(index, weights, draw_caption, places):
    """Returns `(rows, files, seeds) -> (examples, weights, rows, files, seeds)` for a block.

    What needs no file is looked up for all examples of a block at once: example by example, these
    small steps together would cost as much as decoding a photo.
    """
    columns = {"id": tf.constant(index.ids), "group": tf.constant(index.groups)}
    if index.images is not None:
        columns["images"] = tf.constant(index.images)  # paths
    if index.audio is not None:
        columns["audio"] = tf.constant(index.audio)
    if index.series is not None:
        columns["series"] = tf.constant(index.series, tf.float32)
    for name in places:
        columns[name] = tf.range(len(index), dtype=tf.int64)
    table = {name: tf.constant(column) for name, column in (index.table or {}).items()}
    weights = tf.constant(weights)
    # `unbatch` of a tensor without columns ends the process (TensorFlow 2.21).
    labels = _label_reader(index.labels) if index.labels.shape[1] else None
    if index.captions is not None:
        captions = flat_captions(index)
        captions, no_caption = tf.constant(captions), len(captions) - 1
        counts = np.array([len(texts) for texts in index.captions], np.int64)
        starts, counts = tf.constant(np.cumsum(counts) - counts), tf.constant(counts)

    def texts(rows, seeds):
        number, start = tf.gather(counts, rows), tf.gather(starts, rows)
        if draw_caption:
            # The seeds are uniform over all integers; the first one serves as the draw.
            draws = tf.cast(tf.bitcast(seeds[:, 0], tf.uint32), tf.float64) / 2.0**32
            start += tf.cast(draws * tf.cast(number, tf.float64), tf.int64)
        place = tf.where(number > 0, start, no_caption)
        return place if "text" in places else tf.gather(captions, place)

    def look_up(rows, files, seeds):
        examples = {name: tf.gather(column, rows) for name, column in columns.items()}
        if labels is not None:
            examples["labels"] = labels(rows)
        if index.captions is not None:
            examples["text"] = texts(rows, seeds)
        if index.table is not None and "table" not in places:
            examples["table"] = {name: tf.gather(column, rows) for name, column in table.items()}
        return examples, tf.gather(weights, rows), rows, files, seeds

    return look_up


def _label_reader(labels):
    """Returns a function from rows to their float32 label vectors."""
    if not sparse.issparse(labels):
        dense = tf.constant(labels)
        return lambda rows: tf.cast(tf.gather(dense, rows), tf.float32)
    # A vocabulary of answers has thousands of classes: only what is not zero is kept.
    starts = tf.constant(labels.indptr, tf.int64)
    columns, values = tf.constant(labels.indices, tf.int64), tf.constant(labels.data, tf.float32)

    def read(rows):
        places = tf.ragged.range(tf.gather(starts, rows), tf.gather(starts, rows + 1))
        where = tf.stack([places.value_rowids(), tf.gather(columns, places.flat_values)], axis=1)
        shape = (tf.size(rows, tf.int64), labels.shape[1])
        return tf.ensure_shape(
            tf.scatter_nd(where, tf.gather(values, places.flat_values), shape),
            (None, labels.shape[1]),
        )

    return read


def _reader(index, files, from_records, decode, places):
    """Returns `(example, row, file) -> example`, which reads and decodes images and audio."""
    all_present = index.images is not None and all(index.images)

    def image(path, row, file):
        if files is not None:
            file = files[row]
        elif not from_records:
            file = tf.io.read_file(path) if all_present else _read_file(path)
        if all_present:
            return decode(file)
        return tf.cond(
            tf.strings.length(file) > 0,
            lambda: decode(file),
            lambda: tf.zeros((0, 0, 3), tf.uint8),
        )

    def read(example, row, file):
        example = dict(example)
        if "images" in example and "images" not in places:
            example["images"] = image(example["images"], row, file)
        if "audio" in example and "audio" not in places:
            example["audio"] = audio.decode(_read_file(example["audio"]))
        return example

    return read
