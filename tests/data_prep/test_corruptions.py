"""Damage to images: seeded, stronger with the severity, of the same shape."""

import numpy as np
import pytest

from data_prep.corruptions import CORRUPTIONS, SEVERITIES, corrupt


def picture(height=96, width=128):
    """A picture with round edges, colours and a gradient."""
    y, x = np.mgrid[:height, :width] / height
    image = np.stack([190 * x, 190 * y, 60 + 70 * (x + y)], axis=-1).astype(np.uint8)
    for column, row, radius in ((0.31, 0.37, 0.21), (0.87, 0.61, 0.13), (0.5, 0.85, 0.09)):
        image[np.hypot(x - column, y - row) < radius] = (220, 30, 40)
    return image


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_damage_grows_with_the_severity_and_is_the_same_for_a_seed(name):
    image = picture()
    kept = image.copy()
    damaged = [corrupt(image, name, severity, (0, 3)) for severity in SEVERITIES]
    np.testing.assert_array_equal(image, kept)  # the input is left alone
    apart = [np.abs(each.astype(float) - image).mean() for each in damaged]
    assert apart[0] > 0
    assert (np.diff(apart) > 0).all(), apart
    for each in damaged:
        assert (each.shape, each.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(damaged[2], corrupt(image, name, 3, (0, 3)))


RANDOM = ("gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "fog")
RANDOM += ("darkness", "occlusion", "elastic")


@pytest.mark.parametrize("name", RANDOM)
def test_each_example_has_a_draw_of_its_own(name):
    image = picture()
    first, second = (corrupt(image, name, 3, (0, row)) for row in (0, 1))
    assert (first != second).any()


def test_a_severity_means_the_same_at_any_size():
    small, large = picture(), picture(288, 384)
    for name in ("defocus_blur", "pixelate", "occlusion"):
        found = [corrupt(image, name, 3, (0, 0)).astype(float) for image in (small, large)]
        apart = [np.abs(each - i).mean() for each, i in zip(found, (small, large), strict=True)]
        assert apart[1] == pytest.approx(apart[0], rel=0.25), name


def test_what_can_be_computed_by_hand():
    image = picture()
    covered = corrupt(image, "occlusion", 3, (0, 0))
    share = (covered == 127).all(axis=-1).mean()
    assert share == pytest.approx(0.2, abs=0.02)
    noisy = corrupt(np.full((100, 100, 3), 100, np.uint8), "impulse_noise", 5)
    assert np.isin(noisy, (0, 255)).all(axis=-1).mean() == pytest.approx(0.2, abs=0.02)
    noisy = corrupt(np.full((100, 100, 3), 128, np.uint8), "gaussian_noise", 2)
    assert noisy.std() == pytest.approx(20, rel=0.03)
    grey = corrupt(image, "desaturate", 5)
    assert (grey == grey[..., :1]).all()
    dull = corrupt(image, "contrast", 5)
    assert dull.std() == pytest.approx(0.1 * image.std(), rel=0.1)


def test_unknown_names_and_severities_are_refused():
    with pytest.raises(ValueError, match=r"Did you mean.*fog"):
        corrupt(picture(), "fogs", 1)
    for severity in (0, 6, 2.5):
        with pytest.raises(ValueError, match=r"`severity` must be an int from 1 to 5"):
            corrupt(picture(), "fog", severity)
