"""BLEU-1 to BLEU-4, as the official evaluation of COCO's captions defines them."""

import numpy as np

from mmlearn.evaluation.caption_words import count_ngrams

MAX_ORDER = 4
# The official evaluation has these in every fraction, which keeps BLEU-4 above 0 without any match.
_TINY, _SMALL = 1e-15, 1e-9


def bleu_counts(candidates, references):
    """Counts of each caption, of which sums over captions make BLEU.

    Args:
        candidates: list of lists of words, one per image.
        references: list of lists of lists of words, one or more per image.

    Returns:
        float array `(num_images, 2 * 4 + 2)`: of each order the n-grams that a reference has too, each
        as often as one reference has it at most; of each order all n-grams; the number of words; and
        that of the reference with the closest one, the shorter of two.
    """
    found = np.zeros((len(candidates), 2 * MAX_ORDER + 2))
    for row, (words, own) in enumerate(zip(candidates, references, strict=True)):
        most = [{} for _ in range(MAX_ORDER)]
        for reference in own:
            for limits, counts in zip(most, count_ngrams(reference, MAX_ORDER), strict=True):
                for ngram, count in counts.items():
                    limits[ngram] = max(count, limits.get(ngram, 0))
        for order, counts in enumerate(count_ngrams(words, MAX_ORDER)):
            limits = most[order]
            found[row, order] = sum(min(n, limits.get(ngram, 0)) for ngram, n in counts.items())
            found[row, MAX_ORDER + order] = max(0, len(words) - order)
        lengths = [len(reference) for reference in own]
        found[row, -2] = len(words)
        found[row, -1] = min((abs(length - len(words)), length) for length in lengths)[1]
    return found


def bleu(counts, weights=None):
    """BLEU of all captions together: it is no mean of the captions' own.

    BLEU-n = b (p_1 ... p_n)^(1/n), with p_k the share of k-grams that a reference has too, and
    b = min(1, e^(1 - r/c)) of the lengths c of the captions and r of the references.

    Args:
        counts: float array, as `bleu_counts` returns.
        weights: float array `(num_images, num_weightings)`, or `None` for each image once.

    Returns:
        float array `(4, num_weightings)`, BLEU-1 to BLEU-4 in [0, 1]; without weights `(4,)`.

    Reference:
        Papineni et al., "BLEU: a method for automatic evaluation of machine translation", 2002,
        section 2.3; Chen et al., "Microsoft COCO captions", 2015, section 3.3.

    Example:

    >>> counts = bleu_counts([["a", "red", "dog"]], [[["a", "dog"], ["one", "red", "dog"]]])
    >>> bleu(counts)[:2].round(4).tolist()
    [1.0, 0.7071]
    """
    if weights is None:
        return bleu(counts, np.ones((len(counts), 1)))[:, 0]
    total = counts.T @ weights
    matches, all_ngrams = total[:MAX_ORDER], total[MAX_ORDER : 2 * MAX_ORDER]
    precisions = (matches + _TINY) / (all_ngrams + _SMALL)
    orders = np.arange(1, MAX_ORDER + 1)[:, None]
    means = np.cumprod(precisions, axis=0) ** (1 / orders)
    ratio = (total[-2] + _TINY) / (total[-1] + _SMALL)
    return means * np.exp(np.minimum(0.0, 1 - 1 / ratio))
