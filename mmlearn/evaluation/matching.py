"""Image-text matching: whether a text is of an image.

Data of images with captions alone have no classes, so this is what "classification" can honestly mean
on them: as many mismatched pairs as matched ones, and chance is 0.5.
"""

import numpy as np

from mmlearn.evaluation.intervals import draw_all


def mismatched_images(image_groups, text_groups, cosines=None, seed=0):
    """Draws an image of another group for each text.

    Args:
        image_groups: int array `(num_images,)`, of two groups at least.
        text_groups: int array `(num_texts,)`.
        cosines: function of a slice of texts that returns `(num_rows, num_images)`: the nearest image
            of another group is taken; or `None`: any is.
        seed: int. Of the draw.

    Returns:
        int array `(num_texts,)`, rows of images.
    """
    image_groups, text_groups = np.asarray(image_groups), np.asarray(text_groups)
    random = np.random.default_rng(seed)
    rows = np.empty(len(text_groups), np.int64)
    for start in range(0, len(text_groups), 256):
        part = slice(start, min(start + 256, len(text_groups)))
        shape = (part.stop - part.start, len(image_groups))
        scores = random.random(shape) if cosines is None else np.asarray(cosines(part))
        own = text_groups[part, None] == image_groups
        rows[part] = np.where(own, -np.inf, scores).argmax(axis=1)
    return rows


def matching_accuracy(match, images, texts, num_resamples=1000, seed=0):
    """How often matched and mismatched pairs are told apart at a probability of one half.

    Args:
        match: function of rows of images and rows of texts that returns logits, see
            `mmlearn.evaluation.embedded.matcher`.
        images: `mmlearn.evaluation.embedded.Embedded`.
        texts: likewise.
        num_resamples: int. Of images, with their texts.
        seed: int.

    Returns:
        A dict of `accuracy`, where the mismatched image of each text is any other one, and
        `accuracy_nearest`, where it is the one that the embeddings confuse it with, to
        `(1 + num_resamples,)`, see `mmlearn.evaluation.intervals.draw_all`.
    """
    order = np.argsort(images.groups)
    own = order[np.searchsorted(images.groups, texts.groups, sorter=order)]
    rows = np.arange(len(texts.groups))
    matched = match(own, rows) > 0

    def cosines(part):
        return texts.embeddings[part] @ images.embeddings.T

    right = {}
    for name, how in (("accuracy", None), ("accuracy_nearest", cosines)):
        others = mismatched_images(images.groups, texts.groups, how, seed)
        right[name] = np.mean([matched, match(others, rows) <= 0], axis=0)
    return draw_all(
        lambda weights: {name: own @ weights / weights.sum(axis=0) for name, own in right.items()},
        len(rows),
        texts.groups,
        num_resamples,
        seed,
    )
