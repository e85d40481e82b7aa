"""What becomes of a prediction as the regions that a heat map calls important go, or come."""

import cv2
import numpy as np

NUM_STEPS = 9
BLUR = 0.1  # standard deviation of what insertion starts from, a share of the longer side


def deletion_images(image, heat, num_steps=NUM_STEPS):
    """An image with its regions deleted, the hottest first; the last one has none left.

    Args:
        image: uint8 array `(height, width, 3)`.
        heat: a map `(grid_height, grid_width)`. Equally hot cells go in reading order.
        num_steps: int. Images after the first one; each has as many cells less as the others, up to
            one.

    Returns:
        uint8 array `(num_steps + 1, height, width, 3)`, the whole image first. What is deleted has the
        image's mean colour.

    Reference:
        Petsiuk et al., "RISE", 2018, section 4.1 (deletion).
    """
    nothing = np.broadcast_to(image.mean(axis=(0, 1)).round().astype(np.uint8), image.shape)
    return _exchange(image, nothing, heat, num_steps)


def insertion_images(image, heat, num_steps=NUM_STEPS):
    """A blurred image with its regions put back sharp, the hottest first.

    Args:
        image: uint8 array `(height, width, 3)`.
        heat: a map.
        num_steps: int.

    Returns:
        uint8 array `(num_steps + 1, height, width, 3)`, the blurred image first, the whole one last.

    Reference:
        Petsiuk et al., "RISE", 2018, section 4.1 (insertion).
    """
    blurred = cv2.GaussianBlur(image, (0, 0), BLUR * max(image.shape[:2]))
    return _exchange(blurred, image, heat, num_steps)


def area_under(scores):
    """The area under a curve over shares of the image from 0 to 1, by trapezoids.

    Args:
        scores: float array `(..., num_steps + 1)`.

    Returns:
        float array `(...)`.

    Example:

    >>> float(area_under(np.array([1.0, 0.5, 0.0])))
    0.5
    """
    scores = np.asarray(scores, np.float64)
    return (scores[..., 1:] + scores[..., :-1]).mean(axis=-1) / 2


def random_order(grid, seed):
    """A map whose order of cells is drawn at random, to compare with.

    Args:
        grid: `(grid_height, grid_width)`.
        seed: int or list of int.
    """
    return np.random.default_rng(seed).random(grid)


def _exchange(first, second, heat, num_steps):
    """Puts the cells of one image into another, step by step."""
    order = np.argsort(-heat, axis=None, kind="stable")
    rank = np.empty(heat.size, int)
    rank[order] = np.arange(heat.size)
    rows, columns = (
        np.arange(side) * cells // side
        for side, cells in zip(first.shape[:2], heat.shape, strict=True)
    )
    ranks = rank.reshape(heat.shape)[rows[:, None], columns[None]]
    ends = np.round(np.linspace(0, heat.size, num_steps + 1))
    return np.stack([np.where((ranks < end)[..., None], second, first) for end in ends])
