"""Captions without a captioner: one for all, that of the most similar image, that of a person."""

from collections import Counter

import numpy as np


def hold_out(captions):
    """Takes the first caption of each image away from its references.

    A person's caption that is judged by the others' is what a captioner may be compared with, if it is
    judged by the same references.

    Args:
        captions: list of lists of str, one list per image.

    Returns:
        held_out: list of str, `None` where an image has fewer than two.
        references: list of lists of str, the others.

    Example:

    >>> hold_out([["a dog", "a red dog"], ["a cat"]])
    (['a dog', None], [['a red dog'], []])
    """
    held_out = [own[0] if len(own) > 1 else None for own in captions]
    return held_out, [list(own[1:]) for own in captions]


def most_frequent(captions):
    """The caption that is written most often; of several, the first by the alphabet.

    Args:
        captions: list of lists of str, one list per image of the training split.

    Returns:
        A str.

    Raises:
        ValueError: when there is none.
    """
    counts = Counter(text for own in captions for text in own)
    if not counts:
        raise ValueError("There is no caption. Fix: a training split with captions.")
    return min(counts, key=lambda text: (-counts[text], text))


def nearest_captions(features, known_features, known_captions):
    """The first caption of the most similar training image, by the cosine of their features.

    Args:
        features: float array `(num_images, dim)`, such as the mean over an image's tokens.
        known_features: float array `(num_known, dim)`, of the training split.
        known_captions: list of lists of str, one list per training image; images without any do not
            count.

    Returns:
        A list of str, one per image.

    Reference:
        Devlin et al., "Exploring nearest neighbor approaches for image captioning", 2015, section 3.

    Example:

    >>> known = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> nearest_captions(np.array([[0.9, 0.2]]), known, [["a dog", "a pup"], ["a cat"]])
    ['a dog']
    """
    rows = np.array([row for row, own in enumerate(known_captions) if own])
    known = _normalize(np.asarray(known_features, np.float64)[rows])
    nearest = np.argmax(_normalize(np.asarray(features, np.float64)) @ known.T, axis=1)
    return [known_captions[rows[place]][0] for place in nearest]


def _normalize(features):
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
