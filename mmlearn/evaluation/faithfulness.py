"""Whether captions tell of things that are there, on scenes whose objects are known."""

from collections import Counter
from itertools import pairwise

import numpy as np

from mmlearn.evaluation.caption_words import caption_words


def mentioned_objects(caption, colors, names):
    """Finds the objects that a caption mentions: a colour followed by what it is.

    Args:
        caption: str.
        colors: collection of str.
        names: collection of str, of one word each.

    Returns:
        A list of `(color, name)` in reading order.

    Example:

    >>> mentioned_objects("a red star above one blue ring", ["red", "blue"], ["star", "ring"])
    [('red', 'star'), ('blue', 'ring')]
    """
    words = caption_words(caption)
    return [(color, name) for color, name in pairwise(words) if color in colors and name in names]


def faithfulness_counts(captions, scenes, colors, names):
    """Counts of each caption, of whose sums over captions `faithfulness` makes shares.

    Args:
        captions: list of str, one per scene.
        scenes: list of lists of `(color, name)`, the objects of each scene.
        colors: collection of str.
        names: collection of str.

    Returns:
        float array `(num_scenes, 3)`: objects mentioned, those of them that are there (two mentions
        need two objects), and objects of the scene.
    """
    found = np.zeros((len(captions), 3))
    for row, (caption, scene) in enumerate(zip(captions, scenes, strict=True)):
        mentioned, there = Counter(mentioned_objects(caption, colors, names)), Counter(scene)
        found[row] = mentioned.total(), (mentioned & there).total(), there.total()
    return found


def faithfulness(counts, weights):
    """How much of what captions mention is there, and how much of what is there they mention.

    Args:
        counts: float array, as `faithfulness_counts` returns.
        weights: float array `(num_scenes, num_weightings)`.

    Returns:
        A dict of `faithfulness` and `coverage`, each `(num_weightings,)` in [0, 1]; NaN without any
        object.

    Example:

    >>> scene = [("red", "star"), ("blue", "ring")]
    >>> counts = faithfulness_counts(
    ...     ["a red star and a red ring"], [scene], ["red", "blue"], ["star", "ring"]
    ... )
    >>> {name: float(share[0]) for name, share in faithfulness(counts, np.ones((1, 1))).items()}
    {'faithfulness': 0.5, 'coverage': 0.5}
    """
    mentioned, true, there = counts.T @ weights
    with np.errstate(invalid="ignore"):
        return {"faithfulness": true / mentioned, "coverage": true / there}
