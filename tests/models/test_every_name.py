"""Every encoder and every fusion by name, from training to serving."""

import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalClassifier, MultimodalPreprocessor, encoders
from mmlearn.encoders.text_tokenizers import train_tokenizer_for
from mmlearn.fusions import FUSIONS
from tests import checks, toys

# Of each encoder, what makes it small enough to train a step in a test.
OPTIONS = {
    "images": {"image_size": 32, "weights": "none"},
    "text": {"sequence_length": toys.SEQUENCE_LENGTH, "weights": "none"},
    "audio": {"num_samples": toys.NUM_SAMPLES},
    "series": {"length": toys.SERIES_SHAPE[0], "num_channels": toys.SERIES_SHAPE[1]},
    "table": {"num_numbers": 2, "num_categories": [3]},
}
# One of each kind is in the large tier; the others with --run-full.
LARGE = {
    "fusions": ("cross_attention", "merged_attention"),
    "images": ("cnn",),
    "text": (),
    "audio": ("conv",),
    "series": (),
    "table": ("ft_transformer",),
}


def served_examples(count=4):
    """Raw examples as an exported model takes them."""
    x, y = toys.examples(count)
    images = [tf.io.encode_png(image).numpy() for image in x["images"]]
    return {**x, "images": images, **toys.signals(count)}, y


def _tier(kind, name):
    return pytest.mark.large if name in LARGE[kind] else pytest.mark.full


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=_tier("fusions", name)) for name in FUSIONS]
)
def test_every_fusion_trains_and_serves(name, tmp_path):
    classifier = toys.classifier(fusion=name)
    x, y = served_examples()
    checks.check_task(classifier, {m: x[m] for m in ("images", "text")}, y, tmp_path)


def _names():
    for modality, known in encoders.ENCODERS.items():
        for name in known:
            if name != "features":  # has no raw form
                yield pytest.param(
                    modality, name, marks=_tier(modality, name), id=f"{modality}-{name}"
                )


def encoder_and_converter(modality, name):
    """The encoder of that name with random weights, and a converter for it."""
    if modality != "text":
        converter = toys.preprocessor((modality,)).converters[modality]
        return encoders.get(modality, name, **OPTIONS[modality]), converter
    tokenizer = train_tokenizer_for(name, [" ".join(toys.WORDS)], 300)
    size = tokenizer.vocabulary_size()
    encoder = encoders.get(modality, name, vocabulary_size=size, **OPTIONS[modality])
    has_segments = "segment_ids" in encoder.model_inputs(modality)
    converter = encoders.TextConverter(tokenizer, toys.SEQUENCE_LENGTH, segment_ids=has_segments)
    return encoder, converter


@pytest.mark.parametrize(("modality", "name"), [*_names()])
def test_every_encoder_trains_and_serves(modality, name, tmp_path):
    other = {"images": "text"}.get(modality, "images")
    encoder, converter = encoder_and_converter(modality, name)
    converters = {**toys.preprocessor((other,)).converters, modality: converter}
    classifier = MultimodalClassifier(
        MultimodalBackbone(
            {modality: encoder, other: toys.encoder(other)},
            toys.get_fusion("cross_attention"),
            hidden_dim=16,
        ),
        toys.NUM_CLASSES,
        preprocessor=MultimodalPreprocessor(converters),
    )
    x, y = served_examples()
    checks.check_task(classifier, {m: x[m] for m in (modality, other)}, np.asarray(y), tmp_path)
