"""Encoders and converters by modality.

`ENCODERS` maps modality and name to a function that builds the encoder. Importing this package
registers every class, so that a saved model can be loaded in a fresh process. Images are also encoded
by any image preset of KerasHub and by a model in a `.keras` file.
"""

import keras

from data_prep import names
from mmlearn.encoders import audio, image_presets, series, table, text_tokenizers
from mmlearn.encoders.audio import AudioConverter, AudioEncoder
from mmlearn.encoders.features import Features, FeaturesConverter
from mmlearn.encoders.image_networks import (
    EFFICIENTNET_SIZES,
    cnn,
    efficientnet,
    patches,
    resnet,
    resnet_tiny,
)
from mmlearn.encoders.images import ImageConverter, ImageEncoder
from mmlearn.encoders.narrow_transformer import NarrowTransformerEncoder
from mmlearn.encoders.series import SeriesConverter, SeriesEncoder
from mmlearn.encoders.table import TableConverter, TableEncoder
from mmlearn.encoders.text import TextConverter, TextEncoder
from mmlearn.encoders.text_networks import NETWORKS, lstm, network, weighted_words, words

__all__ = [
    "ENCODERS",
    "AudioConverter",
    "AudioEncoder",
    "Features",
    "FeaturesConverter",
    "ImageConverter",
    "ImageEncoder",
    "NarrowTransformerEncoder",
    "SeriesConverter",
    "SeriesEncoder",
    "TableConverter",
    "TableEncoder",
    "TextConverter",
    "TextEncoder",
    "get",
    "text_tokenizers",
]

ENCODERS = {
    "images": {
        "resnet50": resnet("resnet50"),
        "resnet101": resnet("resnet101"),
        "resnet_tiny": resnet_tiny,
        **{name: efficientnet(name) for name in EFFICIENTNET_SIZES},
        "vit_base": image_presets.vit_base,
        "cnn": cnn,
        "patches": patches,
        "features": Features,
    },
    "text": {
        **{name: network(name) for name in NETWORKS},
        "lstm": lstm,
        "words": words,
        "weighted_words": weighted_words,
        "features": Features,
    },
    "audio": {"conv": audio.conv, "gru": audio.gru, "features": Features},
    "series": {
        **{cell: series.recurrent(cell) for cell in ("lstm", "gru")},
        "transformer": series.transformer,
        "features": Features,
    },
    "table": {
        "feature_tokens": table.feature_tokens,
        "ft_transformer": table.ft_transformer,
        "mlp": table.mlp,
        "features": Features,
    },
}


def get(modality, identifier, **options):
    """Returns an encoder: by name with options, from a config, or the instance itself.

    Args:
        modality: str. One of `ENCODERS`.
        identifier: str, dict or encoder. Of images, the string may also be the name of a KerasHub
            preset or the path of a `.keras` file.
        **options: of the function that builds the encoder, only with a name.

    Raises:
        ValueError: when the modality or name is unknown or an option does not fit.
    """
    if isinstance(identifier, dict):
        return keras.saving.deserialize_keras_object(identifier)
    if not isinstance(identifier, str):
        return identifier
    known = names.find(modality, ENCODERS, "modality")
    build = None
    if modality == "images" and identifier not in known:
        build, known = image_presets.find(identifier), {**known, **image_presets.PRESETS}
    build = build or names.find(identifier, known, f"{modality} encoder")
    return names.call(build, options, f"encoder {identifier!r}")
