"""One number that says whether two models embed alike."""

import hashlib
import json

import keras
import numpy as np


def fingerprint(task):
    """Hashes what makes embeddings of raw values: converters, vocabulary, encoders, projections.

    Args:
        task: `ImageTextRetriever` with a preprocessor.

    Returns:
        str, 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for modality, encoder in task.backbone.encoders.items():
        converter = task.preprocessor.converters[modality]
        tokenizer = getattr(converter, "tokenizer", None)
        parts = [
            keras.saving.serialize_keras_object(converter),
            tokenizer.get_vocabulary() if tokenizer else [],  # it is not in the config
            keras.saving.serialize_keras_object(encoder),
            task.pooling,
        ]
        digest.update(json.dumps(parts, sort_keys=True).encode())
        heads = [task.heads.get(f"{modality}_{what}") for what in ("projection", "embedding")]
        parts = [encoder, *(head for head in heads if head is not None)]
        for variable in (variable for part in parts for variable in part.weights):
            values = keras.ops.convert_to_numpy(variable)
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]
