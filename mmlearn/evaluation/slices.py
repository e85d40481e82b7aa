"""Parts of a data set on which predictions are worse: how much, and whether it may be chance."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from mmlearn.evaluation.holm import adjust_by_holm
from mmlearn.evaluation.intervals import draw_all, with_interval

SMALLEST = 10  # examples in a slice, and outside, below which nothing is tested
LARGEST_DISTINCT = 5  # with no more values than this, each is a slice
LEVEL = 0.05  # of significance, after the correction
_AT_A_TIME = 500  # permutations


@dataclass(frozen=True)
class Slice:
    """Some of the examples, by what is known of them and not by the predictions.

    Attributes:
        name: str, such as `"most objects (4 to 9)"`.
        rows: bool `(num_examples,)`.
        is_known: bool `(num_examples,)`, of which examples it is known; the rest are left out.
        case: str, the kind of failure that it stands for, "" if none.
    """

    name: str
    rows: np.ndarray
    is_known: np.ndarray
    case: str = ""


def slice_by(values, lowest, highest, low_case="", high_case="", unit=""):
    """Makes slices of a number: the lowest and the highest third, or one for each of few values.

    Args:
        values: float array `(num_examples,)`, NaN where it is not known.
        lowest: str, what to call a low value, such as `"fewest objects"`.
        highest: str.
        low_case: str, see `Slice.case`.
        high_case: str.
        unit: str, what whole numbers count, such as `"objects"`: few values then are slices each.

    Returns:
        A list of `Slice`; empty where the number never changes.

    Example:

    >>> slices = slice_by(np.array([2, 3, 4, 4.0]), "fewest", "most", unit="objects")
    >>> [(each.name, each.rows.tolist()) for each in slices][-1]
    ('objects: 4', [False, False, True, True])
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    distinct = np.unique(values[known])
    if len(distinct) < 2:
        return []
    if unit and len(distinct) <= LARGEST_DISTINCT:
        cases = {distinct[0]: low_case, distinct[-1]: high_case}
        return [
            Slice(f"{unit}: {value:g}", known & (values == value), known, cases.get(value, ""))
            for value in distinct
        ]
    slices = []
    low, high = np.quantile(values[known], [1 / 3, 2 / 3])
    for name, rows, case in (
        (lowest, known & (values <= low), low_case),
        (highest, known & (values >= high), high_case),
    ):
        inside = values[rows]
        slices.append(
            Slice(f"{name} ({inside.min():.3g} to {inside.max():.3g})", rows, known, case)
        )
    return slices


def compare_slices(
    losses, slices, num_permutations=10_000, num_resamples=1000, seed=0, groups=None
):
    """Compares the mean loss inside of each slice with that outside.

    A permutation test asks how often a difference as large, to either side, comes about when the losses
    are dealt to the examples at random. As there are many slices, the p-values are corrected by Holm's
    method: the probability that any slice is called significant by chance is at most 5 %. That a slice
    is worse does not say why: examples with many objects also have long captions.

    Args:
        losses: float array `(num_examples,)`, NaN where there is none.
        slices: list of `Slice`.
        num_permutations: int.
        num_resamples: int. Of the bootstrap interval of the difference.
        seed: int.
        groups: int array `(num_examples,)`, or `None`. Examples of a group, such as the captions of one
            image, are resampled together, and their losses are dealt next to each other.

    Returns:
        A list of dicts of plain JSON types: `name`, `case`, `num_examples` (inside), `inside` and
        `outside` (mean losses), `difference` (a dict of `value`, `low` and `high`), `p`, `p_holm` and
        `is_significant`. Slices with fewer than `SMALLEST` examples inside or outside are left out;
        slices with the same examples inside are tested once, by all their names, unless they stand for
        two cases.

    Reference:
        Permutation: Efron and Tibshirani 1993, section 15.2; the correction: `adjust_by_holm`.
    """
    losses, found = np.asarray(losses, np.float64), []
    groups = np.arange(len(losses)) if groups is None else np.asarray(groups)
    # Examples of a group side by side, as they are dealt.
    order = np.argsort(groups, kind="stable")
    losses, groups = losses[order], groups[order]
    slices = [
        dataclasses.replace(each, rows=each.rows[order], is_known=each.is_known[order])
        for each in slices
    ]
    counted = [s.is_known & ~np.isnan(losses) for s in slices]
    tested = [
        (each, rows)
        for each, rows in zip(slices, counted, strict=True)
        if min((each.rows & rows).sum(), (~each.rows & rows).sum()) >= SMALLEST
    ]
    for number, (each, rows) in enumerate(_distinct(tested)):
        values, inside, members = losses[rows], each.rows[rows], groups[rows]
        random = np.random.default_rng([seed, number])
        p = _permutation_p(values, inside, members, num_permutations, random)

        def measure(weights, values=values, inside=inside):
            return {"difference": _differences(values, inside, weights)}

        drawn = draw_all(measure, len(values), members, num_resamples, seed)
        found.append(
            {
                "name": each.name,
                "case": each.case,
                "num_examples": int(inside.sum()),
                "inside": float(values[inside].mean()),
                "outside": float(values[~inside].mean()),
                "difference": with_interval(drawn["difference"]),
                "p": p,
            }
        )
    corrected = adjust_by_holm([each["p"] for each in found])
    return [
        {**each, "p_holm": p, "is_significant": p < LEVEL}
        for each, p in zip(found, corrected, strict=True)
    ]


def _distinct(tested):
    """Joins what has the same examples inside, which would be corrected for as several tests."""
    found = []
    for each, rows in tested:
        for place, (first, own) in enumerate(found):
            cases = {first.case, each.case} - {""}
            is_same = (rows == own).all() and (each.rows & rows == first.rows & own).all()
            if is_same and len(cases) < 2:
                both = {"name": f"{first.name} = {each.name}", "case": "".join(cases)}
                found[place] = (dataclasses.replace(first, **both), own)
                break
        else:
            found.append((each, rows))
    return found


def _permutation_p(values, inside, groups, num_permutations, random):
    """The share of permutations whose difference is as large; the data themselves are one of them."""
    size = inside.sum()
    total, rest = values.sum(), len(values) - size

    def apart(sums):
        return np.abs(sums / size - (total - sums) / rest)

    # Dealt again, the same values may sum up to the last digits otherwise.
    observed = apart(values[inside].sum()) * (1 - 1e-9)
    hits, done = 0, 0
    while done < num_permutations:
        count = min(_AT_A_TIME, num_permutations - done)
        hits += int((apart(_deal(values, inside, groups, count, random)) >= observed).sum())
        done += count
    return (1 + hits) / (1 + num_permutations)


def _deal(values, inside, groups, count, random):
    """The sums inside, after the values were dealt anew, those of a group next to each other."""
    different, members = np.unique(groups, return_inverse=True)
    if len(different) == len(values):
        # Any places will do.
        shuffled = random.permuted(np.tile(values, (count, 1)), axis=1)
        return shuffled[:, : inside.sum()].sum(axis=1)
    places = random.permuted(np.tile(np.arange(len(different)), (count, 1)), axis=1)
    rows = np.argsort(places[:, members], axis=1, kind="stable")
    return values[rows][:, inside].sum(axis=1)


def _differences(values, inside, weights):
    """Mean inside minus mean outside of each resample; NaN where one of them is empty."""
    means = []
    for rows in (inside, ~inside):
        total = weights[rows].sum(axis=0)
        mean = values[rows] @ weights[rows] / np.where(total > 0, total, 1)
        means.append(np.where(total > 0, mean, np.nan))
    return means[0] - means[1]
