"""Retrieval: at which rank a query finds what belongs to it, and what follows from the ranks."""

import numpy as np

from mmlearn.evaluation.intervals import NUM_RESAMPLES, draw_all, with_interval

DIRECTIONS = ("text_to_images", "images_to_text")
CUTS = (1, 5, 10)
LIMITS = {**{f"R@{cut}": (0.0, 1.0) for cut in CUTS}, "median_rank": (1.0, None), "MRR": (0.0, 1.0)}
TOLERANCE = 1e-6  # cosines that are nearer than this are equal: float32 tells them apart by chance
BYTES = 64 * 2**20  # of scores at a time


def rank(score, query_groups, item_groups, tolerance=TOLERANCE):
    """Ranks of the best item of each query's own group; what ties with it counts as before it.

    Many items may belong to one query, such as five captions to a photo: the first of them counts, and
    the others are never in its way.

    Args:
        score: function of a slice of queries that returns their float scores `(num_rows, num_items)`;
            higher is better. It is called for one block after the other, so that memory is bounded.
        query_groups: int array `(num_queries,)`.
        item_groups: int array `(num_items,)`.
        tolerance: float. Scores that are less than this apart tie.

    Returns:
        int array `(num_queries,)`, from 1.

    Raises:
        ValueError: when a query has no item of its group, or a score is no number.

    Example:

    >>> scores = np.array([[0.9, 0.1, 0.9], [0.2, 0.3, 0.1]])
    >>> rank(lambda rows: scores[rows], [7, 8], [7, 7, 8]).tolist()
    [2, 3]
    """
    query_groups, item_groups = np.asarray(query_groups), np.asarray(item_groups)
    _check_have_items(query_groups, item_groups)
    # The own items of a query stand together in this order, from `first` on.
    order = np.argsort(item_groups, kind="stable")
    first, end = (
        np.searchsorted(item_groups[order], query_groups, side) for side in ("left", "right")
    )
    ranks = np.empty(len(query_groups), np.int64)
    for rows in blocks(len(query_groups), len(item_groups)):
        scores = np.asarray(score(rows))
        if not np.isfinite(scores.sum()):
            raise ValueError(
                "Scores must be numbers. Received: a NaN or an infinity. Fix: look at the embeddings; a "
                "training that diverged leaves such."
            )
        counts = end[rows] - first[rows]
        starts = np.cumsum(counts) - counts
        places = np.arange(counts.sum()) + np.repeat(first[rows] - starts, counts)
        own = scores[np.repeat(np.arange(len(counts)), counts), order[places]]
        enough = np.maximum.reduceat(own, starts) - tolerance
        own_are = np.add.reduceat(own >= np.repeat(enough, counts), starts, dtype=np.int64)
        ranks[rows] = 1 + np.count_nonzero(scores >= enough[:, None], axis=1) - own_are
    return ranks


def blocks(num_queries, num_items):
    """Yields slices of queries whose scores of all items take `BYTES` in float32."""
    step = max(1, BYTES // (4 * max(num_items, 1)))
    for start in range(0, num_queries, step):
        yield slice(start, min(start + step, num_queries))


def _check_have_items(query_groups, item_groups):
    alone = np.flatnonzero(~np.isin(query_groups, item_groups))
    if len(alone):
        raise ValueError(
            f"Each query needs an item of its group. Received: query {alone[0]} of group "
            f"{query_groups[alone[0]]} without one ({len(alone)} of {len(query_groups)} queries). Fix: "
            "leave it out."
        )


def rank_both(images, texts, image_groups, text_groups, tolerance=TOLERANCE):
    """Ranks by cosine in both directions.

    Args:
        images: float array `(num_images, dim)`, L2-normalised embeddings.
        texts: float array `(num_texts, dim)`, likewise.
        image_groups: int array `(num_images,)`, different for each image.
        text_groups: int array `(num_texts,)`, the group of the image that each text is of.
        tolerance: see `rank`.

    Returns:
        A dict of `text_to_images (num_texts,)` and `images_to_text (num_images,)`, see `rank`.
    """
    images, texts = np.asarray(images, np.float32), np.asarray(texts, np.float32)
    if images.shape[1:] != texts.shape[1:]:
        raise ValueError(
            "Embeddings of images and texts must have one size. Received: "
            f"{images.shape} and {texts.shape}. Fix: take both from one model."
        )
    return {
        "text_to_images": rank(
            lambda rows: texts[rows] @ images.T, text_groups, image_groups, tolerance
        ),
        "images_to_text": rank(
            lambda rows: images[rows] @ texts.T, image_groups, text_groups, tolerance
        ),
    }


def score_ranks(ranks, weights=None):
    """Metrics of ranks.

    Args:
        ranks: int array `(num_queries,)`, from 1.
        weights: float array `(num_queries, num_weightings)`, how often each query counts; by default
            once.

    Returns:
        A dict of `R@1`, `R@5` and `R@10`, the share of queries of at most that rank; `median_rank`; and
        `MRR`, the mean of 1 / rank: floats, or arrays `(num_weightings,)`.

    Example:

    >>> score_ranks(np.array([1, 4, 20]))["median_rank"], score_ranks(np.array([1, 4]))["MRR"]
    (4.0, 0.625)
    """
    ranks = np.asarray(ranks)
    once = weights is None
    weights = np.ones((len(ranks), 1)) if once else np.asarray(weights)
    total = weights.sum(axis=0)
    found = {f"R@{cut}": (ranks <= cut) @ weights / total for cut in CUTS}
    order = np.argsort(ranks, kind="stable")
    passed = np.cumsum(weights[order], axis=0)
    # Of an even number, the mean of the two in the middle, as usual.
    middle = [
        ranks[order][np.argmax(is_past, axis=0)]
        for is_past in (passed >= total / 2, passed > total / 2)
    ]
    found["median_rank"] = (middle[0] + middle[1]) / 2
    found["MRR"] = (1 / ranks) @ weights / total
    return {name: float(values[0]) for name, values in found.items()} if once else found


def draw_ranks(ranks, image_groups, text_groups, num_resamples=NUM_RESAMPLES, seed=0):
    """Computes the metrics of both directions on the same resamples of images.

    An image comes with its captions, since these are not independent. What is searched stays whole.

    Args:
        ranks: dict of name to ranks, see `rank_both`; the name ends with the direction.
        image_groups: int array `(num_images,)`.
        text_groups: int array `(num_texts,)`.
        num_resamples: int.
        seed: int.

    Returns:
        A dict of name to dict of metric to `(1 + num_resamples,)`, see
        `mmlearn.evaluation.intervals.draw_all`: two of these of other ranks of the same queries can be
        compared by `difference`.
    """
    image_groups = np.asarray(image_groups)
    order = np.argsort(image_groups)
    rows = order[np.searchsorted(image_groups, text_groups, sorter=order)]

    def measure(weights):
        of_texts = weights[rows]
        return {
            (name, metric): values
            for name, found in ranks.items()
            for metric, values in score_ranks(
                found, of_texts if name.endswith("text_to_images") else weights
            ).items()
        }

    drawn = {name: {} for name in ranks}
    for (name, metric), values in draw_all(
        measure, len(image_groups), None, num_resamples, seed
    ).items():
        drawn[name][metric] = values
    return drawn


def with_intervals(drawn):
    """Metrics and their intervals: dict of direction to dict of metric to `value`, `low`, `high`.

    Args:
        drawn: what `draw_ranks` returned.
    """
    return {
        direction: {metric: with_interval(each, LIMITS[metric]) for metric, each in found.items()}
        for direction, found in drawn.items()
    }


def folds(image_groups, text_groups, size=1000):
    """Yields the rows of images and of texts of each fold of a test set, such as COCO 1K of 5K.

    Folds are of consecutive images, as in the protocol that papers report, and the metrics of the
    folds are averaged (see `mean_over_folds`).

    Args:
        image_groups: int array `(num_images,)`.
        text_groups: int array `(num_texts,)`.
        size: int. Images per fold; the rest, fewer than that, is left out.

    Yields:
        int arrays of rows, of images and of texts.

    Raises:
        ValueError: when there are fewer images than a fold has.

    Reference:
        Karpathy and Fei-Fei 2015, "Deep visual-semantic alignments for generating image descriptions",
        section 4.2 (1K and 5K); five folds: Faghri et al. 2018, "VSE++", section 4.1.
    """
    image_groups, text_groups = np.asarray(image_groups), np.asarray(text_groups)
    if len(image_groups) < size:
        raise ValueError(
            f"A fold has {size} images. Received: {len(image_groups)}. Fix: a smaller `size`, or the "
            "whole set at once."
        )
    for start in range(0, len(image_groups) - size + 1, size):
        rows = np.arange(start, start + size)
        yield rows, np.flatnonzero(np.isin(text_groups, image_groups[rows]))


def mean_over_folds(images, texts, image_groups, text_groups, size=1000):
    """The metrics of both directions, averaged over folds.

    Args:
        images: see `rank_both`, likewise the others.
        texts: likewise.
        image_groups: likewise.
        text_groups: likewise.
        size: see `folds`.

    Returns:
        A dict of direction to dict of metric to float.
    """
    found = {direction: [] for direction in DIRECTIONS}
    for own, texts_of_own in folds(image_groups, text_groups, size):
        ranks = rank_both(
            images[own],
            texts[texts_of_own],
            np.asarray(image_groups)[own],
            np.asarray(text_groups)[texts_of_own],
        )
        for direction in DIRECTIONS:
            found[direction].append(score_ranks(ranks[direction]))
    return {
        direction: {metric: float(np.mean([fold[metric] for fold in each])) for metric in each[0]}
        for direction, each in found.items()
    }
