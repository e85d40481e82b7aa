"""Training batches from any position on."""

import copy

import numpy as np
import tensorflow as tf

from data_prep import augment
from data_prep.pipeline import build_dataset, count_examples, flat_captions, read_into_memory
from mmlearn.training.distribution import Host

SPLITS = ("train", "val")


class TrainingData:
    """Batches whose content is a pure function of (epoch, step).

    Args:
        build: function `(start=(epoch, step), with_ids=False) -> dataset`, the endless batches
            `(x, y, sample_weight)` from that position on, or `(id, (x, y, sample_weight))`.
        steps_per_epoch: int.

    Attributes:
        places: tuple of the modalities whose features are stored; none but in a `SourceData`.
    """

    places = ()

    def __init__(self, build, steps_per_epoch):
        self.build = build
        self.steps_per_epoch = steps_per_epoch

    def validation(self):
        """The validation dataset that belongs to it, or `None`."""

    def for_phase(self, phase):
        """The data of a phase; only a `SourceData` depends on it."""
        return self

    def find_bad(self, epoch, step):
        """Returns the ids of the examples of a batch that hold a NaN or an infinity."""
        (ids, batch) = next(iter(self.build(start=(epoch, step), with_ids=True).take(1)))
        bad = np.zeros(len(ids), bool)
        for values in _leaves(batch):
            values = np.asarray(values)
            if np.issubdtype(values.dtype, np.floating):
                bad |= ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        return [name.decode() for name in ids.numpy()[bad]]


class SourceData(TrainingData):
    """The splits `train` and `val` of a source.

    Args:
        source: a source.
        preprocessor: `MultimodalPreprocessor`.
        batch_size: int.
        augmentations: names or functions, of training examples.
        cache: bool. Whether all image files are read into memory first.
        host: `Host`. Of several, each gets its part of every batch; these parts hold the same
            examples together as the batches of one host.
        **options: of `data_prep.pipeline.build_dataset`, for training.
    """

    unread = ()  # modalities whose files nobody needs
    with_seeds = False

    def __init__(
        self,
        source,
        preprocessor,
        batch_size,
        augmentations=(),
        cache=False,
        host=Host(),
        **options,
    ):
        if batch_size % host.count:
            raise ValueError(
                f"`batch_size` must be divisible by the {host.count} hosts. "
                f"Received: batch_size={batch_size}. Fix: --training.batch-size."
            )
        self.source = source
        self.preprocessors = dict.fromkeys(SPLITS, preprocessor)
        self.batch_size = batch_size
        self.augmentations = tuple(augmentations)
        self.files = {
            split: read_into_memory(source, split) if cache else False for split in SPLITS
        }
        self.host = host
        self.options = options
        unused = {"images", "audio"} & set(source.examples("train").modalities)
        unused -= {*preprocessor.converters, *augment.touched_modalities(self.augmentations)}
        self.unread = tuple(sorted(unused))
        self.build()  # where the batch size or an augmentation is wrong, it is said before training
        num_examples = count_examples(source, "train", options.get("oversample"))
        self.steps_per_epoch = num_examples // batch_size

    def build(self, start=(0, 0), with_ids=False):
        """The training batches, see `TrainingData`."""
        # With ids, the whole batch: what is wrong in it, all hosts tell alike.
        host = Host() if with_ids else self.host
        return build_dataset(
            self.source,
            "train",
            self.preprocessors["train"],
            self.batch_size // host.count,
            shuffle=True,
            augmentations=self.augmentations,
            with_ids=with_ids,
            start=start,
            repeat=True,
            cache=self.files["train"],
            places=(*self.places, *self.unread),
            with_seeds=self.with_seeds,
            shard=(host.index, host.count),
            **self.options,
        )

    def validation(self):
        """The validation batches, in the order of the source."""
        return build_dataset(
            self.source,
            "val",
            self.preprocessors["val"],
            self.batch_size // self.host.count,
            cache=self.files["val"],
            places=(*self.places, *self.unread),
            with_seeds=self.with_seeds,
            shard=(self.host.index, self.host.count),
        )

    def on_one_host(self):
        """The same data, all of them on this host."""
        return self._replace(host=Host())

    def for_phase(self, phase):
        """The data of a phase: without augmentations, if it wants none."""
        return self if phase.augment else self._replace(augmentations=())

    def with_stored(self, converters):
        """The same batches with stored features in the place of what they were computed from.

        Args:
            converters: dict of modality to dict of split to converter of places.
        """
        preprocessors = {}
        for split, preprocessor in self.preprocessors.items():
            own = {modality: by_split[split] for modality, by_split in converters.items()}
            preprocessors[split] = preprocessor.with_converters(own)
        places = tuple(sorted(converters))
        # The workers of a tf.data service have no access to what is stored here.
        options = {**self.options, "service": None}
        return self._replace(preprocessors=preprocessors, places=places, options=options)

    def without_labels(self, inputs, modalities, augmentations):
        """The examples for an objective that needs no labels: each counts once and alike.

        Args:
            inputs: function from a preprocessor to an `ObjectiveInputs`.
            modalities: set of str. The files of others are not opened.
            augmentations: names or functions.
        """
        there = self.source.examples("train").modalities
        in_files = [m for m in ("images", "text", "audio") if m in there]
        options = {**self.options, "class_weights": None, "oversample": None}
        changes = {
            "preprocessors": {split: inputs(p) for split, p in self.preprocessors.items()},
            "unread": tuple(m for m in in_files if m not in modalities),
            "augmentations": tuple(augmentations),
            "options": options,
            "with_seeds": True,
            "steps_per_epoch": count_examples(self.source, "train") // self.batch_size,
        }
        return self._replace(**changes)

    def fixed_modalities(self):
        """The modalities that come to training as they are in the source, without augmentation."""
        touched = augment.touched_modalities(self.augmentations)
        return {m for m in self.preprocessors["train"].converters if m not in touched}

    def count_places(self, split, modality):
        """How many values a split has of a modality: one per example, or one per caption."""
        index = self.source.examples(split)
        return len(flat_captions(index)) if modality == "text" else len(index)

    def values(self, split, modality, first_batch=0):
        """Yields all values of a modality, in batches and as model inputs, each once.

        Args:
            split: str.
            modality: str.
            first_batch: int. Where to begin.

        Yields:
            int64 array of places (see `build_dataset`) and the dict of model inputs.
        """
        preprocessor = self.preprocessors[split]
        converter = preprocessor.converters[modality]
        index = self.source.examples(split)
        if modality == "text":
            dataset = tf.data.Dataset.from_tensor_slices(flat_captions(index)).enumerate()
            dataset = dataset.batch(self.batch_size).skip(first_batch)
            dataset = dataset.map(lambda places, text: (places, converter.convert(text, modality)))
            yield from dataset.prefetch(1).as_numpy_iterator()
            return
        rows = {name.encode(): row for row, name in enumerate(index.ids)}
        others = {"images", "audio"} & set(index.modalities) - {modality}
        dataset = build_dataset(
            self.source,
            split,
            type(preprocessor)({modality: converter}),
            self.batch_size,
            with_ids=True,
            start=(0, first_batch),
            cache=self.files[split],
            places=tuple(sorted(others)),  # their files stay closed
        )
        for ids, (x, _, _) in dataset.as_numpy_iterator():
            yield np.array([rows[name] for name in ids], np.int64), x

    def _replace(self, **changes):
        other = copy.copy(self)
        other.__dict__.update(changes)
        return other


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


def _leaves(value):
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return [value]
    return [leaf for item in value for leaf in _leaves(item)]
