"""What image networks expect, made from RGB in [0, 255] inside the graph."""

from keras import ops

from data_prep import names


def _caffe(x):
    """BGR minus the ImageNet means, as the published ResNet weights expect."""
    return ops.flip(x, axis=-1) - ops.cast(ops.array([103.939, 116.779, 123.68]), x.dtype)


def _symmetric(x):
    return x / 127.5 - 1.0


def _imagenet(x):
    """[0, 1], then minus the means and divided by the standard deviations of ImageNet's channels."""
    mean, deviation = ops.array([0.485, 0.456, 0.406]), ops.array([0.229, 0.224, 0.225])
    return (x / 255.0 - ops.cast(mean, x.dtype)) / ops.cast(deviation, x.dtype)


def _unit(x):
    return x / 255.0


def _identity(x):
    return x


NORMALIZATIONS = {
    "caffe": _caffe,
    "imagenet": _imagenet,
    "symmetric": _symmetric,
    "unit": _unit,
    "none": _identity,
}


def get(identifier):
    """Returns a function of images.

    Args:
        identifier: str, one of `NORMALIZATIONS`; or a dict of `scale` and `offset`, each a number or
            one per channel, as the image converters of KerasHub have them.

    Raises:
        ValueError: when it is unknown.
    """
    if not isinstance(identifier, dict):
        return names.find(identifier, NORMALIZATIONS, "normalization")
    if set(identifier) != {"scale", "offset"}:
        raise ValueError(
            "`normalization` must be a name or a dict of `scale` and `offset`. "
            f"Received: {identifier}."
        )

    def normalize(x):
        scale, offset = (
            ops.cast(ops.array(identifier[key]), x.dtype) for key in ("scale", "offset")
        )
        return x * scale + offset

    return normalize
