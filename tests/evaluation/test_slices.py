"""Slices: what they hold, the permutation test, its correction."""

import itertools

import numpy as np
import pytest

from mmlearn.evaluation.slices import Slice, compare_slices, slice_by


def test_few_values_are_a_slice_each_and_many_are_thirds():
    counts = np.array([1, 2, 2, np.nan, 3])
    slices = slice_by(counts, "fewest", "most", "few", "complex", "objects")
    assert [each.name for each in slices] == ["objects: 1", "objects: 2", "objects: 3"]
    assert [each.case for each in slices] == ["few", "", "complex"]
    assert slices[1].rows.tolist() == [False, True, True, False, False]
    assert not slices[0].is_known[3]
    low, high = slice_by(np.arange(9.0), "shortest", "longest", high_case="long", unit="words")
    assert low.name == "shortest (0 to 2)"
    assert low.rows.sum() == high.rows.sum() == 3
    assert high.case == "long"
    assert slice_by(np.ones(5), "a", "b") == []


def test_p_is_that_of_all_permutations():
    losses = np.array([3.0, 2.5, *np.linspace(0, 2, 18)])
    rows = np.arange(20) % 2 == 0
    rows[1], rows[4] = True, False
    (found,) = compare_slices(losses, [Slice("a", rows, np.ones(20, bool))], 20_000)
    observed = losses[rows].mean() - losses[~rows].mean()
    chosen = np.array(list(itertools.combinations(losses, 10))).sum(axis=1)
    apart = np.abs(chosen - (losses.sum() - chosen)) / 10
    expected = np.mean(apart >= abs(observed) - 1e-12)
    assert 0.05 < expected < 0.95
    assert found["p"] == pytest.approx(expected, abs=0.012)
    assert found["difference"]["value"] == pytest.approx(observed, abs=1e-12)


def test_a_worse_slice_is_found_and_chance_is_not():
    random = np.random.default_rng(1)
    losses = random.exponential(size=300)
    hard = random.random(300) < 0.2
    losses[hard] += 1.0
    losses[0] = np.nan
    known = np.ones(300, bool)
    slices = [Slice(f"chance {n}", random.random(300) < 0.5, known) for n in range(10)]
    few = Slice("few", np.arange(300) < 5, known)
    found = compare_slices(losses, [Slice("hard", hard, known, "case"), few, *slices], 2000)
    assert "few" not in [each["name"] for each in found]
    assert [each["name"] for each in found if each["is_significant"]] == ["hard"]
    own = found[0]
    assert own["case"] == "case"
    assert own["p"] == pytest.approx(1 / 2001)
    assert own["p_holm"] == pytest.approx(11 / 2001)
    assert own["inside"] - own["outside"] == pytest.approx(own["difference"]["value"])
    assert 0.5 < own["difference"]["low"] < own["difference"]["high"] < 1.7


def test_slices_of_the_same_examples_are_one_test():
    losses, known = np.random.default_rng(0).random(40), np.ones(40, bool)
    rows = np.arange(40) < 20
    slices = [
        Slice("few words", rows, known),
        Slice("other", np.arange(40) % 2 == 0, known),
        Slice("few objects", rows.copy(), known, "simple"),
    ]
    first, second = compare_slices(losses, slices, 500)
    assert (first["name"], first["case"]) == ("few words = few objects", "simple")
    assert second["name"] == "other"
    assert first["p_holm"] <= 2 * first["p"]


def test_captions_of_one_image_are_not_five_examples():
    random = np.random.default_rng(4)
    images = np.repeat(np.arange(40), 5)
    losses = (random.normal(size=40) + 0.35 * (np.arange(40) < 20))[images]
    rows, order = images < 20, random.permutation(200)
    own = Slice("first images", rows[order], np.ones(200, bool))
    (alone,) = compare_slices(losses[order], [own], 2000)
    (found,) = compare_slices(losses[order], [own], 2000, groups=images[order])
    # That of the images, one example each.
    (expected,) = compare_slices(
        losses[::5], [Slice("first images", rows[::5], np.ones(40, bool))], 2000
    )
    assert alone["p"] < 0.5 * found["p"]
    assert found["p"] == pytest.approx(expected["p"], abs=0.04)
    widths = [each["difference"]["high"] - each["difference"]["low"] for each in (alone, found)]
    assert widths[1] / widths[0] == pytest.approx(5**0.5, rel=0.2)


def test_the_same_examples_for_two_cases_stay_two():
    losses, known = np.random.default_rng(0).random(40), np.ones(40, bool)
    rows = np.arange(40) < 20
    slices = [Slice("many objects", rows, known, "complex"), Slice("long", rows, known, "long")]
    assert [each["case"] for each in compare_slices(losses, slices, 100)] == ["complex", "long"]
