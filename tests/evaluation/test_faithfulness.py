"""Whether what captions mention is there."""

import numpy as np

from data_prep.sources.shapes import COLORS, SHAPES
from mmlearn.analysis.example_slices import find_objects
from mmlearn.evaluation.faithfulness import (
    faithfulness,
    faithfulness_counts,
    mentioned_objects,
)


def test_finds_colours_followed_by_shapes():
    text = "i can see one red circle above a green star, a red ring at the top"
    expected = [("red", "circle"), ("green", "star"), ("red", "ring")]
    assert mentioned_objects(text, COLORS, SHAPES) == expected
    assert mentioned_objects("some shapes, red, a circle", COLORS, SHAPES) == []


def test_two_mentions_need_two_objects():
    scenes = [[("red", "ring")], [("red", "ring"), ("red", "ring"), ("blue", "star")]]
    counts = faithfulness_counts(["a red ring, a red ring"] * 2, scenes, COLORS, SHAPES)
    assert counts.tolist() == [[2, 1, 1], [2, 2, 3]]


def test_shares_are_of_all_captions_together():
    counts = np.array([[1.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 0.0, 3.0]])
    weights = np.array([[1.0, 2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = faithfulness(counts, weights)
    np.testing.assert_allclose(found["faithfulness"], [0.5, 1.0, np.nan])
    np.testing.assert_allclose(found["coverage"], [0.5, 0.5, 0.0])


def test_people_mention_what_is_there(shapes):
    scenes = [[(o.color, o.category) for o in own] for own in find_objects(shapes, "val")]
    for number in range(5):
        captions = [own[number] for own in shapes.examples("val").captions]
        counts = faithfulness_counts(captions, scenes, COLORS, SHAPES)
        assert faithfulness(counts, np.ones((len(counts), 1)))["faithfulness"] == 1.0
