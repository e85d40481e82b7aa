"""Series of readings: the converter from windows with gaps, and the encoders over time."""

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import layers, ops

from mmlearn.encoders.encoder import Converter, Encoder
from mmlearn.encoders.projections import flatten_projections
from mmlearn.encoders.sequence_networks import stack_recurrent, stack_transformer

_ROWS_AT_A_TIME = 1024


@keras.saving.register_keras_serializable(package="mmlearn")
class SeriesConverter(Converter):
    """Turns windows of readings, NaN where one is missing, into numbers without gaps and a mask.

    Each channel is normalised by the mean and the standard deviation that its training readings had.
    Gaps are filled in a straight line between the readings beside them; before the first and after
    the last reading of a channel, the nearest one is held. A channel without a reading is 0, its mean.
    What was read and what was filled in is told by the mask.

    Args:
        length: int. Readings per window.
        mean: list of float, one per channel, see `measure_series`.
        std: list of float, one per channel, positive.
        **kwargs: of `keras.layers.Layer`.

    Example:

    >>> converter = SeriesConverter(length=4, mean=[0.0], std=[2.0])
    >>> nan = float("nan")
    >>> inputs = converter.convert([[[nan], [2.0], [nan], [6.0]]], "series")
    >>> inputs["series"].numpy()[0, :, 0].tolist(), inputs["series_mask"].numpy()[0, :, 0].tolist()
    ([1.0, 1.0, 2.0, 3.0], [0, 1, 0, 1])
    """

    def __init__(self, length, mean, std, **kwargs):
        super().__init__(**kwargs)
        if length < 1:
            raise ValueError(f"`length` must be positive. Received: length={length}.")
        if not len(mean) or len(mean) != len(std) or not min(std) > 0:
            raise ValueError(
                "`mean` and `std` must have one number per channel, `std` positive ones. "
                f"Received: mean={list(mean)}, std={list(std)}. Fix: take those of `measure_series`."
            )
        self.length = length
        # Tuples: Keras would track lists.
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))

    @property
    def num_channels(self):
        """Channels per reading."""
        return len(self.mean)

    def convert(self, values, modality, batch_size=None):
        """Normalises a batch and fills its gaps.

        Args:
            values: floats `(batch_size, length, num_channels)`, where NaN and infinities are
                missing; or `None`.
            modality: str. Prefix of the names of the model inputs.
            batch_size: scalar int tensor. Needed when `values` is `None`.

        Returns:
            A dict of `modality`, float32 `(batch_size, length, num_channels)`;
            `"{modality}_mask"`, int32 of the same shape, 1 where there is a reading; and
            `"{modality}_present"`, 1 where there is any.
        """
        shape = (self.length, self.num_channels)
        if values is None:
            values = tf.fill([batch_size, *shape], np.float32(np.nan))
        values = tf.cast(values, tf.float32)
        if not values.shape[1:].is_compatible_with(shape):
            raise ValueError(
                f"`{modality}` must have the shape (batch_size, {self.length}, {self.num_channels}). "
                f"Received: {tuple(values.shape)}. Fix: windows of the length and with the columns of "
                "the training data, NaN where there is no reading."
            )
        values = tf.ensure_shape(values, (None, *shape))
        is_known = tf.math.is_finite(values)
        values = (values - tf.constant(self.mean)) / tf.constant(self.std)
        return {
            modality: interpolate(values, is_known),
            f"{modality}_mask": tf.cast(is_known, tf.int32),
            f"{modality}_present": tf.cast(tf.reduce_any(is_known, axis=[1, 2]), tf.int32),
        }

    def read_raw(self, values, modality):
        """Reads an array `(batch_size, length, num_channels)`, or a list of arrays of at most that
        length; a shorter one gets NaN in front, as if it ended now. `None` means absent.
        """
        windows = np.full((len(values), self.length, self.num_channels), np.nan, np.float32)
        for row, value in enumerate(values):
            if value is None:
                continue
            value = np.asarray(value, np.float32)
            if value.ndim != 2 or value.shape[1] != self.num_channels or len(value) > self.length:
                raise ValueError(
                    f"{modality}[{row}] must have the shape (length, {self.num_channels}), of at most "
                    f"{self.length} readings. Received: {value.shape}. Fix: cut it, or put NaN where "
                    "a reading is missing."
                )
            if len(value):
                windows[row, -len(value) :] = value
        return windows

    def raw_spec(self, modality):
        """Windows; NaN where a reading is missing."""
        shape = (None, self.length, self.num_channels)
        return tf.TensorSpec(shape, tf.float32, name=modality)

    def get_config(self):
        config = {"length": self.length, "mean": list(self.mean), "std": list(self.std)}
        return {**super().get_config(), **config}


def interpolate(values, is_known):
    """Fills gaps in a straight line; at both ends, the nearest known value is held.

    Args:
        values: float tensor `(batch_size, length, num_channels)`, anything where it is not known.
        is_known: bool tensor of the same shape.

    Returns:
        Float tensor of the same shape; 0 in a channel of which nothing is known.
    """
    values, is_known = (tf.transpose(x, (0, 2, 1)) for x in (values, is_known))
    values = tf.where(is_known, values, 0.0)  # NaN times 0 would be NaN
    length = tf.shape(values)[2]
    time = tf.range(length)
    # The places of known values in order, then the others.
    places = tf.argsort(tf.where(is_known, time, time + length), axis=2)
    so_far = tf.cumsum(tf.cast(is_known, tf.int32), axis=2)
    last = tf.maximum(so_far[..., -1:] - 1, 0)
    before = tf.gather(places, tf.clip_by_value(so_far - 1, 0, last), batch_dims=2)
    after = tf.gather(places, tf.minimum(so_far, last), batch_dims=2)
    start, end = (tf.gather(values, place, batch_dims=2) for place in (before, after))
    share = tf.cast(time - before, values.dtype) / tf.cast(
        tf.maximum(after - before, 1), values.dtype
    )
    # Beyond the ends both are the same place.
    return tf.transpose(start + (end - start) * share, (0, 2, 1))


def measure_series(values):
    """Means and standard deviations per channel over all readings, for `SeriesConverter`.

    Args:
        values: float array `(num_examples, length, num_channels)`, NaN where there is no reading.

    Returns:
        Two lists of float; 0 and 1 for a channel without a reading, 1 for one that never changes.

    Example:

    >>> measure_series(np.array([[[1.0, 7.0], [np.nan, 7.0], [3.0, 7.0]]]))
    ([2.0, 7.0], [1.0, 1.0])
    """
    chunks = [
        values[start : start + _ROWS_AT_A_TIME].astype("float64")  # the whole would take twice
        for start in range(0, len(values), _ROWS_AT_A_TIME)
    ]
    count = np.maximum(sum(np.isfinite(chunk).sum((0, 1)) for chunk in chunks), 1)

    def average(function):
        return sum(np.where(np.isfinite(c), function(c), 0.0).sum((0, 1)) for c in chunks) / count

    mean = average(lambda x: x)
    std = np.sqrt(average(lambda x: (x - mean) ** 2))
    # Of float32 readings that are all the same, the mean is right to about 1e-7.
    return mean.tolist(), np.where(std > 1e-6 * np.abs(mean), std, 1.0).tolist()


@keras.saving.register_keras_serializable(package="mmlearn")
class SeriesEncoder(Encoder):
    """A network over time that gives one feature per reading, or per patch of readings.

    What lies before the first reading of all channels, or after the last, is padding. Gaps within
    are not: they hold what was interpolated, and the network can be told so.

    Args:
        model: `keras.Model` from `(num_tokens, patch_size * num_values)` to `(num_tokens, dim)`, or
            from a dict of that as `values` and a bool `mask (num_tokens,)`. `num_values` is the
            number of channels, twice that if `with_mask`.
        patch_size: int. Readings per token.
        with_mask: bool. Whether the network sees, beside each value, whether it was read or filled in.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict of `"{modality}" (batch_size, length, num_channels)` and int32
            `"{modality}_mask"` of the same shape.
        training: bool.

    Returns:
        features `(batch_size, num_tokens, dim)` and a bool mask `(batch_size, num_tokens)`, `False`
        at padding.

    Reference:
        The mask as an input: Che et al., "Recurrent Neural Networks for Multivariate Time Series with
        Missing Values", 2018, section 2. Patches: Nie et al., "A Time Series is Worth 64 Words", 2023,
        section 3.1.
    """

    def __init__(self, model, patch_size=1, with_mask=True, **kwargs):
        flatten_projections(model)
        super().__init__(model, **kwargs)
        self.patch_size, self.with_mask = patch_size, with_mask

    def model_inputs(self, modality):
        """Returns `{name: keras.Input}` of the functional inputs of this encoder."""
        has_mask = isinstance(self.model.input, dict)
        values = self.model.input["values"] if has_mask else self.model.input
        _, num_tokens, dim = values.shape
        shape = (num_tokens * self.patch_size, dim // self.patch_size // (1 + self.with_mask))
        mask = f"{modality}_mask"
        return {
            modality: keras.Input(shape, name=modality),
            mask: keras.Input(shape, dtype="int32", name=mask),
        }

    def call(self, inputs, training=None):
        values, is_known = (inputs[name] for name in sorted(inputs))  # series, series_mask
        _, length, num_channels = values.shape
        has_any = ops.any(ops.cast(is_known, "bool"), axis=-1)
        is_inside = ops.logical_and(_ever_before(has_any), _ever_after(has_any))
        # No mask for recurrent layers, whose fast kernels on GPUs take padding at the end alone:
        # nothing but zeros comes from it.
        x = ops.where(is_inside[..., None], values, ops.zeros_like(values))
        if self.with_mask:
            x = ops.concatenate([x, ops.cast(is_known, x.dtype)], axis=-1)
            num_channels = 2 * num_channels
        num_tokens = length // self.patch_size
        x = ops.reshape(x, (-1, num_tokens, self.patch_size * num_channels))
        mask = ops.any(ops.reshape(is_inside, (-1, num_tokens, self.patch_size)), axis=-1)
        x = {"values": x, "mask": mask} if isinstance(self.model.input, dict) else x
        return self.model(x, training=self.learns(training)), mask

    def get_config(self):
        config = {"patch_size": self.patch_size, "with_mask": self.with_mask}
        return {**super().get_config(), **config}


def _ever_before(x):
    return ops.cumsum(ops.cast(x, "int32"), axis=1) > 0


def _ever_after(x):
    return ops.flip(_ever_before(ops.flip(x, axis=1)), axis=1)


def recurrent(cell):
    """Returns the function that builds the recurrent encoder of that name.

    Args:
        cell: `"lstm"` or `"gru"`.
    """

    def build(
        length,
        num_channels,
        hidden_dim=128,
        num_layers=1,
        bidirectional=True,
        dropout=0.0,
        patch_size=1,
        with_mask=True,
    ):
        num_tokens, dim = _token_shape(length, num_channels, patch_size, with_mask)
        inputs = keras.Input((num_tokens, dim))
        outputs = stack_recurrent(inputs, cell, hidden_dim, num_layers, bidirectional, dropout)
        model = keras.Model(inputs, outputs, name=cell)
        return SeriesEncoder(model, patch_size, with_mask, name="series_encoder")

    build.__doc__ = f"""Builds the series encoder {cell}.

    Args:
        length: int. Readings per window.
        num_channels: int. Channels per reading.
        hidden_dim: int. Size of a token's features, both directions together.
        num_layers: int.
        bidirectional: bool. Whether the series is read from both ends.
        dropout: float in [0, 1). Rate on the inputs of each layer but the first.
        patch_size: int. Readings per token; must divide `length`.
        with_mask: bool. Whether the network sees what was read and what was filled in.
    """
    return build


def transformer(
    length,
    num_channels,
    hidden_dim=128,
    num_layers=2,
    num_heads=4,
    intermediate_dim=256,
    dropout=0.1,
    patch_size=1,
    with_mask=True,
):
    """Builds a small transformer over time, with learned positions.

    Args:
        length: int. Readings per window.
        num_channels: int. Channels per reading.
        hidden_dim: int. Size of a token's features; divisible by `num_heads`.
        num_layers: int.
        num_heads: int.
        intermediate_dim: int. Size of the hidden layer in each block.
        dropout: float in [0, 1).
        patch_size: int. Readings per token; must divide `length`. Attention costs the square of the
            number of tokens.
        with_mask: bool. Whether the network sees what was read and what was filled in.

    Returns:
        A `SeriesEncoder`.
    """
    num_tokens, dim = _token_shape(length, num_channels, patch_size, with_mask)
    inputs = {
        "values": keras.Input((num_tokens, dim), name="values"),
        "mask": keras.Input((num_tokens,), dtype="bool", name="mask"),
    }
    x = layers.Dense(hidden_dim, name="projection")(inputs["values"])
    x = x + keras_hub.layers.PositionEmbedding(num_tokens, name="positions")(x)
    x = stack_transformer(x, inputs["mask"], num_layers, num_heads, intermediate_dim, dropout)
    model = keras.Model(inputs, x, name="series_transformer")
    return SeriesEncoder(model, patch_size, with_mask, name="series_encoder")


def _token_shape(length, num_channels, patch_size, with_mask):
    if patch_size < 1 or length % patch_size:
        raise ValueError(
            "`patch_size` must divide the length of the series. "
            f"Received: patch_size={patch_size}, length={length}. Fix: a divisor, or another length in "
            "the options of the source."
        )
    return length // patch_size, patch_size * num_channels * (1 + with_mask)
