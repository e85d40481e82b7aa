"""How well captions of the synthetic scenes can be told to their scenes by one who knows the scenes.

A caption of `data_prep.sources.shapes` mentions some of a scene's objects, and says of some of these
where they are. So a caption fits many scenes, and even who knows every object finds the right one only
so often: that is what retrieval is measured against.
"""

import itertools
import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from data_prep.sources.shapes import (
    COLORS,
    MAX_OBJECTS,
    MENTION_PROBABILITY,
    MIN_OBJECTS,
    SHAPES,
)

_OBJECT = rf"(?:an?|one) ({'|'.join(COLORS)}) ({'|'.join(SHAPES)})"
_PLACES = {  # (column, row) of three each
    f"{where} {what}": place
    for where, what, place in (
        ("in the", "top left", (0, 0)),
        ("at the", "top", (1, 0)),
        ("in the", "top right", (2, 0)),
        ("on the", "left", (0, 1)),
        ("in the", "middle", (1, 1)),
        ("on the", "right", (2, 1)),
        ("in the", "bottom left", (0, 2)),
        ("at the", "bottom", (1, 2)),
        ("in the", "bottom right", (2, 2)),
    )
}
_RELATIONS = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}
_LONGEST_FIRST = sorted(_PLACES, key=len, reverse=True)
_PIECE = re.compile(
    rf"{_OBJECT}(?: ({'|'.join(_RELATIONS)}) {_OBJECT}| ({'|'.join(_LONGEST_FIRST)}))?"
)
# A box is a whole number of pixels, so a place near a border may seem the next one.
_MISTAKE = 0.02
_IMPOSSIBLE = -50.0
_JITTER = 1e-3


@dataclass(frozen=True)
class Caption:
    """What a caption says: `kinds`, a (colour, shape) per object; `places`, {object: (column, row)};
    `relations`, {(object, other object): words}. Objects are numbered as they are mentioned.
    """

    kinds: tuple
    places: dict
    relations: dict


def read_caption(text):
    """Reads a caption of the synthetic scenes.

    Args:
        text: str.

    Returns:
        A `Caption`.

    Example:

    >>> read_caption("a red star left of one blue ring and a green cross at the top").relations
    {(0, 1): 'left of'}
    """
    kinds, places, relations = [], {}, {}
    for color, shape, relation, other_color, other_shape, place in _PIECE.findall(text):
        kinds.append((color, shape))
        if relation:
            relations[len(kinds) - 1, len(kinds)] = relation
            kinds.append((other_color, other_shape))
        elif place:
            places[len(kinds) - 1] = _PLACES[place]
    return Caption(tuple(kinds), places, relations)


def caption_oracles(texts, scenes, seed=0):
    """Scores every scene for every caption, as two observers do who know how captions are made.

    The score is log P(caption | scene) - log P(caption), best for both directions: among scenes for a
    caption the second term is the same, and among captions for a scene it takes off what any caption
    says of any scene. `objects` knows the colour and shape of every object of every scene, `scene` also
    the places. Neither needs to see: faint objects count. Equal scores are told apart by a seeded
    0.001, since ties count against who is ranked and would make the ideal look worse than a model.

    Args:
        texts: list of str, captions of synthetic scenes.
        scenes: list of lists of `data_prep.sources.coco.PlacedObject`.
        seed: int.

    Returns:
        A dict of `objects` and `scene` to float32 `(num_texts, num_scenes)`.
    """
    jitter = np.random.default_rng(seed).random((len(texts), len(scenes))) * _JITTER
    scores = {
        name: np.full((len(texts), len(scenes)), _IMPOSSIBLE) for name in ("objects", "scene")
    }
    kinds = [Counter((item.color, item.category) for item in scene) for scene in scenes]
    having = defaultdict(set)  # kind of object: scenes that have one
    for row, own in enumerate(kinds):
        for kind in own:
            having[kind].add(row)
    for column, text in enumerate(texts):
        caption = read_caption(text)
        said = Counter(caption.kinds)
        by_chance = _log_chance(said)
        fitting = [having[kind] for kind in said]
        for row in set.intersection(*fitting) if fitting else range(len(scenes)):
            there = kinds[row]
            ways = math.prod(math.comb(there[kind], count) for kind, count in said.items())
            if ways:
                mentioned = _mention_probability(len(caption.kinds), len(scenes[row]))
                score = math.log(ways * mentioned) - by_chance
                scores["objects"][column, row] = score
                scores["scene"][column, row] = score + _log_fit(caption, scenes[row])
    return {name: (values + jitter).astype(np.float32) for name, values in scores.items()}


def _log_chance(said):
    """The logarithm of the probability that a caption of any scene mentions these kinds."""
    count = sum(said.values())
    totals = range(MIN_OBJECTS, MAX_OBJECTS + 1)
    mentioned = np.mean([math.comb(n, count) * _mention_probability(count, n) for n in totals])
    orders = math.factorial(count) / math.prod(math.factorial(n) for n in said.values())
    return math.log(mentioned * orders) - count * math.log(len(COLORS) * len(SHAPES))


def _mention_probability(num_said, num_there):
    """The probability that exactly these of the objects that are there are mentioned."""
    silent = num_there - num_said
    return MENTION_PROBABILITY**num_said * (1 - MENTION_PROBABILITY) ** silent


def _log_fit(caption, scene):
    """Log P(places and relations | scene) - log P(places and relations), over who may be meant."""
    if not caption.places and not caption.relations:
        return 0.0
    fits = [
        _fit(caption, objects)
        for objects in itertools.permutations(scene, len(caption.kinds))
        if all(
            (o.color, o.category) == kind for o, kind in zip(objects, caption.kinds, strict=True)
        )
    ]
    by_chance = (1 / len(_PLACES)) ** len(caption.places) * (1 / len(_RELATIONS)) ** len(
        caption.relations
    )
    return math.log(np.mean(fits)) - math.log(by_chance)


def _fit(caption, objects):
    centers = [((o.box[0] + o.box[2]) / 2, (o.box[1] + o.box[3]) / 2) for o in objects]
    right = []
    for number, place in caption.places.items():
        right.append(tuple(min(int(3 * x), 2) for x in centers[number]) == place)
    for (number, other), words in caption.relations.items():
        apart = [b - a for a, b in zip(centers[number], centers[other], strict=True)]
        axis, sign = _RELATIONS[words]
        right.append(abs(apart[axis]) >= abs(apart[1 - axis]) and apart[axis] * sign > 0)
    return math.prod(1 - _MISTAKE if is_right else _MISTAKE for is_right in right)
