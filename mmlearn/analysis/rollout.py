"""Attention through several layers, as one matrix."""

import numpy as np


def rollout(scores, query="text", key="images"):
    """Follows attention through all layers: how much of each key's first features is in each query.

    The heads are averaged. In every layer, each token takes half of itself (the residual) and half of
    what it attends to; a modality that attends to several others shares that half among them. The
    product over the layers is what a token has gathered in the end, from all modalities.

    Args:
        scores: dict of direction to array `(num_layers, num_heads, num_queries, num_keys)`, of one
            example.
        query: str. Modality.
        key: str. Modality.

    Returns:
        float array `(num_queries, num_keys)`; a row sums to the share that comes from the key's
        modality.

    Example:

    >>> attends = np.ones((1, 1, 1, 1))
    >>> rollout({"text_to_images": attends, "images_to_text": attends}).tolist()
    [[0.5]]

    Reference:
        Abnar and Zuidema, "Quantifying attention flow in transformers", 2020, equation 1.
    """
    lengths = {}
    for direction, values in scores.items():
        first, second = direction.split("_to_")
        lengths[first], lengths[second] = values.shape[-2:]
    starts, total = {}, 0
    for modality in sorted(lengths):
        starts[modality] = slice(total, total + lengths[modality])
        total += lengths[modality]
    joint = np.eye(total)
    for layer in range(next(iter(scores.values())).shape[0]):
        matrix = np.zeros((total, total))
        for direction, values in scores.items():
            first, second = direction.split("_to_")
            matrix[starts[first], starts[second]] += values[layer].mean(axis=0)
        sums = matrix.sum(axis=1, keepdims=True)
        # A row without any attention, such as that of a modality that attends to nothing, stays.
        matrix = np.where(sums > 0, matrix / np.where(sums > 0, sums, 1), np.eye(total))
        joint = (matrix + np.eye(total)) / 2 @ joint
    return joint[starts[query], starts[key]]
