"""The signatures of an exported retriever."""

import tensorflow as tf

from mmlearn.models.signatures import SINGULAR, file_statuses


def signatures(task):
    """Returns `{name: (function, input_signature)}` of a retriever.

    | signature | inputs | outputs |
    |---|---|---|
    | `embed_image` | `images` file bytes | `image_embedding`, L2-normalised, `image_status` |
    | `embed_text` | `text` strings | `text_embedding` |
    | `match`, also `serving_default` | both | `match`, the probability that they are a pair, `similarity`, the cosine, both embeddings, `status`, `image_status` |
    | `serve_tensors` | the model inputs | `match` |

    `status` is 1 where a row has not both: what is said of it means nothing then. `image_status` is as of
    other tasks, see `mmlearn.models.signatures`.

    Args:
        task: `ImageTextRetriever` with a preprocessor.
    """
    preprocessor = task.preprocessor
    tensors = {
        name: tf.TensorSpec((None, *value.shape[1:]), value.dtype, name=name)
        for name, value in task.backbone.input.items()
    }
    found = {
        "serve_tensors": (lambda inputs: {"match": _compare(task, inputs)["match"]}, [tensors])
    }
    raw = {m: preprocessor.converters[m].raw_spec(m) for m in task.backbone.modalities}
    if None in raw.values():
        return found  # such as features made elsewhere

    def embed(modality):
        def function(values):
            inputs, statuses = preprocessor.convert_with_status({modality: values})
            embedding = _encode(task, inputs, modality)[0]
            name = f"{SINGULAR.get(modality, modality)}_embedding"
            return {name: embedding, **file_statuses(statuses)}

        return function

    def match(*values):
        values = dict(zip(raw, values, strict=True))
        inputs, statuses = preprocessor.convert_with_status(values)
        present = tf.stack([inputs[f"{m}_present"] for m in raw], axis=1)
        return {
            **_compare(task, inputs),
            "status": 1 - tf.reduce_min(present, axis=1),
            **file_statuses(statuses),
        }

    found["match"] = found["serving_default"] = (match, list(raw.values()))
    for modality, spec in raw.items():
        found[f"embed_{SINGULAR.get(modality, modality)}"] = (embed(modality), [spec])
    return found


def _encode(task, inputs, modality):
    names = task.backbone.encoders[modality].model_inputs(modality)
    features, masks = task.backbone.encode({name: inputs[name] for name in names}, training=False)
    embedding = task.embed_features(features, masks, training=False)[modality]
    return embedding, features[modality], masks[modality]


def _compare(task, inputs):
    found = {m: _encode(task, inputs, m) for m in task.backbone.modalities}
    logit = task.match_features(
        {m: own[1] for m, own in found.items()},
        {m: own[2] for m, own in found.items()},
        {m: inputs[f"{m}_present"] for m in found},
        training=False,
    )
    embeddings = {f"{SINGULAR.get(m, m)}_embedding": own[0] for m, own in found.items()}
    similarity = tf.reduce_sum(tf.multiply(*embeddings.values()), axis=1)
    return {"match": tf.sigmoid(logit), "similarity": similarity, **embeddings}
