"""The image encoders by name: networks, their weights, and what they expect of an image."""

import os

import keras
from keras import layers

from mmlearn.encoders.batch_norm import FusedBatchNormalization, fuse_batch_norm
from mmlearn.encoders.encoder import first_line
from mmlearn.encoders.images import ImageEncoder
from mmlearn.encoders.untrusted import check_untrusted

# Layers at which stages 2 to 5 end, at a quarter to a 32nd of the image's side (C2 to C5 of Lin et
# al., 2017).
RESNET_STAGES = {
    "resnet50": {n: f"conv{n}_block{count}_out" for n, count in ((2, 3), (3, 4), (4, 6), (5, 3))},
    "resnet101": {n: f"conv{n}_block{count}_out" for n, count in ((2, 3), (3, 4), (4, 23), (5, 3))},
    "resnet_tiny": {3: "stack0_block0_out", 4: "stack1_block0_out"},
}

# name: side in pixels of the images that it was scaled for (Tan and Le, 2019).
EFFICIENTNET_SIZES = {
    "efficientnet_b0": 224,
    "efficientnet_b1": 240,
    "efficientnet_b2": 260,
    "efficientnet_b3": 300,
    "efficientnet_b4": 380,
    "efficientnet_b5": 456,
    "efficientnet_b6": 528,
    "efficientnet_b7": 600,
}


def resnet(name):
    """Returns the function that builds the ResNet of that name.

    Args:
        name: str. `"resnet50"` or `"resnet101"`.
    """

    def build(
        image_size=224, weights="default", stages=None, spatial_attention=False, pooled=False
    ):
        model = _load_application(name, name.replace("resnet", "ResNet"), image_size, weights)
        return ImageEncoder(
            fuse_batch_norm(_with_stages(model, name, stages)),
            normalization="caffe",
            spatial_attention=spatial_attention,
            pooled=pooled,
            name="images_encoder",
        )

    build.__doc__ = f"""Builds `keras.applications` {name} without its top: a 7x7x2048 grid at 224 px.

    Args:
        image_size: int. Side in pixels, at least 32.
        weights: `"default"` (ImageNet, downloaded by Keras), `"none"` (random), or the path of an
            `.h5` file without top.
        stages: list of int, such as `[4, 5]`: the stages whose feature maps are the regions, by
            default the last one alone.
        spatial_attention: bool. See `ImageEncoder`.
        pooled: bool. See `ImageEncoder`.

    Returns:
        An `ImageEncoder`.

    Raises:
        ValueError: when the weights cannot be had.
    """
    return build


def efficientnet(name):
    """Returns the function that builds the EfficientNet of that name.

    Args:
        name: str. One of `EFFICIENTNET_SIZES`.
    """

    def build(
        image_size=EFFICIENTNET_SIZES[name],
        weights="default",
        spatial_attention=False,
        pooled=False,
    ):
        function = f"EfficientNet{name[-2:].upper()}"
        model = _load_application(name, function, image_size, weights)
        # Keras' network rescales images itself, but with statistics that it keeps outside of the
        # weights that are copied, in one layer more or less depending on where the weights are
        # from. What follows these layers is taken, and the same is done before it in each case.
        # The published statistics are ImageNet's, see keras.applications.efficientnet.
        model = keras.Model(model.get_layer("stem_conv_pad").input, model.output, name=name)
        return ImageEncoder(
            fuse_batch_norm(model),
            normalization="imagenet",
            spatial_attention=spatial_attention,
            pooled=pooled,
            name="images_encoder",
        )

    build.__doc__ = f"""Builds `keras.applications` {name} without its top: stride 32.

    It was scaled for images of {EFFICIENTNET_SIZES[name]} px. Activations are swish, which batch
    normalisation in one kernel leaves as they are.

    Args:
        image_size: int. Side in pixels, at least 32.
        weights: `"default"` (ImageNet, downloaded by Keras), `"none"` (random), or the path of an
            `.h5` file without top.
        spatial_attention: bool. See `ImageEncoder`.
        pooled: bool. See `ImageEncoder`.

    Returns:
        An `ImageEncoder`.

    Raises:
        ValueError: when the weights cannot be had.
    """
    return build


def resnet_tiny(
    image_size=96,
    weights="default",
    stages=None,
    spatial_attention=False,
    pooled=False,
    local=False,
    filters=32,
):
    """A small residual network for CPUs and tests: stride 16, 128 channels, 0.3 M parameters.

    Each region of its last stage has seen 79 pixels across, nearly all of a small image, so that which
    region attention picks says little about where something is. With `local`, it has seen 44, and itself
    is in their middle (steps of two are made by kernels of even size).

    Args:
        image_size: int. Side in pixels, at least 16.
        weights: `"default"` or `"none"` (random: there are no published ones), or the path of a
            `.weights.h5` file.
        stages: list of int, `[3, 4]` or one of them: the stages whose feature maps are the regions,
            by default the last one alone.
        spatial_attention: bool. See `ImageEncoder`.
        pooled: bool. See `ImageEncoder`.
        local: bool. Whether regions see little beyond themselves.
        filters: int. Of the first convolution; the two stages have two and four times as many.

    Returns:
        An `ImageEncoder`.

    Reference:
        Brendel and Bethge, "Approximating CNNs with bag-of-local-features models works surprisingly
        well on ImageNet", 2019, section 3 (1x1 kernels keep features local).
    """
    _check_size("resnet_tiny", image_size, 16)

    def convolve(x, filters, name, strides=1, kernel_size=3):
        options = {"padding": "same", "use_bias": False, "name": f"{name}_conv"}
        x = layers.Conv2D(filters, kernel_size, strides, **options)(x)
        return FusedBatchNormalization(name=f"{name}_bn")(x)

    # An odd kernel at an even stride looks half a step to the right and down of its output's place.
    stem, sizes = (8, ((4, 3), (2, 1))) if local else (7, ((3, 3), (3, 3)))
    inputs = keras.Input((image_size, image_size, 3))
    # Stride 4 at once: on a CPU, half of the time would go into the first, largest maps.
    x = layers.ReLU()(convolve(inputs, filters, "stem", strides=4, kernel_size=stem))
    for number, (first, second) in enumerate(sizes):
        filters *= 2
        block = f"stack{number}_block0"  # as KerasHub names them
        if local:
            mean = layers.AveragePooling2D(2, padding="same")(x)
            shortcut = convolve(mean, filters, f"{block}_0", kernel_size=1)
        else:
            shortcut = convolve(x, filters, f"{block}_0", strides=2, kernel_size=1)
        x = layers.ReLU()(convolve(x, filters, f"{block}_1", strides=2, kernel_size=first))
        x = layers.Add()([convolve(x, filters, f"{block}_2", kernel_size=second), shortcut])
        x = layers.ReLU(name=f"{block}_out")(x)
    model = keras.Model(inputs, x, name="resnet_tiny")
    _load_own(model, weights)
    return ImageEncoder(
        _with_stages(model, "resnet_tiny", stages),
        normalization="symmetric",
        spatial_attention=spatial_attention,
        pooled=pooled,
        name="images_encoder",
    )


def cnn(image_size=128, weights="default", flatten=False, spatial_attention=False, pooled=False):
    """The network of the student report: three 3x3 convolutions, each followed by pooling.

    32, 64 and 128 filters, no padding: a 14x14x128 grid at 128 px, 93 thousand parameters.

    Args:
        image_size: int. Side in pixels, at least 22.
        weights: `"default"` or `"none"` (random: there are no published ones), or the path of a
            `.weights.h5` file.
        flatten: bool. Whether the report's dense layer of 512 units over the whole feature map and
            its dropout of 0.2 follow: 12.8 M parameters more, and one token instead of the grid.
        spatial_attention: bool. See `ImageEncoder`.
        pooled: bool. See `ImageEncoder`.

    Returns:
        An `ImageEncoder`.
    """
    _check_size("cnn", image_size, 22)
    inputs = x = keras.Input((image_size, image_size, 3))
    for number, filters in enumerate((32, 64, 128), start=1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"block{number}_conv")(x)
        x = layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
    if flatten:
        # A convolution as large as the map is the dense layer over the flattened map.
        x = layers.Conv2D(512, x.shape[1:3], activation="relu", name="block4_dense")(x)
        x = layers.Dropout(0.2, name="block4_dropout")(x)
    model = keras.Model(inputs, x, name="cnn")
    _load_own(model, weights)
    return ImageEncoder(
        model,
        normalization="unit",
        spatial_attention=spatial_attention,
        pooled=pooled,
        name="images_encoder",
    )


def patches(image_size=224, weights="default", patch_size=16, dim=768):
    """Square patches, each projected linearly, with positions: the input of a vision transformer.

    There is nothing behind the embedding, so it is for fusions that are transformers themselves.

    Args:
        image_size: int. Side in pixels, a multiple of `patch_size`.
        weights: `"default"` or `"none"` (random: there are no published ones), or the path of a
            `.weights.h5` file.
        patch_size: int. Side of a patch in pixels.
        dim: int. Size to which each patch is projected.

    Returns:
        An `ImageEncoder`.

    Raises:
        ValueError: when the image is not made of whole patches.

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, equation 1, without the class
        token.
    """
    if patch_size < 1 or image_size % patch_size:
        raise ValueError(
            "`image_size` must be a multiple of `patch_size`. "
            f"Received: image_size={image_size}, patch_size={patch_size}."
        )
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Conv2D(dim, patch_size, patch_size, name="block1_projection")(inputs)
    model = keras.Model(inputs, x, name="patches")
    _load_own(model, weights)
    return ImageEncoder(model, normalization="symmetric", name="images_encoder")


def check_weights_file(path):
    """Raises a `ValueError` when a file of weights is not there, or leads elsewhere."""
    if not os.path.isfile(path):
        raise ValueError(
            f"There is no weights file {str(path)!r}. Fix: pass an existing .h5 file, or none."
        )
    check_untrusted(path)


def _load_application(name, function, image_size, weights):
    """Builds a network of `keras.applications` without its top."""
    _check_size(name, image_size, 32)
    source = {"default": "imagenet", "none": None}.get(weights, weights)
    if weights not in ("default", "none"):
        check_weights_file(weights)
    try:
        return getattr(keras.applications, function)(
            include_top=False, weights=source, input_shape=(image_size, image_size, 3), name=name
        )
    except Exception as error:  # Keras raises bare Exceptions for downloads
        file = f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
        if name.startswith("efficientnet"):
            file = f"{name.replace('_', '')}_notop.h5"
        raise ValueError(
            f"Cannot get the weights {weights!r} of {name} ({first_line(error)}). Fix: go "
            f"online once, or pass --model.images.weights FILE.h5 (a local copy of {file}) or "
            "--model.images.weights none."
        ) from error


def _load_own(model, weights):
    """Loads the weights of a network that has no published ones, if there is a file."""
    if weights not in ("default", "none"):
        check_weights_file(weights)
        model.load_weights(weights)


def _with_stages(model, name, stages):
    """The network with the feature maps of some stages as its outputs."""
    if stages is None:
        return model
    known = RESNET_STAGES[name]
    is_list = isinstance(stages, (list, tuple)) and len(stages) > 0
    if not is_list or len(set(stages)) < len(stages) or set(stages) - set(known):
        raise ValueError(
            f"`stages` of {name} must be a list of different ones of {sorted(known)}, such as "
            f"stages={sorted(known)[-2:]}. Received: stages={stages!r}."
        )
    maps = [model.get_layer(known[stage]).output for stage in stages]
    return keras.Model(model.input, maps if len(maps) > 1 else maps[0], name=name)


def _check_size(name, image_size, least):
    if image_size < least:
        raise ValueError(
            f"`{name}` needs images of {least} px or more. Received: {image_size}. Fix: "
            f"--model.images.image-size {least}."
        )
