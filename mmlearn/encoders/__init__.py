"""Encoders and converters by modality.

`ENCODERS` maps modality and name to a function that builds the encoder. Importing this package
registers every class, so that a saved model can be loaded in a fresh process.
"""

import keras

from data_prep import names
from mmlearn.encoders.features import Features, FeaturesConverter
from mmlearn.encoders.images import ImageConverter, ImageEncoder, resnet50, resnet_tiny
from mmlearn.encoders.text import BERT_SIZES, TextConverter, TextEncoder, bert

__all__ = [
    "ENCODERS",
    "Features",
    "FeaturesConverter",
    "ImageConverter",
    "ImageEncoder",
    "TextConverter",
    "TextEncoder",
    "get",
]

ENCODERS = {
    "images": {"resnet50": resnet50, "resnet_tiny": resnet_tiny, "features": Features},
    "text": {**{name: bert(name) for name in BERT_SIZES}, "features": Features},
}


def get(modality, identifier, **options):
    """Returns an encoder: by name with options, from a config, or the instance itself.

    Args:
        modality: str. One of `ENCODERS`.
        identifier: str, dict or encoder.
        **options: of the function that builds the encoder, only with a name.

    Raises:
        ValueError: when the modality or name is unknown or an option does not fit.
    """
    if isinstance(identifier, dict):
        return keras.saving.deserialize_keras_object(identifier)
    if not isinstance(identifier, str):
        return identifier
    build = names.find(
        identifier, names.find(modality, ENCODERS, "modality"), f"{modality} encoder"
    )
    return names.call(build, options, f"encoder {identifier!r}")
