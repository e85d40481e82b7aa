"""The contract of a fusion, and the parts that fusions share.

A fusion is a Keras layer `fusion(features, masks, training=...)`:

- `features`: dict of modality to `(batch_size, length, hidden_dim)`, one or more modalities;
- `masks`: dict of modality to bool `(batch_size, length)`.

It returns a dict with `fused_features (batch_size, fused_dim)` and, if it has them,
`attention_scores {direction: (batch_size, num_layers, num_heads, query_length, key_length)}` and
`modality_weights (batch_size, num_modalities)`. Modalities are always taken in alphabetical order.
The direction `"text_to_images"` means that text queries attend to image keys.

The class attribute `combines` says what is fused: `"features"`, the default, or `"predictions"` or
`"both"`, which need `modality_weights`. With these the backbone sets the weights of absent modalities
to 0 (`weights_of_present`), and the task averages what its auxiliary heads predict: their
`"probabilities"`, or their `"logits"` if the attribute `average` says so (`average_predictions`).

Your own fusion is any such layer, registered with `@keras.saving.register_keras_serializable()`;
the repository needs no edit.
"""

from keras import ops

from data_prep.names import find
from mmlearn.layers.masked_mean import masked_mean

COMBINES = ("features", "predictions", "both")
AVERAGES = ("probabilities", "logits")
_SMALLEST = 1e-6  # probability, where its logarithm is taken


def pool(features, masks):
    """Pools each modality's tokens: a list of `(batch_size, hidden_dim)`, in modality order."""
    return [masked_mean(features[modality], masks[modality]) for modality in sorted(features)]


def what_is_combined(fusion):
    """Returns what a fusion combines, one of `COMBINES`.

    Raises:
        ValueError: when it says something else.
    """
    combines = getattr(fusion, "combines", "features")
    return find(combines, COMBINES, f"value of `combines` of {type(fusion).__name__}")


def what_is_averaged(fusion):
    """Returns what a fusion that combines predictions averages, one of `AVERAGES`.

    Raises:
        ValueError: when it says something else.
    """
    average = getattr(fusion, "average", "probabilities")
    return find(average, AVERAGES, f"value of `average` of {type(fusion).__name__}")


def average_predictions(predictions, weights, activation, average="probabilities"):
    """The weighted average of several predictions.

    Of logits, a class is likely if none rules it out; of probabilities, if one is sure of it. The rare
    classes of a weak modality, which it never finds likely, still order the examples then.

    Args:
        predictions: float tensor `(batch_size, num_predictions, num_columns)`.
        weights: float tensor `(batch_size, num_predictions)`; rows sum to 1.
        activation: `"sigmoid"`, `"softmax"` or `"linear"`, what made them; numbers are averaged as they
            are.
        average: one of `AVERAGES`.

    Returns:
        float tensor `(batch_size, num_columns)`.

    Example:

    >>> import numpy as np
    >>> predictions, weights = np.array([[[0.5], [0.9]]]), np.array([[0.5, 0.5]])
    >>> [round(float(average_predictions(predictions, weights, "sigmoid", a)[0, 0]), 3) for a in AVERAGES]
    [0.7, 0.75]

    Reference:
        Genest and Zidek, "Combining probability distributions: a critique and an annotated
        bibliography", 1986, section 3 (linear and logarithmic pools).
    """
    weights = weights[..., None]
    if average == "probabilities" or activation == "linear":
        return ops.sum(weights * predictions, axis=1)
    logits = ops.log(ops.maximum(predictions, _SMALLEST))
    if activation == "sigmoid":
        logits = logits - ops.log(ops.maximum(1.0 - predictions, _SMALLEST))
        return ops.sigmoid(ops.sum(weights * logits, axis=1))
    return ops.softmax(ops.sum(weights * logits, axis=1), axis=-1)


def weights_of_present(weights, present):
    """Weighs predictions of present modalities alone; an example without any keeps its weights.

    Args:
        weights: float tensor `(batch_size, num_modalities)`, not negative.
        present: bool tensor `(batch_size, num_modalities)`.

    Returns:
        float32 tensor `(batch_size, num_modalities)`; rows sum to 1. Where all present ones have
        weight 0, they share equally.

    Example:

    >>> import numpy as np
    >>> weights, present = np.array([[0.25, 0.75]] * 2), np.array([[True, False], [True, True]])
    >>> np.asarray(weights_of_present(weights, present)).tolist()
    [[1.0, 0.0], [0.25, 0.75]]
    """
    # In 16 bits the weights would sum to anything from 0.99 to 1.01, and probabilities with them.
    weights = ops.cast(weights, "float32")
    counted = ops.logical_or(present, ops.logical_not(ops.any(present, axis=1, keepdims=True)))
    counted = ops.cast(counted, "float32")
    weights = weights * counted
    total = ops.sum(weights, axis=1, keepdims=True)
    weights = ops.where(total > 0, weights, counted)
    return weights / ops.sum(weights, axis=1, keepdims=True)
