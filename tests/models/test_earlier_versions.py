"""What version 0.1.0 saved in its first form is read by later ones."""

import json

import keras
import numpy as np

from mmlearn import MultimodalClassifier
from tests import toys

# The keys of each class's config then, beside those of every Keras layer.
KEYS = {
    "MultimodalBackbone": {"encoders", "fusion", "hidden_dim", "dropout", "modality_dropout"},
    "ImageEncoder": {"model", "normalization"},
    "TextEncoder": {"model", "sequence_length"},
    "CrossAttentionFusion": {"num_heads", "num_layers", "dropout", "combine"},
    "ImageConverter": {"image_size"},
    "TextConverter": {"tokenizer", "sequence_length", "clean"},
    "MultimodalPreprocessor": {"converters", "config_file"},
}
OF_ANY = {"name", "trainable", "dtype", "dtype_policy"}
OF_CLASSIFIER = {
    *("backbone", "preprocessor", "num_classes", "label_names", "activation", "hidden_dim"),
    *("dropout", "name"),
}
# Weights are found by the paths of the layers that hold them.
PATHS = {
    "classes_output/kernel",
    "fusion/images_norm_0/gamma",
    "fusion/images_to_text_0/query/kernel",
    "fusion/text_to_images_0/output/bias",
    "fusion/weight_hidden/kernel",
    "fusion/weight_logits/bias",
    "head_hidden/kernel",
    "images_classes_output/bias",
    "images_encoder/positions",
    "images_missing_token/token",
    "text_projection/kernel",
}


def as_then(config):
    """A config without the keys that came later."""
    if isinstance(config, list):
        return [as_then(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {name: as_then(value) for name, value in config.items()}
    keys = KEYS.get(config.get("class_name"))
    if keys is not None:
        kept = {k: v for k, v in config["config"].items() if k in keys | OF_ANY}
        config["config"] = kept
    return config


def test_a_classifier_of_the_first_form_is_read():
    classifier = toys.classifier()
    now = json.loads(json.dumps(keras.saving.serialize_keras_object(classifier)))
    then = as_then(now)
    then["config"] = {k: v for k, v in then["config"].items() if k in OF_CLASSIFIER}
    assert len(json.dumps(then)) < len(json.dumps(now))
    again = keras.saving.deserialize_keras_object(then)
    assert type(again) is MultimodalClassifier
    assert [w.path for w in again.weights] == [w.path for w in classifier.weights]
    assert {w.path for w in again.weights} >= PATHS
    again.set_weights(classifier.get_weights())
    # A preset has the vocabulary in a file.
    tokenizers = [task.preprocessor.converters["text"].tokenizer for task in (classifier, again)]
    tokenizers[1].set_vocabulary(tokenizers[0].get_vocabulary())
    x, _ = toys.examples(3)
    expected = classifier.predict(x, verbose=0)
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)
