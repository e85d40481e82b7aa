"""Does a heat map point at the thing? Pure functions over maps and boxes.

A map is a float array `(grid_height, grid_width)` that lies over the whole image; a box is
`(left, top, right, bottom)` in shares of the image's width and height.
"""

from dataclasses import dataclass

import numpy as np

from mmlearn.evaluation.category_words import find_categories

# What a word that names a category may stand for, see `name_objects`.
KINDS = ("visible", "faint", "ambiguous")


@dataclass(frozen=True)
class NamedObject:
    """A word, or several, that name objects of an image.

    Attributes:
        start: int, the place of the first of the words.
        end: int, the place after the last one.
        category: str.
        boxes: list of boxes of what may be meant.
        kind: `"visible"`, one object that can be seen; `"faint"`, one that cannot; `"ambiguous"`, more than
            one object of that description.
        is_told_apart: bool. Whether the image has others of the category, which the word before, a
            colour, leaves out.
    """

    start: int
    end: int
    category: str
    boxes: list
    kind: str
    is_told_apart: bool = False


def name_objects(words, objects, categories):
    """Finds the words of a text that name an object of its image.

    Args:
        words: list of str in reading order.
        objects: list of `data_prep.sources.coco.PlacedObject`, those of the image.
        categories: iterable of str, all categories there are.

    Returns:
        A list of `NamedObject`; words for what has no box in the image are left out.
    """
    colors, found = {item.color for item in objects if item.color}, []
    for start, end, category in find_categories(words, categories):
        own = [item for item in objects if item.category == category]
        meant = own
        if start and words[start - 1].lower() in colors:
            meant = [item for item in own if item.color == words[start - 1].lower()]
        if not meant:
            continue
        kind = "ambiguous"
        if len(meant) == 1 and not meant[0].is_crowd:
            kind = "faint" if meant[0].is_faint else "visible"
        boxes = [item.box for item in meant]
        found.append(NamedObject(start, end, category, boxes, kind, len(meant) < len(own)))
    return found


def coverage(grid, boxes):
    """How much of each cell lies in one of the boxes.

    Args:
        grid: `(grid_height, grid_width)`.
        boxes: list of boxes.

    Returns:
        float array `(grid_height, grid_width)` in [0, 1]. Where boxes overlap, the area counts once.

    Example:

    >>> coverage((1, 2), [(0.25, 0.0, 1.0, 1.0)]).tolist()
    [[0.5, 1.0]]
    """
    # Between all sides of boxes and cells, each piece is inside or outside as a whole.
    xs = np.unique(
        np.clip([*np.linspace(0, 1, grid[1] + 1), *(b[i] for b in boxes for i in (0, 2))], 0, 1)
    )
    ys = np.unique(
        np.clip([*np.linspace(0, 1, grid[0] + 1), *(b[i] for b in boxes for i in (1, 3))], 0, 1)
    )
    middle_x, middle_y = (xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2
    inside = _inside(middle_x[None], middle_y[:, None], boxes)
    areas = inside * np.diff(xs)[None] * np.diff(ys)[:, None]
    result = np.zeros(grid)
    rows = np.minimum((middle_y * grid[0]).astype(int), grid[0] - 1)
    columns = np.minimum((middle_x * grid[1]).astype(int), grid[1] - 1)
    np.add.at(result, (rows[:, None], columns[None]), areas)
    return result * grid[0] * grid[1]


def centres_inside(grid, boxes):
    """Which cells have their centre in one of the boxes: bool array `(grid_height, grid_width)`."""
    y, x = ((np.arange(count) + 0.5) / count for count in grid)
    return _inside(x[None], y[:, None], boxes)


def points_at(heat, boxes):
    """The pointing game: whether the centre of the best cell is in one of the boxes.

    Args:
        heat: a map.
        boxes: list of boxes.

    Returns:
        float, 0 or 1; between, where several cells are the best: the share of them that are right, so
        that a map without any preference scores what chance does.

    Example:

    >>> points_at(np.array([[0.1, 0.9]]), [(0.5, 0.0, 1.0, 1.0)])
    1.0

    Reference:
        Zhang et al., "Top-down neural attention by excitation backprop", 2016, section 4.2.
    """
    best = heat == np.max(heat)
    return float(centres_inside(heat.shape, boxes)[best].mean())


def oracle_points_at(grid, boxes):
    """What the best map of that grid scores: 1 if the centre of any cell is in one of the boxes."""
    return float(centres_inside(grid, boxes).any())


def energy_in_box(heat, boxes):
    """The share of a map that lies in the boxes; cells count by the area that does.

    Args:
        heat: a map, not negative.
        boxes: list of boxes.

    Returns:
        float in [0, 1]; 0 of an empty map.

    Example:

    >>> energy_in_box(np.array([[1.0, 3.0]]), [(0.5, 0.0, 0.75, 1.0)])
    0.375

    Reference:
        Wang et al., "Score-CAM", 2020, section 4.3 (the energy-based pointing game).
    """
    total = float(np.sum(heat))
    return float((heat * coverage(heat.shape, boxes)).sum() / total) if total > 0 else 0.0


def centre_prior(grid):
    """A map that is highest in the middle of the image, whatever is in it.

    Args:
        grid: `(grid_height, grid_width)`.

    Returns:
        A map that sums to 1: a normal distribution whose standard deviation is a quarter of the image.
    """
    y, x = ((np.arange(count) + 0.5) / count - 0.5 for count in grid)
    heat = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * 0.25**2))
    return heat / heat.sum()


def _inside(x, y, boxes):
    inside = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)), bool)
    for left, top, right, bottom in boxes:
        inside |= (x >= left) & (x < right) & (y >= top) & (y < bottom)
    return inside
