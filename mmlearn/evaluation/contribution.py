"""What each modality contributes to the predictions of a trained model, in several ways."""

from dataclasses import dataclass

import numpy as np

from mmlearn.evaluation.availability import subsets
from mmlearn.evaluation.encoded import EncodedPredictor
from mmlearn.evaluation.example_scores import example_score_name, example_scores
from mmlearn.evaluation.intervals import draw_all, with_interval
from mmlearn.evaluation.scores import score_name, weighted_score
from mmlearn.evaluation.shapley import shapley_values

DOMINANT = 0.75  # a modality with at least this share dominates: it has three times the others' sum


@dataclass(frozen=True)
class SubsetPredictions:
    """What a model predicts from each subset of the modalities, and with exchanged ones.

    Attributes:
        labels: array `(num_examples, num_columns)`.
        present: dict of modality to bool `(num_examples,)`, what the data have.
        subsets: dict of tuple of modalities to `(num_examples, num_columns)`; an example that has none
            of them, and all in `()`, gets the prior.
        exchanged: dict of modality to a list of `(num_examples, num_columns)`, of which each is
            predicted with that modality of other examples.
        weights: `(num_examples, num_modalities)`, the fusion's own weights with all that is there,
            or `None`.
    """

    labels: np.ndarray
    present: dict
    subsets: dict
    exchanged: dict
    weights: np.ndarray | None


def predict_contributions(
    task, dataset, prior, num_permutations=5, seed=0, batch_size=32, progress=None
):
    """Predicts what `measure_contribution` compares. Each example is encoded once.

    Args:
        task: `MultimodalClassifier` or `MultimodalRegressor` of two or more modalities.
        dataset: dataset of `(x, y, ...)` in a fixed order, raw or of model inputs.
        prior: float array `(num_columns,)`, the prediction from nothing: the share of each label, or the
            mean of each target, in the training split.
        num_permutations: int. How often each modality is exchanged among the examples that have it.
        seed: int. Of these exchanges, in which nobody keeps its own.
        batch_size: int.
        progress: function `(done, total)`, or `None`.

    Returns:
        `SubsetPredictions`.

    Raises:
        ValueError: when the task has one modality, or several heads.
    """
    _check(task)
    predictor = EncodedPredictor(task, batch_size)
    modalities = task.backbone.modalities
    steps = 1 + 2 ** len(modalities) - 1 + len(modalities) * num_permutations
    done = 0

    def advance():
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    examples = predictor.encode(dataset)
    advance()
    prior = np.asarray(prior, np.float32)

    def predict(changed):
        found = predictor.predict(changed)
        advance()
        return np.where(changed.has_any[:, None], found["fused"], prior), found

    predictions, weights = {(): np.tile(prior, (len(examples), 1))}, None
    for subset in subsets(modalities):
        predictions[subset], found = predict(examples.only(subset))
        weights = found.get("modality_weights")  # the last subset is everything
    random = np.random.default_rng(seed)
    exchanged = {modality: [] for modality in modalities}
    for modality, found in exchanged.items():
        for _ in range(num_permutations):
            donors = derangement(examples.present[modality], random)
            found.append(predict(examples.exchanged(modality, donors))[0])
    return SubsetPredictions(examples.labels, examples.present, predictions, exchanged, weights)


def derangement(is_there, random):
    """Draws from which other row each row gets something, in a circle; rows without keep theirs.

    Args:
        is_there: bool `(num_examples,)`, which rows take part.
        random: `numpy.random.Generator`.

    Returns:
        int array `(num_examples,)`.

    Example:

    >>> derangement(np.array([True, True, False]), np.random.default_rng(0)).tolist()
    [1, 0, 2]
    """
    donors = np.arange(len(is_there))
    order = random.permutation(np.flatnonzero(is_there))
    donors[order] = np.roll(order, 1)
    return donors


def measure_contribution(head, found, num_resamples=500, seed=0, groups=None):
    """Measures what each modality contributes to the score of the fused prediction.

    The value of a subset of the modalities is the score (mAP, or R²) of what the model predicts when
    the others are declared absent; that of none is the prior's. Of each modality:

    - `shapley`: its Shapley value, which divides the score minus the prior's among the modalities;
    - `share`: the absolute Shapley value, divided by the sum of those of all modalities;
    - `alone`: the score with this modality only, minus the prior's;
    - `leave_one_out`: the score minus that without the modality;
    - `permutation`: the score minus the mean score with the modality of other examples, which misleads
      where absence only tells nothing;
    - `weight`: the mean of the fusion's own, adaptive weight, over examples that have everything;
    - `example_shapley`, `example_share`: likewise of the mean of the single examples' scores, see
      `example_scores`;
    - `dominated_examples`: the share of the examples that it dominates.

    A modality dominates where its share is at least `DOMINANT` and its Shapley value positive. A model
    that was trained without modality dropout does not know absence: all but `permutation` are then too
    large.

    Args:
        head: `Head` of the predictions.
        found: `SubsetPredictions`.
        num_resamples: int. Of the bootstrap.
        seed: int. Likewise.
        groups: int array `(num_examples,)`, or `None`. Examples of a group are resampled together.

    Returns:
        A dict of plain JSON types: `score` and `example_score` (their names), `num_examples`,
        `modalities` (dict of the name to the measures above, each a dict of `value`, `low` and `high`;
        the last one a float), `subsets` (list of dicts of `modalities`, `score` and `example_score`),
        `total` (the score minus the prior's), `dominance` (such as `"text-dominant"`, or `"balanced"`)
        and `sums_to_total_within` (how far the Shapley values are from that).

        And a dict of arrays of the examples: `shapley (num_examples, num_modalities)`, `dominance`
        (list of str: also `"misled"`, where everything together predicts worse than the prior) and
        `weights`, or `None`.

    Reference:
        Shapley 1953; Lundberg and Lee 2017; of permutation Gat et al., "Perceptual score: what data
        modalities does your model perceive?", 2021, section 3.
    """
    labels, modalities = found.labels, sorted(found.present)
    everything = tuple(modalities)
    by_example = {s: example_scores(head, labels, p) for s, p in found.subsets.items()}
    example_values = shapley_values(by_example)
    example_totals = by_example[everything] - by_example[()]

    def measure(weights):
        def score(predictions):
            return weighted_score(head.kind, labels, predictions, weights)

        values = {s: score(p) for s, p in found.subsets.items()}
        means = {s: _mean(each, weights) for s, each in by_example.items()}
        shapley, example = shapley_values(values), shapley_values(means)
        measured = {("total",): values[everything] - values[()]}
        for s in values:
            measured["score", s], measured["example_score", s] = values[s], means[s]
        for m in modalities:
            without = tuple(each for each in modalities if each != m)
            measured["shapley", m], measured["share", m] = shapley[m], _share(shapley, m)
            measured["alone", m] = values[m,] - values[()]
            measured["leave_one_out", m] = values[everything] - values[without]
            if found.exchanged[m]:
                mixed = np.mean([score(p) for p in found.exchanged[m]], axis=0)
                measured["permutation", m] = values[everything] - mixed
            measured["example_shapley", m] = example[m]
            measured["example_share", m] = _share(example, m)
        if found.weights is not None:
            complete = weights * np.all(list(found.present.values()), axis=0)[:, None]
            for column, m in enumerate(modalities):
                measured["weight", m] = _mean(found.weights[:, column], complete)
        return measured

    drawn = draw_all(measure, len(labels), groups, num_resamples, seed)
    values = {name: float(each[0]) for name, each in drawn.items()}
    limits = dict.fromkeys(("share", "example_share", "weight"), (0.0, 1.0))
    if not head.is_regression:
        limits["score"] = (0.0, 1.0)
    intervals = {name: with_interval(each, limits.get(name[0])) for name, each in drawn.items()}
    flags = _flags(example_values, example_totals)
    described = {
        m: {
            **{name[0]: each for name, each in intervals.items() if name[1:] == (m,)},
            "dominated_examples": float(np.mean([flag == f"{m}-dominant" for flag in flags])),
        }
        for m in modalities
    }
    overall = {m: np.array([values["shapley", m]]) for m in modalities}
    (dominance,) = _flags(overall, np.array([values[("total",)]]))
    record = {
        "score": score_name(head.kind),
        "example_score": example_score_name(head),
        "num_examples": len(labels),
        "modalities": described,
        "subsets": [
            {
                "modalities": list(s),
                "score": intervals["score", s],
                "example_score": intervals["example_score", s],
            }
            for s in found.subsets
        ],
        "total": intervals[("total",)],
        "dominance": dominance,
        "sums_to_total_within": abs(
            sum(values["shapley", m] for m in modalities) - values[("total",)]
        ),
    }
    stacked = np.stack([example_values[m] for m in modalities], axis=1)
    return record, {"shapley": stacked, "dominance": flags, "weights": found.weights}


def _mean(values, weights):
    """The mean over the examples that have a value, under each weighting."""
    known = ~np.isnan(values)
    total = weights[known].sum(axis=0)
    return np.where(total > 0, values[known] @ weights[known] / np.where(total, total, 1), np.nan)


def _share(values, modality):
    total = sum(map(np.abs, values.values()))
    return np.where(total > 0, np.abs(values[modality]) / np.where(total, total, 1), np.nan)


def _flags(values, totals):
    """Which modality dominates each game, of Shapley values and what they sum to."""
    modalities = sorted(values)
    stacked = np.stack([values[m] for m in modalities], axis=1)
    size = np.abs(stacked).sum(axis=1)
    first = stacked.argmax(axis=1)
    best = stacked.max(axis=1)
    flags = []
    for row, column in enumerate(first):
        if not totals[row] > 0:
            flags.append("misled" if totals[row] < 0 else "balanced")
        elif best[row] >= DOMINANT * size[row]:
            flags.append(f"{modalities[column]}-dominant")
        else:
            flags.append("balanced")
    return flags


def _check(task):
    if len(task.described) > 1:
        raise ValueError(
            f"Contributions are of a model with one head. Received: {type(task).__name__} with "
            f"{len(task.described)}. Fix: a MultimodalClassifier or MultimodalRegressor."
        )
    if len(task.backbone.modalities) < 2:
        raise ValueError(
            "Contributions need a model of two or more modalities. Received: "
            f"{', '.join(task.backbone.modalities)}. Fix: a model of images and text, for example."
        )
