"""Integrated gradients: what each word of a text contributes to the score of a class."""

import numpy as np
import tensorflow as tf

from mmlearn.analysis.attention import read_tokens, split_words
from mmlearn.analysis.class_scores import check_gradients, scores_of

NUM_STEPS = 64


def integrated_gradients(task, x, column, alone=False, num_steps=NUM_STEPS):
    """Shares out the difference of a class's score between a text and no words at all.

    The tokens' embeddings E are led in a straight line from zeros to what they are; each token gets
    the mean gradient on the way, times its embedding. The sum over all tokens is the score at the end
    minus the score at the start (completeness), up to the error of the sum over steps.

    Args:
        task: a task with text and a preprocessor.
        x: dict of raw values of one example.
        column: int. The class.
        alone: bool. Whether it is scored by the text's own head, rather than by the main output.
        num_steps: int. Steps on the way.

    Returns:
        A dict: `words`, a list of `(word, float)`, pieces of words added up; `special`, what the
        special tokens contribute; `score` and `baseline`, the scores at the end and at the start;
        and `gap`, score - baseline minus all contributions, which more steps make smaller.

    Raises:
        ValueError: when Keras does not run on TensorFlow, or the text encoder has no embeddings.

    Reference:
        Sundararajan et al., "Axiomatic attribution for deep networks", 2017, equations 1 and 3; the
        baseline of zeros is that of section 6.4.
    """
    check_gradients("Integrated gradients")
    encoder = task.backbone.encoders.get("text")
    if not hasattr(encoder, "split_at_embeddings"):
        raise ValueError(
            "Integrated gradients are of a text encoder's tokens. Received: a model of "
            f"{', '.join(task.backbone.modalities)}. Fix: a model with a text encoder that reads tokens."
        )
    embed, encode = encoder.split_at_embeddings()
    inputs = task.read_inputs(x)
    others = {
        name: value for name, value in inputs.items() if name not in encoder.model_inputs("text")
    }
    text = {name: inputs[name] for name in encoder.model_inputs("text")}
    features, masks = task.backbone.encode(others, training=False)
    embeddings = tf.cast(embed(text), "float32")
    # Halves of steps, so that the sum is the midpoint rule, whose error falls with their square.
    steps = np.concatenate([(np.arange(num_steps) + 0.5) / num_steps, [0.0, 1.0]])
    steps = steps.astype("float32")

    def repeat(values):
        return tf.repeat(values, len(steps), axis=0)

    text = {name: repeat(value) for name, value in text.items()}
    present = {name: repeat(value) for name, value in inputs.items() if name.endswith("_present")}
    features = {modality: repeat(value) for modality, value in features.items()}
    masks = {modality: repeat(value) for modality, value in masks.items()}
    on_the_way = steps[:, None, None] * embeddings
    with tf.GradientTape() as tape:
        tape.watch(on_the_way)
        features["text"], masks["text"] = encode(on_the_way, text)
        columns = np.full(len(steps), column)
        scores = scores_of(task, features, masks, present, columns, "text" if alone else None)
        total = tf.reduce_sum(scores)
    gradients = tape.gradient(total, on_the_way)[:-2]
    contributions = (tf.reduce_mean(gradients, axis=0) * embeddings[0]).numpy().sum(axis=-1)
    baseline, score = (float(value) for value in scores[-2:])
    words = split_words(read_tokens(task, x["text"][0]))
    shares = [(word, float(contributions[places].sum())) for word, places in words]
    return {
        "words": shares,
        "special": float(contributions.sum() - sum(share for _, share in shares)),
        "score": score,
        "baseline": baseline,
        "gap": score - baseline - float(contributions.sum()),
    }
