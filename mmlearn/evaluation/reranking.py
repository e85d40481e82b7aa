"""The best few that embeddings find, ordered again by a score that costs more."""

import numpy as np

from mmlearn.evaluation.retrieval import TOLERANCE, blocks, rank, rank_both
from mmlearn.models.mismatched_pairs import HARDNESS

TOP = 10


def rank_again(score, match, query_groups, item_groups, top=TOP, tolerance=TOLERANCE, weight=0.0):
    """Ranks like `mmlearn.evaluation.retrieval.rank`, the best few of each query in the order of `match`.

    What is not among these stays where it was.

    Args:
        score: function of a slice of queries, see `rank`.
        match: function of rows of queries and rows of items, int arrays `(num_pairs,)`, that returns
            their float scores `(num_pairs,)`.
        query_groups: int array `(num_queries,)`.
        item_groups: int array `(num_items,)`.
        top: int. How many are ordered again.
        tolerance: see `rank`.
        weight: float. How much of `score` is added to `match`.

    Returns:
        int array `(num_queries,)`, from 1.

    Example:

    >>> scores = np.array([[0.9, 0.8, 0.1]])
    >>> found = rank_again(
    ...     lambda rows: scores[rows], lambda queries, items: items * 1.0, [7], [6, 7, 7], top=2
    ... )
    >>> found.tolist()
    [1]
    """
    query_groups, item_groups = np.asarray(query_groups), np.asarray(item_groups)
    ranks = rank(score, query_groups, item_groups, tolerance)
    top = min(top, len(item_groups))
    for rows in blocks(len(query_groups), len(item_groups)):
        scores = np.asarray(score(rows))
        best = np.argpartition(-scores, top - 1, axis=1)[:, :top]
        queries = np.repeat(np.arange(rows.start, rows.stop), top)
        found = np.asarray(match(queries, best.ravel())).reshape(best.shape)
        found = found + weight * np.take_along_axis(scores, best, axis=1)
        own = query_groups[rows, None] == item_groups[best]
        first = np.where(own, found, -np.inf).max(axis=1, keepdims=True)
        again = 1 + ((found >= first - tolerance) & ~own).sum(axis=1)
        ranks[rows] = np.where(own.any(axis=1), again, ranks[rows])
    return ranks


def rerank_both(images, texts, match, top=TOP):
    """Ranks of both directions, without and with the best few ordered again.

    The order is that of the match and the cosine together, see `mmlearn.models.mismatched_pairs.HARDNESS`.

    Args:
        images: `mmlearn.evaluation.embedded.Embedded`.
        texts: likewise.
        match: function of rows of images and rows of texts, see `mmlearn.evaluation.embedded.matcher`.
        top: int.

    Returns:
        Two dicts of direction to ranks, see `mmlearn.evaluation.retrieval.rank_both`.
    """
    one, other = images.embeddings, texts.embeddings
    again = {
        "text_to_images": rank_again(
            lambda rows: other[rows] @ one.T,
            lambda queries, items: match(items, queries),
            texts.groups,
            images.groups,
            top,
            weight=HARDNESS,
        ),
        "images_to_text": rank_again(
            lambda rows: one[rows] @ other.T,
            match,
            images.groups,
            texts.groups,
            top,
            weight=HARDNESS,
        ),
    }
    return rank_both(one, other, images.groups, texts.groups), again
