import numpy as np
import pytest

from mmlearn.analysis.deletion import area_under, deletion_images, insertion_images, random_order


def image():
    return np.random.default_rng(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)


def test_the_hottest_cells_go_first():
    heat = np.zeros((3, 2))
    heat[2, 1], heat[0, 0] = 2, 1
    pictures = deletion_images(image(), heat, num_steps=6)
    mean = image().mean(axis=(0, 1)).round()
    assert pictures.shape == (7, 12, 8, 3)
    np.testing.assert_array_equal(pictures[0], image())
    changed = [(picture != image()).any(axis=-1) for picture in pictures]
    assert changed[1][8:, 4:].mean() > 0.9 and changed[1].sum() <= 16
    assert changed[2][:4, :4].mean() > 0.9 and changed[2].sum() <= 32
    assert (pictures[-1] == mean).all()


def test_insertion_ends_with_the_image_and_starts_blurred():
    pictures = insertion_images(image(), np.arange(6.0).reshape(3, 2), num_steps=3)
    np.testing.assert_array_equal(pictures[-1], image())
    assert pictures[0].std() < 0.5 * image().std()
    np.testing.assert_array_equal(pictures[1][8:], image()[8:])  # the two hottest of six cells
    np.testing.assert_array_equal(pictures[1][:8], pictures[0][:8])


def test_a_grid_that_does_not_divide_the_image_covers_all_of_it():
    pictures = deletion_images(image(), random_order((5, 3), 0), num_steps=4)
    assert (pictures[-1] == pictures[-1][0, 0]).all()


def test_the_area_is_that_of_trapezoids():
    scores = np.array([[1.0, 0.5, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert area_under(scores) == pytest.approx(np.trapezoid(scores, dx=1 / 3))


def test_a_random_order_is_the_same_for_a_seed():
    assert (random_order((3, 3), [0, 1]) == random_order((3, 3), [0, 1])).all()
    assert (random_order((3, 3), [0, 1]) != random_order((3, 3), [0, 2])).any()
