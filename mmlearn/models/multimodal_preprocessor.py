"""The one object that turns raw examples into model inputs."""

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from data_prep import features, names
from mmlearn.models.multimodal_backbone import MultimodalBackbone
from mmlearn.models.presets import CheckedPreset


@keras.saving.register_keras_serializable(package="mmlearn")
class MultimodalPreprocessor(CheckedPreset, keras_hub.models.Preprocessor):
    """Converts a batch of raw examples, modality by modality.

    It runs inside the tf.data map, inside `fit` and `predict` on raw data, and inside the exported
    SavedModel: there is no other preprocessing, hence no skew between training and serving.

    Args:
        converters: dict of modality to converter (see `mmlearn.encoders.encoder`).
        with_group: bool. Whether the model inputs have `group (batch_size,)`: equal numbers for
            examples of the same image, for tasks that compare examples with each other.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        x: dict of modality to a batch of raw values. A modality may be left out; in a batch, rows
            without it hold an empty string or empty bytes. With `with_group`, also `group`, ints; by
            default each row is a group of its own.
        y: labels, passed through.
        sample_weight: passed through.

    Returns:
        The dict of model inputs, alone or packed with `y` and `sample_weight`.

    Example:

    >>> from mmlearn import encoders
    >>> tokenizer = encoders.text_tokenizers.train_tokenizer(["a dog", "a red dog"])
    >>> preprocessor = MultimodalPreprocessor(
    ...     {"text": encoders.TextConverter(tokenizer, sequence_length=6)}
    ... )
    >>> sorted(preprocessor({"text": ["a dog", ""]}))
    ['padding_mask', 'segment_ids', 'text_present', 'token_ids']
    """

    backbone_cls = MultimodalBackbone

    def __init__(self, converters, with_group=False, **kwargs):
        super().__init__(**kwargs)
        self.with_group = with_group
        self.converters = {modality: converters[modality] for modality in sorted(converters)}
        self.built = True  # no weights
        # Eager calls go through graphs too: tokenizers have a second, slightly different
        # implementation in eager Python. And the signatures of an export share them: to trace the
        # decoding of images takes seconds.
        self._graphs = {
            modality: tf.function(converter.convert_with_status, reduce_retracing=True)
            for modality, converter in self.converters.items()
        }

    def with_converters(self, converters):
        """Returns a preprocessor that has these converters in the place of those of their modalities.

        Args:
            converters: dict of modality to converter.
        """
        return type(self)({**self.converters, **converters}, with_group=self.with_group)

    @property
    def image_size(self):
        """The side of the model's images in pixels; `None` without images.

        A pipeline may decode photos at a fraction of their size that is still large enough for it.
        """
        return getattr(self.converters.get("images"), "image_size", None)

    def convert_example(self, example):
        """Does what must be done to single examples before they can be batched.

        Args:
            example: dict of one example. Modalities without a converter are left out; keys that are
                no modality pass through.
        """
        converted = {}
        for key, value in example.items():
            if key in self.converters:
                converted.update(self.converters[key].convert_example(value, key))
            elif key not in features.MODALITIES:
                converted[key] = value
        return converted

    def call(self, x, y=None, sample_weight=None):
        for name in self._without_group(x):
            # Keys such as "images_present" come from `convert_example`.
            if not any(name.startswith(f"{modality}_") for modality in self.converters):
                names.find(name, self.converters, "modality")
        inputs, _ = self._convert(x, is_shared=tf.executing_eagerly())
        return keras.utils.pack_x_y_sample_weight(inputs, y, sample_weight)

    def convert_with_status(self, x):
        """Converts a batch of raw examples, and says what became of each file.

        Args:
            x: dict of modality to a batch of raw values.

        Returns:
            The dict of model inputs, and a dict of modality, of those that are files, to int32
            `(batch_size,)` as of `data_prep.images`: `OK`, `ABSENT`, `UNREADABLE` or `TOO_LARGE`.
        """
        return self._convert(x, is_shared=True)

    def _convert(self, x, is_shared):
        x = {name: _to_tensors(value) for name, value in x.items()}
        batch_size = tf.shape(keras.tree.flatten(x)[0])[0]
        converted, statuses = {}, {}
        if self.with_group:
            group = x["group"] if "group" in x else tf.range(batch_size)
            converted["group"] = tf.cast(group, tf.int64)
        for modality, converter in self.converters.items():
            if f"{modality}_present" in x:  # by `convert_example`
                own = {k: v for k, v in x.items() if k == modality or k.startswith(f"{modality}_")}
            else:
                convert = self._graphs[modality] if is_shared else converter.convert_with_status
                own, status = convert(x.get(modality), modality, batch_size)
                if status is not None:
                    statuses[modality] = status
            converted.update(own)
        return converted, statuses

    def _without_group(self, x):
        return {k: v for k, v in x.items() if k != "group"} if self.with_group else x

    def read_raw(self, x):
        """Reads what a user may pass as a batch of raw examples into arrays of one length.

        Args:
            x: dict of modality to a batch: for `images` an array `(batch_size, height, width, 3)`,
                or a list of arrays of any sizes, paths or file bytes; for `text` strings; for others
                what `read_raw` of their converter takes. `None`, `""` and `b""` mean absent; tasks
                refuse rows of which everything is.

        Returns:
            A dict of numpy arrays.

        Raises:
            ValueError: naming the row that cannot be read.
        """
        if not isinstance(x, dict) or not x:
            raise ValueError(
                "`x` must be a dict of modality to a batch, such as "
                f"{{'images': [...], 'text': [...]}}. Received: {type(x).__name__}."
            )
        batch = {}
        for modality, values in self._without_group(x).items():
            names.find(modality, self.converters, "modality")
            if isinstance(values, (str, bytes)):
                raise ValueError(
                    f"`{modality}` must be a batch. Received: one {type(values).__name__}. "
                    "Fix: wrap it in a list."
                )
            batch[modality] = self.converters[modality].read_raw(values, modality)
        if self.with_group:
            # Of all rows, not of a batch of them: rows that are not told apart are no negatives.
            count = num_rows(next(iter(batch.values()))) if batch else 0
            batch["group"] = np.asarray(x.get("group", np.arange(count)), np.int64)
        lengths = {modality: num_rows(values) for modality, values in batch.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"All modalities need one value per example. Received: {lengths}.")
        if not all(lengths.values()):
            raise ValueError("The batch is empty. Fix: pass at least one example.")
        return batch

    def has_value(self, batch, modalities):
        """Which of the rows that `read_raw` returned have a value of some modalities.

        Args:
            batch: dict of modality to values.
            modalities: iterable of str. Those of a model.

        Returns:
            bool array `(batch_size,)`.
        """
        found = np.zeros(num_rows(next(iter(batch.values()))), bool)
        for modality in sorted(modalities, reverse=True):  # text first, it is quickly seen
            if modality in batch and not found.all():
                found |= self.converters[modality].has_value(batch[modality], modality)
        return found

    def get_config(self):
        converters = {m: keras.saving.serialize_keras_object(c) for m, c in self.converters.items()}
        config = {**super().get_config(), "converters": converters}
        # Not of every model, so that configs without it are as they were before there was any.
        return {**config, "with_group": True} if self.with_group else config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["converters"] = {
            m: keras.saving.deserialize_keras_object(c) if isinstance(c, dict) else c
            for m, c in config["converters"].items()
        }
        return super().from_config(config)


def num_rows(values):
    """The number of examples in a batch of raw values of one modality, maybe a dict of columns."""
    return len(next(iter(values.values())) if isinstance(values, dict) else values)


def _to_tensors(values):
    """Makes a tensor of a batch of raw values, or a dict of tensors of a dict of columns."""
    if isinstance(values, dict):
        return {name: tf.convert_to_tensor(value) for name, value in values.items()}
    return tf.convert_to_tensor(values)
