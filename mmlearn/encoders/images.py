"""Images: the converter from files and arrays, and the encoders that give grid features."""

import os

import keras
import tensorflow as tf
from keras import layers, ops

from data_prep import images, names
from mmlearn.encoders.batch_norm import FusedBatchNormalization, fuse_batch_norm
from mmlearn.encoders.encoder import Encoder, first_line


@keras.saving.register_keras_serializable(package="mmlearn")
class ImageConverter(keras.layers.Layer):
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
        self.built = True  # no weights

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
            values: string tensor `(batch_size,)` of file bytes, where empty or unreadable ones
                count as absent; or numbers `(batch_size, height, width, 3)` in [0, 255]; or `None`.
            modality: str. Prefix of the names of the model inputs.
            batch_size: scalar int tensor. Needed when `values` is `None`.

        Returns:
            A dict of model inputs.
        """
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
        return {modality: values, f"{modality}_present": present}

    def get_config(self):
        return {**super().get_config(), "image_size": self.image_size}


def _caffe(x):
    """BGR minus the ImageNet means, as the published ResNet50 weights expect."""
    return ops.flip(x, axis=-1) - ops.cast(ops.array([103.939, 116.779, 123.68]), x.dtype)


def _symmetric(x):
    return x / 127.5 - 1.0


def _identity(x):
    return x


NORMALIZATIONS = {"caffe": _caffe, "symmetric": _symmetric, "none": _identity}


@keras.saving.register_keras_serializable(package="mmlearn")
class ImageEncoder(Encoder):
    """A convolutional network whose last feature map becomes a sequence of region features.

    The grid is kept: attention to one pooled vector would be no attention, since a softmax over
    one key is always 1. Learned positions are added, so that attention can tell regions apart.

    Args:
        model: `keras.Model` from images `(height, width, 3)` to a feature map
            `(grid_height, grid_width, dim)`. Any image network without its top will do.
        normalization: str. What the network expects, made from RGB in [0, 255] inside the graph:
            `"caffe"` (ResNet50), `"symmetric"` ([-1, 1]) or `"none"`.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: dict with the one key `modality`: `(batch_size, height, width, 3)` in [0, 255].
        training: bool.

    Returns:
        features `(batch_size, grid_height * grid_width, dim)`, row by row, and a bool mask
        `(batch_size, grid_height * grid_width)`, all `True`.

    Example:

    >>> import keras
    >>> network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 8, 8)])
    >>> encoder = ImageEncoder(network, normalization="symmetric")
    >>> features, mask = encoder({"images": keras.ops.zeros((2, 32, 32, 3))})
    >>> tuple(features.shape), encoder.grid
    ((2, 16, 8), (4, 4))
    """

    def __init__(self, model, normalization="none", **kwargs):
        super().__init__(model, **kwargs)
        self.normalization = normalization
        self._normalize = names.find(normalization, NORMALIZATIONS, "normalization")
        if len(model.output_shape) != 4:
            raise ValueError(
                "`model` must give a feature map (batch_size, grid_height, grid_width, dim). "
                f"Received: an output of shape {model.output_shape}. Fix: take the network "
                "without its pooling and classifier."
            )

    @property
    def grid(self):
        """`(grid_height, grid_width)` of the feature map."""
        return tuple(self.model.output_shape[1:3])

    def model_inputs(self, modality):
        """Returns `{name: keras.Input}` of the functional inputs of this encoder."""
        return {modality: keras.Input(self.model.input_shape[1:], name=modality)}

    def build(self, inputs_shape):
        height, width, dim = self.model.output_shape[1:]
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.positions = self.add_weight(
            shape=(1, height * width, dim), initializer=initializer, name="positions"
        )

    def call(self, inputs, training=None):
        (x,) = inputs.values()
        x = self.model(self._normalize(x), training=self.learns(training))
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
        x = x + ops.cast(self.positions, x.dtype)
        return x, ops.ones(ops.shape(x)[:2], "bool")

    def compute_output_spec(self, inputs, training=None):
        (x,) = inputs.values()
        height, width, dim = self.model.output_shape[1:]
        return (
            keras.KerasTensor((x.shape[0], height * width, dim), self.compute_dtype),
            keras.KerasTensor((x.shape[0], height * width), "bool"),
        )

    def get_config(self):
        return {**super().get_config(), "normalization": self.normalization}


def resnet50(image_size=224, weights="default"):
    """`keras.applications.ResNet50` without its top: a 7x7x2048 grid at 224 px.

    Args:
        image_size: int. Side in pixels, at least 32.
        weights: `"default"` (ImageNet, downloaded by Keras), `"none"` (random), or the path of an
            `.h5` file without top.

    Returns:
        An `ImageEncoder`.

    Raises:
        ValueError: when the weights cannot be had.
    """
    if image_size < 32:
        raise ValueError(f"ResNet50 needs images of 32 px or more. Received: {image_size}.")
    source = {"default": "imagenet", "none": None}.get(weights, weights)
    if weights not in ("default", "none"):
        check_weights_file(weights)
    try:
        model = keras.applications.ResNet50(
            include_top=False, weights=source, input_shape=(image_size, image_size, 3)
        )
    except Exception as error:  # Keras raises bare Exceptions for downloads
        raise ValueError(
            f"Cannot get the weights {weights!r} of resnet50 ({first_line(error)}). Fix: go "
            "online once, or pass --model.images.weights FILE.h5 (a local copy of "
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5) or --model.images.weights none."
        ) from error
    return ImageEncoder(fuse_batch_norm(model), normalization="caffe", name="images_encoder")


def resnet_tiny(image_size=96, weights="default"):
    """A small residual network for CPUs and tests: stride 16, 128 channels, 0.3 M parameters.

    Args:
        image_size: int. Side in pixels, at least 16.
        weights: `"default"` or `"none"` (random: there are no published ones), or the path of a
            `.weights.h5` file.

    Returns:
        An `ImageEncoder`.
    """
    if image_size < 16:
        raise ValueError(f"`resnet_tiny` needs images of 16 px or more. Received: {image_size}.")

    def convolve(x, filters, name, strides=1, kernel_size=3):
        options = {"padding": "same", "use_bias": False, "name": f"{name}_conv"}
        x = layers.Conv2D(filters, kernel_size, strides, **options)(x)
        return FusedBatchNormalization(name=f"{name}_bn")(x)

    inputs = keras.Input((image_size, image_size, 3))
    # Stride 4 at once: on a CPU, half of the time would go into the first, largest maps.
    x = layers.ReLU()(convolve(inputs, 32, "stem", strides=4, kernel_size=7))
    for number, filters in enumerate((64, 128)):
        block = f"stack{number}_block0"  # as KerasHub names them
        shortcut = convolve(x, filters, f"{block}_0", strides=2, kernel_size=1)
        x = layers.ReLU()(convolve(x, filters, f"{block}_1", strides=2))
        x = layers.ReLU()(layers.Add()([convolve(x, filters, f"{block}_2"), shortcut]))
    model = keras.Model(inputs, x, name="resnet_tiny")
    if weights not in ("default", "none"):
        check_weights_file(weights)
        model.load_weights(weights)
    return ImageEncoder(model, normalization="symmetric", name="images_encoder")


def check_weights_file(path):
    """Raises a `ValueError` when a file of weights is not there."""
    if not os.path.isfile(path):
        raise ValueError(
            f"There is no weights file {str(path)!r}. Fix: pass an existing .h5 file, or none."
        )
