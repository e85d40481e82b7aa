"""Mixes the examples of a batch, for images alone: `(x, y, seed) -> (x, y)`, after the preprocessor.

Text cannot be mixed pixel by pixel, so a batch with other modalities is refused. Rows without an
image are never mixed. The functions are stateless: the same seed gives the same batch.
"""

import tensorflow as tf


def mixup(x, y, seed, alpha=0.2):
    """Blends each image, and its labels, with those of another row of the batch.

    One share `lambda ~ Beta(alpha, alpha)` for the batch: `lambda * own + (1 - lambda) * other`.

    Args:
        x: dict of model inputs: `images`, float32 `(batch_size, height, width, 3)`, and
            `images_present`, int32 `(batch_size,)`.
        y: float32 labels `(batch_size, num_classes)`.
        seed: int32 `(2,)`.
        alpha: float. Higher values blend more.

    Returns:
        `x` with other images, and `y`, both with the same shapes and dtypes.

    Raises:
        ValueError: when `x` has other inputs, or `alpha` is not positive.

    Example:

    >>> images = tf.constant([0.0, 100.0])[:, None, None, None] * tf.ones((2, 1, 1, 3))
    >>> x = {"images": images, "images_present": tf.constant([1, 1])}
    >>> x, y = mixup(x, tf.eye(2), seed=(0, 1), alpha=1.0)
    >>> [round(float(value)) for value in x["images"][:, 0, 0, 0]]
    [34, 66]

    Reference:
        Zhang et al. 2018, "mixup: Beyond empirical risk minimization", section 1.
    """
    share, partners, _ = _draw(x, seed, alpha)
    share = tf.cast(share, tf.float32)
    images = _blend(x["images"], partners, share)
    return {**x, "images": images}, _blend(y, partners, share)


def cutmix(x, y, seed, alpha=1.0):
    """Pastes a random box of another image of the batch into each image; labels by area.

    One box for the batch, of the area `1 - lambda` with `lambda ~ Beta(alpha, alpha)`. The part of
    it that falls off the image is lost; the labels are mixed by the area that is left.

    Args:
        x: dict of model inputs: `images`, float32 `(batch_size, height, width, 3)`, and
            `images_present`, int32 `(batch_size,)`.
        y: float32 labels `(batch_size, num_classes)`.
        seed: int32 `(2,)`.
        alpha: float. 1 makes all areas equally likely.

    Returns:
        `x` with other images, and `y`, both with the same shapes and dtypes.

    Raises:
        ValueError: when `x` has other inputs, or `alpha` is not positive.

    Reference:
        Yun et al. 2019, "CutMix: Regularization strategy to train strong classifiers with
        localizable features", equations 1 and 2.
    """
    share, partners, seed = _draw(x, seed, alpha)
    images = x["images"]
    sides = tf.shape(images)[1:3]
    box = tf.cast(tf.cast(sides, tf.float64) * tf.sqrt(1 - share), tf.int32)
    center = tf.random.stateless_uniform((2,), seed, dtype=tf.float64)
    first = tf.cast(center * tf.cast(sides, tf.float64), tf.int32) - box // 2
    start, end = tf.maximum(first, 0), tf.minimum(first + box, sides)
    rows, columns = tf.range(sides[0])[:, None, None], tf.range(sides[1])[:, None]
    is_inside = (rows >= start[0]) & (rows < end[0]) & (columns >= start[1]) & (columns < end[1])
    area = tf.reduce_prod(end - start) / tf.reduce_prod(sides)
    images = tf.where(is_inside, tf.gather(images, partners), images)
    return {**x, "images": images}, _blend(y, partners, tf.cast(1 - area, tf.float32))


MIXES = {"mixup": mixup, "cutmix": cutmix}


def _draw(x, seed, alpha):
    """Returns a share `lambda` (float64), the partner of each row and a seed for more."""
    if set(x) != {"images", "images_present"}:
        raise ValueError(
            "`mixup` and `cutmix` are for images alone: half a caption has no meaning. `x` must hold "
            f"`images` and `images_present` alone. Received: {', '.join(sorted(x))}. Fix: leave "
            "them out of the augmentations, or train on images alone."
        )
    if not alpha > 0:
        raise ValueError(f"`alpha` must be positive. Received: alpha={alpha}.")
    seeds = tf.unstack(tf.random.split(seed, 4))
    # In float64: with a small alpha, float32 draws would often be too small to tell from zero.
    own, other = (
        tf.random.stateless_gamma((), s, tf.constant(alpha, tf.float64), dtype=tf.float64)
        for s in seeds[:2]
    )
    # A permutation of the rows that have an image; the others are their own partners.
    rows = tf.cast(tf.where(x["images_present"] > 0)[:, 0], tf.int32)
    shuffled = tf.random.experimental.stateless_shuffle(rows, seeds[2])
    partners = tf.range(tf.shape(x["images_present"])[0])
    partners = tf.tensor_scatter_nd_update(partners, rows[:, None], shuffled)
    return own / (own + other), partners, seeds[3]


def _blend(values, partners, share):
    """`share * own + (1 - share) * partner's`, so written that equal values stay bit by bit."""
    return values + (1 - share) * (tf.gather(values, partners) - values)
