"""CIDEr-D: how alike a caption and its references are in the n-grams that tell images apart."""

import math
from collections import Counter

import numpy as np

from mmlearn.evaluation.caption_words import count_ngrams

MAX_ORDER = 4
SIGMA = 6.0  # of the penalty on another length than the reference's, in words


def cider_d(candidates, references):
    """CIDEr-D of each caption; that of a set of images is the mean.

    An n-gram weighs its count times log(N / number of images with it in a reference). Of each order, a
    caption and a reference have the cosine of these weights, where a caption's count no more than the
    reference's, times exp(-d^2 / 2 sigma^2) of the difference d of their lengths. The score is 10 times
    the mean over references and orders 1 to 4.

    The weights are those of the images at hand: scores of different sets of images, or of different
    sets of references, do not compare, and an image alone has 0.

    Args:
        candidates: list of lists of words, one per image.
        references: list of lists of lists of words, one or more per image.

    Returns:
        float array `(num_images,)` in [0, 10].

    Reference:
        Vedantam et al., "CIDEr: consensus-based image description evaluation", 2015, equations 1, 3 and
        4, with the constants of the official evaluation of COCO's captions.

    Example:

    >>> references = [[["a", "red", "dog"]], [["a", "blue", "cat"]]]
    >>> cider_d([["a", "red", "dog"], ["a", "dog"]], references).round(2).tolist()
    [7.5, 0.0]
    """
    counted = [[count_ngrams(words, MAX_ORDER) for words in own] for own in references]
    images_with = Counter()
    for own in counted:
        images_with.update({ngram for orders in own for counts in orders for ngram in counts})
    log_count = math.log(max(len(references), 1))

    def weigh(orders):
        """Of each order the weights and their norm, and the number of pairs of words."""
        weighed = []
        for counts in orders:
            weights = {
                ngram: count * (log_count - math.log(max(1, images_with[ngram])))
                for ngram, count in counts.items()
            }
            weighed.append((weights, math.sqrt(sum(w * w for w in weights.values()))))
        return weighed, sum(orders[1].values())

    scores = np.zeros(len(candidates))
    for row, (words, own) in enumerate(zip(candidates, counted, strict=True)):
        candidate = weigh(count_ngrams(words, MAX_ORDER))
        similarities = [_similarity(candidate, weigh(reference)) for reference in own]
        scores[row] = 10 * np.mean(similarities)
    return scores


def _similarity(candidate, reference):
    (first, length), (second, other_length) = candidate, reference
    total = 0.0
    for (weights, norm), (others, other_norm) in zip(first, second, strict=True):
        product = sum(min(w, others[n]) * others[n] for n, w in weights.items() if n in others)
        if norm and other_norm:
            total += product / (norm * other_norm)
    return total / MAX_ORDER * math.exp(-((length - other_length) ** 2) / (2 * SIGMA**2))
