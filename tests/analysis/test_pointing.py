import numpy as np
import pytest

from data_prep.sources.coco import PlacedObject
from mmlearn.analysis.pointing import (
    centre_prior,
    centres_inside,
    coverage,
    energy_in_box,
    name_objects,
    oracle_points_at,
    points_at,
)

LEFT, RIGHT = (0.0, 0.0, 0.4, 1.0), (0.6, 0.0, 1.0, 1.0)
CATEGORIES = ["ring", "star"]


def thing(category, box=LEFT, color="", **kwargs):
    return PlacedObject(category, box, color, **kwargs)


def named(text, *objects):
    return [
        (item.start, item.category, item.kind, item.boxes, item.is_told_apart)
        for item in name_objects(text.split(), objects, CATEGORIES)
    ]


def test_a_word_names_the_one_object_of_its_category():
    found = named("a ring , a star", thing("ring"), thing("star", RIGHT))
    assert found == [(1, "ring", "visible", [LEFT], False), (4, "star", "visible", [RIGHT], False)]


def test_two_objects_are_ambiguous_unless_the_colour_before_tells_them_apart():
    rings = thing("ring", LEFT, "red"), thing("ring", RIGHT, "blue")
    assert named("a ring", *rings) == [(1, "ring", "ambiguous", [LEFT, RIGHT], False)]
    assert named("a blue ring", *rings) == [(2, "ring", "visible", [RIGHT], True)]
    same = thing("ring", LEFT, "red"), thing("ring", RIGHT, "red")
    assert named("a red ring", *same) == [(2, "ring", "ambiguous", [LEFT, RIGHT], False)]


def test_faint_objects_and_crowds_are_apart_and_what_has_no_box_is_left_out():
    assert named("a ring", thing("ring", is_faint=True))[0][2] == "faint"
    assert named("rings", thing("ring", is_crowd=True))[0][2] == "ambiguous"
    assert named("a star", thing("ring")) == []
    assert named("a blue ring", thing("ring", LEFT, "red"), thing("star", RIGHT, "blue")) == []


def test_cells_count_by_the_area_in_the_box():
    random = np.random.default_rng(0)
    corners = np.sort(random.random((3, 2, 2)), axis=1)
    boxes = [tuple(np.round(box.ravel(), 2)) for box in corners]
    fine = (np.arange(600) + 0.5) / 600
    inside = np.zeros((600, 600), bool)
    for left, top, right, bottom in boxes:
        inside |= ((fine[:, None] >= top) & (fine[:, None] < bottom)) & (
            (fine >= left) & (fine < right)
        )
    expected = inside.reshape(6, 100, 4, 150).mean(axis=(1, 3))
    np.testing.assert_allclose(coverage((6, 4), boxes), expected, atol=1e-9)


def test_a_box_over_the_edge_of_the_image_counts_to_the_edge():
    np.testing.assert_allclose(coverage((1, 2), [(0.5, -0.2, 1.3, 1.4)]), [[0, 1]])
    assert energy_in_box(np.ones((2, 2)), [(0.0, 0.0, 1.0, 1.0)]) == pytest.approx(1)
    assert energy_in_box(np.zeros((2, 2)), [LEFT]) == 0


def test_the_best_cell_points_by_its_centre_and_ties_score_what_chance_does():
    heat = np.zeros((3, 3))
    heat[1, 2] = 1
    assert points_at(heat, [(0.8, 0.4, 0.9, 0.6)]) == 1  # the centre is (5/6, 1/2)
    assert points_at(heat, [(0.7, 0.4, 0.8, 0.6)]) == 0  # in the cell, beside its centre
    assert points_at(np.ones((3, 3)), [(0.0, 0.0, 0.4, 1.0)]) == pytest.approx(1 / 3)
    assert oracle_points_at((3, 3), [(0.7, 0.4, 0.8, 0.6)]) == 0
    assert oracle_points_at((3, 3), [(0.8, 0.4, 0.9, 0.6)]) == 1
    assert centres_inside((2, 2), [RIGHT]).tolist() == [[False, True], [False, True]]


def test_the_centre_prior_is_highest_in_the_middle_and_symmetric():
    heat = centre_prior((6, 6))
    assert heat.sum() == pytest.approx(1)
    assert (heat == heat.max()).sum() == 4 and heat[2, 2] == heat.max()
    np.testing.assert_allclose(heat, heat[::-1, ::-1])
