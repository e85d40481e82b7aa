"""Image encoders from KerasHub, by the name of a preset, and from `.keras` files."""

import math
import os

import keras
import keras_hub
import numpy as np

from data_prep.names import parameters
from mmlearn.encoders.encoder import first_line
from mmlearn.encoders.image_networks import check_weights_file
from mmlearn.encoders.images import ImageEncoder
from mmlearn.encoders.untrusted import check_untrusted

VIT_BASE = "vit_base_patch16_224_imagenet"

# Backbones from one image to a feature map or tokens; those of detectors and segmenters give more.
_BACKBONES = (
    keras_hub.models.CSPNetBackbone,
    keras_hub.models.DINOV2Backbone,
    keras_hub.models.DINOV3Backbone,
    keras_hub.models.DeiTBackbone,
    keras_hub.models.DenseNetBackbone,
    keras_hub.models.EfficientNetBackbone,
    keras_hub.models.MiTBackbone,
    keras_hub.models.MobileNetBackbone,
    keras_hub.models.ResNetBackbone,
    keras_hub.models.SwinTransformerBackbone,
    keras_hub.models.VGGBackbone,
    keras_hub.models.ViTBackbone,
    keras_hub.models.XceptionBackbone,
)


def vit_base(image_size=224, weights="default", pooled=False):
    """KerasHub's ViT-Base: patches of 16 px, 12 layers of 768 units, a 14x14 grid at 224 px.

    Its class token takes part in attention, as it was trained, but is left out of the features:
    it stands at no place in the image, and `grid` would not hold it.

    Args:
        image_size: int. Side in pixels, a multiple of 16; 224 for the published weights.
        weights: `"default"` (ImageNet, downloaded by KerasHub), `"none"` (random), a preset
            directory, or a `.weights.h5` file.
        pooled: bool. See `ImageEncoder`.

    Returns:
        An `ImageEncoder`.

    Raises:
        ValueError: when the weights cannot be had or are for another size.

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021.
    """
    if image_size < 16 or image_size % 16:
        raise ValueError(
            f"`vit_base` needs images of a multiple of 16 px. Received: {image_size}. Fix: "
            "--model.images.image-size 224."
        )
    if weights == "default" and image_size != 224:
        raise ValueError(
            f"The weights of vit_base know the positions of 224 px. Received: {image_size}. Fix: "
            "--model.images.image-size 224, or --model.images.weights none, or --model.images.name "
            "vit_base_patch16_384_imagenet with 384 px."
        )
    if weights == "default" or os.path.isdir(weights):
        source = VIT_BASE if weights == "default" else weights
        model, _ = _from_preset(keras_hub.models.ViTBackbone, source, image_size)
    else:
        if weights != "none":
            check_weights_file(weights)
        model = keras_hub.models.ViTBackbone(
            image_shape=(image_size, image_size, 3),
            patch_size=16,
            num_layers=12,
            num_heads=12,
            hidden_dim=768,
            mlp_dim=3072,
            name="vit_base",
        )
        if weights != "none":
            model.load_weights(weights)
    return _make_encoder(model, "symmetric", False, pooled)


def preset(name, cls):
    """Returns the function that builds the image encoder of a KerasHub preset.

    Args:
        name: str. One of `PRESETS`.
        cls: its backbone class.
    """

    def build(image_size=224, weights="default", spatial_attention=False, pooled=False):
        source = name if weights in ("default", "none") else weights
        is_known = source in cls.presets or os.path.isfile(os.path.join(source, "config.json"))
        if not is_known:
            raise ValueError(
                f"{weights!r} is neither a preset directory with a config.json, nor a KerasHub preset for "
                f"the network of {name!r}. Fix: pass one of them, or default."
            )
        model, normalization = _from_preset(cls, source, image_size, weights != "none")
        return _make_encoder(model, normalization, spatial_attention, pooled)

    build.__doc__ = f"""Builds the image encoder of the KerasHub preset {name}.

    What the network expects of an image is taken from the preset.

    Args:
        image_size: int. Side in pixels.
        weights: `"default"` (downloaded by KerasHub), `"none"` (random, but its config is
            downloaded), or a preset directory.
        spatial_attention: bool. See `ImageEncoder`.
        pooled: bool. See `ImageEncoder`.

    Returns:
        An `ImageEncoder`.

    Raises:
        ValueError: when the preset cannot be had, or the weights are something else.
    """
    return build


# Beside `ENCODERS`: every image preset of KerasHub, by its name.
PRESETS = {name: preset(name, cls) for cls in _BACKBONES for name in cls.presets}


def find(identifier):
    """Returns the function that builds the encoder of a preset or a `.keras` file, or `None`.

    Args:
        identifier: str. A name or a path.
    """
    if identifier.endswith(".keras"):
        return keras_file(identifier)
    return PRESETS.get(identifier)


def keras_file(path):
    """Returns the function that builds the image encoder of a model in a `.keras` file.

    Args:
        path: str.
    """

    def build(
        image_size=224,
        weights="default",
        normalization="none",
        grid=None,
        extra_tokens=0,
        spatial_attention=False,
        pooled=False,
    ):
        """Builds it.

        Args:
            image_size: int. Side in pixels.
            weights: `"default"`, those of the file.
            normalization: str. See `ImageEncoder`; `"none"` for a model that does it itself.
            grid: list of two int, of a model that gives tokens.
            extra_tokens: int. Tokens before those of the grid.
            spatial_attention: bool. See `ImageEncoder`.
            pooled: bool. See `ImageEncoder`.
        """
        if weights != "default":
            raise ValueError(
                f"The weights of {path!r} are in that file. Received: weights={weights!r}. Fix: "
                "leave --model.images.weights out."
            )
        return ImageEncoder(
            _sized(_fix_statistics(_load_model(path)), path, image_size),
            normalization=normalization,
            grid=grid,
            extra_tokens=extra_tokens,
            spatial_attention=spatial_attention,
            pooled=pooled,
            name="images_encoder",
        )

    return build


def _load_model(path):
    check_untrusted(path)
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # a broken archive, a class that is not registered, ...
        raise ValueError(
            f"Cannot load the model {path!r} ({first_line(error)}). Fix: pass a file that "
            "`model.save` has written, of layers of Keras or registered ones."
        ) from error


def _sized(model, what, image_size):
    """The network for square images of one size, which its grid depends on."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 3:
        raise ValueError(
            f"{what!r} must take one batch of images (batch_size, height, width, 3). Received: an "
            f"input of shape {shape}. Fix: another model."
        )
    if shape[1:3] == (image_size, image_size):
        return model
    if shape[1:3] != (None, None):
        raise ValueError(
            f"{what!r} takes images of {shape[1]}x{shape[2]} px. Received: image_size={image_size}. "
            f"Fix: --model.images.image-size {shape[1]}, for square ones."
        )
    inputs = keras.Input((image_size, image_size, 3))
    return keras.Model(inputs, model(inputs), name=model.name)


def _fix_statistics(model):
    """Makes the statistics of adapted `Normalization` layers part of their config.

    Keras computes with a copy that it makes when they are loaded from a file, not with the weights,
    so that a model to which all weights were copied would normalise with mean 0 and variance 1.
    """
    if not any(isinstance(layer, keras.layers.Normalization) for layer in model._flatten_layers()):
        return model

    def copy(layer):
        if isinstance(layer, keras.Model):
            return _fix_statistics(layer)
        config = layer.get_config()
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            mean, variance = np.array(layer.adapt_mean), np.array(layer.adapt_variance)
            config.update({"mean": mean.tolist(), "variance": variance.tolist()})
        elif layer.weights:
            copied.append(layer)
        return type(layer).from_config(config)

    copied = []
    fixed = keras.models.clone_model(model, clone_function=copy)
    for layer in copied:
        fixed.get_layer(layer.name).set_weights(layer.get_weights())
    return fixed


def _from_preset(cls, source, image_size, load_weights=True):
    """Loads a backbone for images of one size, and what it expects of them."""
    takes_size = "image_shape" in parameters(cls)
    shape = {"image_shape": (image_size, image_size, 3)} if takes_size else {}
    check_untrusted(source)
    try:
        model = cls.from_preset(source, load_weights=load_weights, **shape)
        converter = keras_hub.layers.ImageConverter.from_preset(source)
    except Exception as error:  # each hub client raises its own kind
        raise ValueError(
            f"Cannot get {source!r} for images of {image_size} px ({first_line(error)}). Fix: go "
            "online once, or pass --model.images.weights PRESET_DIR (a local copy), and the "
            "--model.images.image-size that it was made for."
        ) from error
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    normalization = {"scale": _numbers(scale), "offset": _numbers(offset)}
    return _sized(model, source, image_size), normalization


def _numbers(values):
    """A number or a list of them, as JSON has them."""
    return np.asarray(values, float).tolist()


def _make_encoder(model, normalization, spatial_attention, pooled):
    """Makes an encoder of a KerasHub backbone, whose tokens, if any, end with those of a grid."""
    grid, extra_tokens = None, 0
    if len(model.output_shape) == 3:
        length = model.output_shape[1]
        patch_size = np.max(getattr(model, "patch_size", 1))
        side = model.input_shape[1] // int(patch_size)
        if side**2 > length:  # of networks that merge patches on the way, such as Swin
            side = math.isqrt(length)
        grid, extra_tokens = (side, side), length - side**2
    return ImageEncoder(
        model,
        normalization=normalization,
        grid=grid,
        extra_tokens=extra_tokens,
        spatial_attention=spatial_attention,
        pooled=pooled,
        name="images_encoder",
    )
