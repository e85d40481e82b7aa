"""Images: the converter from files and arrays, and the encoder that gives region features."""

import math
import os

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from data_prep import images
from mmlearn.encoders import normalization as normalizations
from mmlearn.encoders.encoder import Converter, Encoder
from mmlearn.encoders.projections import flatten_projections
from mmlearn.layers.spatial_attention import SpatialAttention


@keras.saving.register_keras_serializable(package="mmlearn")
class ImageConverter(Converter):
    """Turns image files or arrays into square RGB images in [0, 255].

    Args:
        image_size: int. Side in pixels.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, image_size=224, **kwargs):
        super().__init__(**kwargs)
        if image_size < 1:
            raise ValueError(f"`image_size` must be positive. Received: image_size={image_size}.")
        self.image_size = image_size

    def convert_example(self, value, modality):
        """Resizes one image `(height, width, 3)`, so that it can be batched with others.

        An image of no pixels is an absent one.
        """
        present = tf.size(value) > 0
        resized = tf.cond(
            present,
            lambda: images.resize(value, self.image_size),
            lambda: tf.zeros((self.image_size, self.image_size, 3)),
        )
        return {modality: resized, f"{modality}_present": tf.cast(present, tf.int32)}

    def convert(self, values, modality, batch_size=None):
        """Decodes and resizes a batch.

        Args:
            values: string tensor `(batch_size,)` of file bytes, where empty or unreadable ones, and
                those of too many pixels, count as absent; or numbers
                `(batch_size, height, width, 3)` in [0, 255]; or `None`.
            modality: str. Prefix of the names of the model inputs.
            batch_size: scalar int tensor. Needed when `values` is `None`.

        Returns:
            A dict of model inputs.
        """
        return self.convert_with_status(values, modality, batch_size)[0]

    def convert_with_status(self, values, modality, batch_size=None):
        """Like `convert`, and the status of each file, see `data_prep.images.decode_batch`."""
        status = None
        if values is None:
            values = tf.zeros((batch_size, self.image_size, self.image_size, 3))
            present = tf.zeros((batch_size,), tf.int32)
        elif values.dtype == tf.string:
            values, status = images.decode_batch(values, self.image_size)
            present = tf.cast(status == images.OK, tf.int32)
        else:
            if values.shape.rank != 4 or values.shape[-1] != 3:
                raise ValueError(
                    f"`{modality}` must have the shape (batch_size, height, width, 3). "
                    f"Received: {tuple(values.shape)}. Fix: convert grey images to RGB."
                )
            values = images.resize(values, self.image_size)
            present = tf.ones(tf.shape(values)[:1], tf.int32)
        return {modality: values, f"{modality}_present": present}, status

    def read_raw(self, values, modality):
        """Reads an array `(batch_size, height, width, 3)`, or a list of arrays of any sizes, paths or
        file bytes; `None`, `""` and `b""` mean absent.
        """
        return _read_images(values, modality)

    def has_value(self, values, modality):
        """Which rows are no empty file: bool array `(batch_size,)`."""
        if values.dtype != object:
            return np.ones(len(values), bool)
        return np.array([len(file) > 0 for file in values])

    def raw_spec(self, modality):
        """File bytes; empty ones mean absent."""
        return tf.TensorSpec((None,), tf.string, name=modality)

    def get_config(self):
        return {**super().get_config(), "image_size": self.image_size}


def _read_images(values, modality):
    if isinstance(values, (np.ndarray, tf.Tensor)) and values.dtype not in (object, tf.string):
        if np.ndim(values) != 4 or values.shape[-1] != 3:
            raise ValueError(
                f"`{modality}` must have the shape (batch_size, height, width, 3). "
                f"Received: {tuple(values.shape)}."
            )
        return np.asarray(values)
    values = list(values.numpy() if isinstance(values, tf.Tensor) else values)
    shapes = {value.shape if isinstance(value, np.ndarray) else None for value in values}
    if len(shapes) == 1 and None not in shapes:
        return _read_images(np.stack(values), modality)
    files = np.array(
        [_read_image(value, f"{modality}[{row}]") for row, value in enumerate(values)], object
    )
    for start in range(0, len(files), 64):
        status = images.read_statuses(tf.constant(files[start : start + 64])).numpy()
        for row in np.flatnonzero(status == images.UNREADABLE)[:1] + start:
            what = (
                repr(str(values[row])) if isinstance(values[row], (str, os.PathLike)) else "bytes"
            )
            raise ValueError(
                f"{modality}[{row}] ({what}) is no readable image. Fix: pass a whole JPEG, PNG or BMP "
                "file, or an empty value if there is no image."
            )
    return files


def _read_image(value, name):
    """Returns the file bytes of one image."""
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, (str, os.PathLike)):
        if not str(value):
            return b""
        try:
            with open(value, "rb") as file:
                return file.read() or b"\0"  # an empty file is unreadable, not absent
        except OSError as error:
            raise ValueError(f"{name} cannot be read: {error}. Fix: check the path.") from None
    value = np.asarray(value)
    if value.ndim != 3 or value.shape[-1] != 3:
        raise ValueError(f"{name} must have the shape (height, width, 3). Received: {value.shape}.")
    # PNG is lossless: arrays of different sizes then take the same path as files.
    return tf.io.encode_png(np.clip(np.round(value), 0, 255).astype(np.uint8)).numpy()


@keras.saving.register_keras_serializable(package="mmlearn")
class ImageEncoder(Encoder):
    """An image network whose feature maps or tokens become a sequence of region features.

    The grid is kept: attention to one pooled vector would be no attention, since a softmax over
    one key is always 1. Learned positions are added, so that attention can tell regions apart.

    Feature maps of several stages are projected to one size by a 1x1 convolution each, and follow
    one another in the sequence, each position of each stage with a learned position of its own.

    Args:
        model: `keras.Model` from images `(height, width, 3)` to a feature map
            `(grid_height, grid_width, dim)`, a list of such maps of several stages, or tokens
            `(length, dim)`. Any image network without its top will do.
        normalization: str or dict. What the network expects, made from RGB in [0, 255] inside the
            graph: `"caffe"` (ResNet), `"imagenet"` (EfficientNet), `"symmetric"` ([-1, 1], ViT),
            `"unit"` ([0, 1]), `"none"`, or `{"scale": ..., "offset": ...}`.
        grid: `(grid_height, grid_width)` of tokens; a feature map has its own.
        extra_tokens: int. Tokens before those of the grid, such as a class token. The network
            computes with them, but they are left out: they stand at no place in the image.
        spatial_attention: bool. Whether each feature map is gated position by position first, see
            `SpatialAttention`.
        pooled: bool. Whether the encoder gives one token, the mean over the grid, as the documents'
            data flow has it. Degenerate with attention, whose softmax over one key is always 1; it
            is there to be compared with.
        stage_dim: int. Size to which several stages are projected.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict with the one key `modality`: `(batch_size, height, width, 3)` in [0, 255].
        training: bool.

    Returns:
        features `(batch_size, length, dim)`, row by row, stage by stage, and a bool mask
        `(batch_size, length)`, all `True`.

    Example:

    >>> import keras
    >>> network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 8, 8)])
    >>> encoder = ImageEncoder(network, normalization="symmetric")
    >>> features, mask = encoder({"images": keras.ops.zeros((2, 32, 32, 3))})
    >>> tuple(features.shape), encoder.grid
    ((2, 16, 8), (4, 4))

    Reference:
        Lin et al., "Feature Pyramid Networks for Object Detection", 2017, section 3 (the lateral
        connections of several stages).
    """

    def __init__(
        self,
        model,
        normalization="none",
        grid=None,
        extra_tokens=0,
        spatial_attention=False,
        pooled=False,
        stage_dim=256,
        **kwargs,
    ):
        super().__init__(model, **kwargs)
        flatten_projections(model)
        self._normalize = normalizations.get(normalization)
        shapes = _output_shapes(model)
        self._takes_tokens = len(shapes[0]) == 3
        if self._takes_tokens:
            _check_tokens(shapes[0], grid, extra_tokens, spatial_attention)
            self._grids = (tuple(grid),)
        else:
            self._grids = tuple(shape[1:3] for shape in shapes)
            if grid is not None or extra_tokens:
                raise ValueError(
                    "`grid` and `extra_tokens` are of tokens, and `model` gives feature maps. "
                    f"Received: grid={grid}, extra_tokens={extra_tokens}."
                )
        if pooled and len(shapes) > 1:
            raise ValueError(
                f"`pooled` is of one feature map. Received: {len(shapes)} stages. Fix: leave one out."
            )

        # === Layers ===
        policy = self.dtype_policy
        self.gates = [
            SpatialAttention(dtype=policy, name=f"gate_{i}")
            for i in range(len(shapes) if spatial_attention else 0)
        ]
        self.laterals = [
            layers.Conv2D(stage_dim, 1, dtype=policy, name=f"lateral_{i}")
            for i in range(len(shapes) if len(shapes) > 1 else 0)
        ]

        # === Config ===
        self.normalization = normalization
        self.extra_tokens = extra_tokens
        self.spatial_attention = spatial_attention
        self.pooled = pooled
        self.stage_dim = stage_dim

    @property
    def grids(self):
        """`(grid_height, grid_width)` of each stage, in the order of the tokens; most have one."""
        return ((1, 1),) if self.pooled else self._grids

    @property
    def grid(self):
        """`(grid_height, grid_width)` of the finest stage."""
        return max(self.grids, key=math.prod)

    @property
    def length(self):
        """How many tokens the encoder gives."""
        return sum(map(math.prod, self.grids))

    @property
    def dim(self):
        """The size of each token."""
        return self.stage_dim if self.laterals else _output_shapes(self.model)[0][-1]

    def model_inputs(self, modality):
        """Returns `{name: keras.Input}` of the functional inputs of this encoder."""
        return {modality: keras.Input(self.model.input_shape[1:], name=modality)}

    def build(self, inputs_shape):
        shapes = _output_shapes(self.model)
        for parts in (self.gates, self.laterals):
            for layer, shape in zip(parts, shapes, strict=False):  # there may be none
                layer.build(shape)
        self.positions = None
        if not self.pooled:  # one token has no place among others
            self.positions = self.add_weight(
                shape=(1, self.length, self.dim),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                name="positions",
            )

    def call(self, inputs, training=None):
        (x,) = inputs.values()
        maps = self.model(self._normalize(x), training=self.learns(training))
        maps = list(maps) if isinstance(maps, (list, tuple)) else [maps]
        if self._takes_tokens:
            x = maps[0][:, self.extra_tokens :]
        else:
            if self.gates:
                maps = [gate(x) for gate, x in zip(self.gates, maps, strict=True)]
            if self.laterals:
                maps = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
            maps = [ops.reshape(x, (-1, math.prod(x.shape[1:3]), x.shape[3])) for x in maps]
            x = maps[0] if len(maps) == 1 else ops.concatenate(maps, axis=1)
        if self.pooled:
            x = ops.mean(x, axis=1, keepdims=True)
        else:
            x = x + ops.cast(self.positions, x.dtype)
        return x, ops.ones(ops.shape(x)[:2], "bool")

    def compute_output_spec(self, inputs, training=None):
        (x,) = inputs.values()
        return (
            keras.KerasTensor((x.shape[0], self.length, self.dim), self.compute_dtype),
            keras.KerasTensor((x.shape[0], self.length), "bool"),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "normalization": self.normalization,
            "grid": self._grids[0] if self._takes_tokens else None,
            "extra_tokens": self.extra_tokens,
            "spatial_attention": self.spatial_attention,
            "pooled": self.pooled,
            "stage_dim": self.stage_dim,
        }


def _output_shapes(model):
    """The shapes of what a network gives, checked: feature maps, or one sequence of tokens."""
    shapes = model.output_shape
    shapes = [shapes] if isinstance(shapes, tuple) else list(shapes)
    is_good = all(isinstance(shape, tuple) and None not in shape[1:] for shape in shapes)
    ranks = [len(shape) for shape in shapes] if is_good else []
    if ranks != [3] and set(ranks) != {4}:
        raise ValueError(
            "`model` must give a feature map (batch_size, grid_height, grid_width, dim) of known size, "
            "a list of such maps, or tokens (batch_size, length, dim). Received: an output of shape "
            f"{model.output_shape}. Fix: take the network without its pooling and classifier, with "
            "images of a fixed size."
        )
    return shapes


def _check_tokens(shape, grid, extra_tokens, spatial_attention):
    if grid is None or math.prod(grid) + extra_tokens != shape[1]:
        raise ValueError(
            f"`grid` must hold the {shape[1]} tokens of `model`, but for `extra_tokens` before them. "
            f"Received: grid={grid}, extra_tokens={extra_tokens}. Fix: pass "
            "grid=(grid_height, grid_width)."
        )
    if spatial_attention:
        raise ValueError(
            "`spatial_attention` is of feature maps, and `model` gives tokens. Fix: leave it out."
        )
