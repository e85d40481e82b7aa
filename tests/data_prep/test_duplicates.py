import cv2
import numpy as np
import pytest

from data_prep.duplicates import MAX_DIFFERENCE, MAX_DISTANCE, difference_hash, find_groups


def pictures(count, seed=0, cells=4):
    """Smooth random pictures."""
    random = np.random.default_rng(seed)
    grids = random.integers(0, 256, (count, cells, cells, 3), dtype=np.uint8)
    return np.stack([cv2.resize(grid, (16, 16), interpolation=cv2.INTER_CUBIC) for grid in grids])


def flat(*colors):
    return np.stack([np.full((16, 16, 3), color, np.uint8) for color in colors])


def as_lists(groups):
    return [group.tolist() for group in groups]


def test_the_hash_has_a_bit_for_each_step_that_gets_brighter():
    falling = np.arange(240, 80, -10, dtype=np.uint8)[None, :, None] * np.ones((16, 1, 3), np.uint8)
    # Two rows of pixels are one row of bits, and one row of bits is one byte.
    half = falling.copy()
    half[6:8] = falling[6:8, ::-1]
    hashes = difference_hash(np.stack([falling, falling[:, ::-1], half]))
    assert [f"{h:016x}" for h in hashes.tolist()] == ["0" * 16, "f" * 16, "00000000ff000000"]


def test_flat_pictures_have_the_hash_zero_whatever_their_color():
    colors = np.random.default_rng(0).integers(0, 256, (200, 3))
    assert set(difference_hash(flat(*colors)).tolist()) == {0}


def test_copies_are_found_and_others_are_not():
    thumbnails = pictures(6)
    noise = np.random.default_rng(1).integers(-2, 3, thumbnails.shape)
    noisy = np.clip(thumbnails.astype(int) + noise, 0, 255).astype(np.uint8)
    thumbnails = np.concatenate([thumbnails, noisy[[4, 1]], thumbnails[[1]]])
    assert as_lists(find_groups(thumbnails)) == [[1, 7, 8], [4, 6]]


@pytest.mark.parametrize("count", [0, 1])
def test_no_pictures_and_a_single_one_have_no_groups(count):
    assert find_groups(pictures(1)[:count]) == []


def test_flat_pictures_are_copies_only_where_their_colors_are():
    red_and_green_of_one_brightness = [(150, 0, 0), (0, 76, 0)]
    assert find_groups(flat(*red_and_green_of_one_brightness)) == []
    assert as_lists(find_groups(flat(90, 100, 104, 109))) == [[1, 2]]


def test_pictures_that_differ_in_one_small_thing_are_no_copies():
    thumbnails = np.repeat(pictures(1), 3, axis=0) // 2
    thumbnails[1, 5, 5] += 48
    thumbnails[2, 9, 9] += 49
    assert len(set(difference_hash(thumbnails).tolist())) > 1
    assert as_lists(find_groups(thumbnails)) == [[0, 1]]


def test_a_row_of_small_steps_is_not_one_group():
    groups = as_lists(find_groups(flat(*range(0, 30, 3))))
    # 3 is near 0 and 6, but 0 and 6 are not near; what is left over is in the group of its neighbor.
    assert groups == [[0, 1], [2, 1, 3], [4, 3, 5], [6, 5, 7], [8, 7, 9]]


def test_the_search_finds_all_that_comparing_every_pair_finds():
    # Noise that takes many pairs near to one limit or to both.
    base = pictures(150, seed=2, cells=3) // 2 + 60
    noise = np.random.default_rng(3).integers(-6, 7, (4, *base.shape))
    thumbnails = np.concatenate([base, *np.clip(base + noise, 0, 255)]).astype(np.uint8)
    hashes = difference_hash(thumbnails)
    distance = np.bitwise_count(hashes[:, None] ^ hashes)
    difference = np.stack([np.abs(t.astype(int) - thumbnails).mean((1, 2, 3)) for t in thumbnails])
    has_near_hash, looks_near = distance <= MAX_DISTANCE, difference <= MAX_DIFFERENCE
    is_pair = has_near_hash & looks_near
    for few in (
        is_pair ^ np.eye(len(is_pair), dtype=bool),
        is_pair ^ has_near_hash,
        is_pair ^ looks_near,
    ):
        assert few.sum() > 300
    expected = {(i, j) for i, j in np.argwhere(is_pair).tolist() if i != j}
    groups = as_lists(find_groups(thumbnails))
    assert {i for pair in expected for i in pair} == {i for group in groups for i in group}
    assert {(group[0], other) for group in groups for other in group[1:]} <= expected
    for first, *others in groups:
        assert sorted(others) == others == sorted(j for i, j in expected if i == first)
