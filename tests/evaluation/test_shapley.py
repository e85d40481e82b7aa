"""Shapley values against their definition and hand-computed games."""

import itertools

import numpy as np
import pytest

from mmlearn.evaluation.shapley import shapley_values


def all_subsets(players):
    return [s for size in range(len(players) + 1) for s in itertools.combinations(players, size)]


def test_the_glove_game():
    # One has a left glove, two have a right one each; a pair is worth 1.
    worth = {s: float("left" in s and len(s) > 1) for s in all_subsets(["left", "r1", "r2"])}
    found = shapley_values(worth)
    assert found == pytest.approx({"left": 4 / 6, "r1": 1 / 6, "r2": 1 / 6}, abs=1e-15)


def test_it_is_the_mean_over_all_orders_of_joining():
    random, players = np.random.default_rng(0), "abcde"
    worth = {s: random.normal() for s in all_subsets(players)}
    orders = list(itertools.permutations(players))
    expected = dict.fromkeys(players, 0.0)
    for order in orders:
        for place, player in enumerate(order):
            before = tuple(sorted(order[:place]))
            after = tuple(sorted((*before, player)))
            expected[player] += (worth[after] - worth[before]) / len(orders)
    assert shapley_values(worth) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_it_sums_to_the_total_and_gives_a_dummy_nothing(count):
    random = np.random.default_rng(count)
    players = [f"p{number}" for number in range(count)]
    worth = {s: random.normal(size=50) * 1e3 for s in all_subsets(players)}
    with_dummy = {
        tuple(sorted((*s, *extra))): value
        for s, value in worth.items()
        for extra in ((), ("dummy",))
    }
    found = shapley_values(with_dummy)
    total = worth[tuple(players)] - worth[()]
    np.testing.assert_allclose(sum(found.values()), total, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["dummy"], 0, atol=1e-9)


def test_a_missing_subset_is_named():
    with pytest.raises(ValueError, match=r"every subset.* none for \('b',\)"):
        shapley_values({(): 0.0, ("a",): 1.0, ("a", "b"): 2.0})
