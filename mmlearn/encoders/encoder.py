"""The contract of an encoder and of a converter.

A **converter** turns raw values of one modality into model inputs. It is a Keras layer, so that it
is saved with its assets, but it is not called as one; it works in TensorFlow ops, so that it runs
in tf.data and in the SavedModel alike. It subclasses `Converter`:

- `converter.convert(values, modality, batch_size)` takes a batch of raw values, or `None` for a
  modality that is not there, and returns a dict of model inputs, among them the int32
  `"{modality}_present" (batch_size,)`;
- `converter.convert_with_status(values, modality, batch_size)` also says why rows of files are missing;
- `converter.convert_example(value, modality)` does what must be done before batching;
- `converter.read_raw(values, modality)` makes an array of what a user passes as a batch;
- `converter.has_value(values, modality)` says which rows of that are there;
- `converter.raw_spec(modality)` says what an exported model takes for it, if it can.

An **encoder** turns model inputs of one modality into features. It is a Keras layer:

- `encoder.model_inputs(modality)` names its functional inputs: `{name: keras.Input}`;
- `encoder(inputs)` takes that dict and returns features `(batch_size, length, dim)` and a bool
  mask `(batch_size, length)`.

A frozen encoder (`trainable = False`) computes in training what it computes at inference, since a
training phase may store its features and compute them only once.

An encoder may also have `blocks`, its layers from the inputs up, which is what a training phase thaws
from above and what learns at decaying rates.

Your own encoder is any layer with these two methods, registered with
`@keras.saving.register_keras_serializable()`; the repository needs no edit.
"""

import re

import keras
import numpy as np
import tensorflow as tf

# As the layers of keras.applications and KerasHub are called: conv2_block1_1_conv,
# stack0_block1_0_bn, block2a_expand_conv, transformer_layer_3, transformer_block_3.
_BLOCK = re.compile(
    r"(?:conv|stack|stage)\d+_block\d+|block\d+[a-z]?|transformer_(?:layer|block)_\d+"
)


class Converter(keras.layers.Layer):
    """Base class of the converters: layers without weights.

    Args:
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True  # no weights

    def convert_example(self, value, modality):
        """Returns `{modality: value}`: values of one size can be batched as they are."""
        return {modality: value}

    def convert(self, values, modality, batch_size=None):
        """Returns the model inputs of a batch, or of `batch_size` absent rows."""
        raise TypeError(
            f"{type(self).__name__} must define `convert(values, modality, batch_size)`."
        )

    def convert_with_status(self, values, modality, batch_size=None):
        """Like `convert`, and what became of each row of files.

        Returns:
            The model inputs, and int32 `(batch_size,)` as of `data_prep.images`: `OK`, `ABSENT`,
            `UNREADABLE` or `TOO_LARGE`; or `None` where the values are no files.
        """
        return self.convert(values, modality, batch_size), None

    def read_raw(self, values, modality):
        """Reads a batch of what a user may pass into a numpy array, or a dict of them.

        Args:
            values: any sequence.
            modality: str. For the messages.

        Raises:
            ValueError: naming the row that cannot be read.
        """
        return np.asarray(values)

    def has_value(self, values, modality):
        """Which rows are there: bool array `(batch_size,)`.

        What `convert` says; to be defined where that takes long and the values themselves tell.

        Args:
            values: what `read_raw` returned.
            modality: str.
        """
        values = keras.tree.map_structure(tf.convert_to_tensor, values)
        return self.convert(values, modality)[f"{modality}_present"].numpy() == 1

    def raw_spec(self, modality):
        """The raw values of a batch in an exported model: a `tf.TensorSpec`, or a dict of them.

        `None` where the conversion cannot be part of one; its clients then send model inputs.
        """


class Encoder(keras.layers.Layer):
    """Base class of the encoders that wrap one Keras model.

    Args:
        model: the `keras.Model` that does the work. Saved with the encoder.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        self.model = model

    def learns(self, training):
        """The mode of the model in a call: that of inference, without dropout, while it is frozen.

        So the features of a frozen encoder are the same in each epoch, and may be stored.
        """
        return training and self.trainable

    def model_inputs(self, modality):
        """Returns `{name: keras.Input}` of the functional inputs of this encoder."""
        raise TypeError(f"{type(self).__name__} must define `model_inputs(modality)`.")

    @property
    def blocks(self):
        """The layers with weights, from the inputs up: a list of lists, the first one the stem."""
        blocks, current = [[]], None
        for layer in _unpack(self.model.layers):
            match = _BLOCK.search(layer.name)
            if match and match[0] != current:
                current = match[0]
                blocks.append([])
            if layer.weights:
                blocks[-1].append(layer)
        return [block for block in blocks if block]

    def get_config(self):
        return {**super().get_config(), "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["model"] = keras.saving.deserialize_keras_object(config["model"])
        return cls(**config)


def _unpack(layers):
    """Yields the layers, and of one that holds blocks those in it: KerasHub nests the blocks of ViT."""
    for layer in layers:
        inner = layer._flatten_layers(include_self=False)
        if not _BLOCK.search(layer.name) and any(_BLOCK.search(part.name) for part in inner):
            yield from _unpack(layer._layers)
        else:
            yield layer


def first_line(error):
    """The first line of what a download failed with; hub clients write pages."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
