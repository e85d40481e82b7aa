"""ROUGE-L: the longest common subsequence of a caption and its references."""

import numpy as np

BETA = 1.2  # how much more recall counts, as in the official evaluation of COCO's captions


def rouge_l(candidates, references):
    """ROUGE-L of each caption.

    With l the length of the longest common subsequence of the caption and a reference, P the largest
    l / length of the caption and R the largest l / length of the reference, over its references, it is
    (1 + beta^2) P R / (R + beta^2 P).

    Args:
        candidates: list of lists of words, one per image.
        references: list of lists of lists of words, one or more per image.

    Returns:
        float array `(num_images,)` in [0, 1].

    Reference:
        Lin, "ROUGE: a package for automatic evaluation of summaries", 2004, section 3; Chen et al.,
        "Microsoft COCO captions", 2015, section 3.4 (the largest of each over the references).

    Example:

    >>> rouge_l([["a", "dog", "runs"]], [[["a", "big", "dog", "runs"]]]).round(4).tolist()
    [0.8356]
    """
    found = np.zeros(len(candidates))
    for row, (words, own) in enumerate(zip(candidates, references, strict=True)):
        common = [_common(words, reference) for reference in own]
        precision = max(common) / max(len(words), 1)
        recall = max(
            count / max(len(reference), 1) for count, reference in zip(common, own, strict=True)
        )
        if precision and recall:
            found[row] = (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
    return found


def _common(first, second):
    """The length of the longest common subsequence."""
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == other else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]
