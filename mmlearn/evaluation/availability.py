"""How good predictions are where modalities are there for a part of the examples only."""

import itertools

import numpy as np

from mmlearn.evaluation.classification import per_class_average_precision

SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)


def predict_subsets(task, dataset):
    """Predicts with every subset of the modalities declared present, one pass over the data each.

    Args:
        task: `MultimodalClassifier`.
        dataset: dataset of `(x, y, ...)` in a fixed order, raw or of model inputs.

    Returns:
        `labels`, int `(num_examples, num_classes)`; `present`, dict of modality to bool
        `(num_examples,)`, what the data have; and `predictions`, dict of tuple of modalities, in
        alphabetical order, to `(num_examples, num_classes)`. Rows that have none of a tuple's
        modalities are of no use.

    Raises:
        ValueError: see `check_has_grid`.
    """
    check_has_grid(task)
    modalities = task.backbone.modalities
    dataset = dataset.map(lambda x, y, *_: (task.preprocess_samples(x), y))
    labels, present = [], {modality: [] for modality in modalities}
    for x, y in dataset:
        labels.append(y.numpy())
        for modality in modalities:
            present[modality].append(x[f"{modality}_present"].numpy() == 1)
    predictions = {}
    for subset in subsets(modalities):

        def without_others(x, _, subset=subset):
            hidden = [f"{modality}_present" for modality in modalities if modality not in subset]
            return {name: 0 * value if name in hidden else value for name, value in x.items()}

        predictions[subset] = task.predict(dataset.map(without_others), verbose=0)
    present = {modality: np.concatenate(values) for modality, values in present.items()}
    return np.concatenate(labels).astype(int), present, predictions


def check_has_grid(task):
    """Checks that a task has a grid of availability.

    Args:
        task: a task.

    Raises:
        ValueError: when it predicts numbers, has several heads, or one modality.
    """
    if len(task.described) > 1 or task.described[task.main_output].is_regression:
        raise ValueError(
            "The grid of availability shows mAP, so it needs a model with one head, of classes. "
            f"Received: {type(task).__name__}. Fix: leave out --availability."
        )
    if len(task.backbone.modalities) < 2:
        raise ValueError(
            "The grid of availability needs a model of two or more modalities, of which one can be "
            f"missing. Received: {', '.join(task.backbone.modalities)}. Fix: leave out --availability."
        )


def subsets(modalities):
    """All subsets but the empty one, as tuples in alphabetical order, small ones first."""
    modalities = sorted(modalities)
    sizes = range(1, len(modalities) + 1)
    return [subset for size in sizes for subset in itertools.combinations(modalities, size)]


def draw_available(present, shares, seed=0):
    """Draws which modalities of which examples are available.

    Each modality is drawn independently, among the examples that have it. With the same seed, what
    is available at a share is available at a larger one, too. An example that would lose everything
    it has keeps the modality that it would have lost last, except one whose share is 0; so more
    than the wanted shares are available where these are small.

    Args:
        present: dict of modality to bool `(num_examples,)`.
        shares: dict of modality to float in [0, 1].
        seed: int.

    Returns:
        Dict of modality to bool `(num_examples,)`.

    Example:

    >>> present = {"images": np.ones(4, bool), "text": np.ones(4, bool)}
    >>> available = draw_available(present, {"images": 0.5, "text": 1.0})
    >>> {modality: int(there.sum()) for modality, there in available.items()}
    {'images': 2, 'text': 4}
    """
    modalities = sorted(present)
    # When an example loses a modality: the share from which on it is available.
    lost_at = np.full((len(modalities), len(present[modalities[0]])), np.inf)
    for number, modality in enumerate(modalities):
        rows = np.flatnonzero(present[modality])
        order = np.random.default_rng([seed, number]).permutation(len(rows))
        lost_at[number, rows[order]] = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    wanted = np.array([[shares[modality]] for modality in modalities])
    available = lost_at < wanted
    lost_at = np.where(wanted > 0, lost_at, np.inf)
    is_last = (lost_at == lost_at.min(axis=0)) & np.isfinite(lost_at)
    available |= is_last & ~available.any(axis=0)
    return dict(zip(modalities, available, strict=True))


def availability_grid(labels, present, predictions, shares=SHARES, seed=0):
    """Scores every combination of shares of the examples for which modalities are available.

    No model runs: a cell takes each example's prediction from what `draw_available` leaves of it.

    Args:
        labels: int array `(num_examples, num_classes)`; -1 is unknown and does not count.
        present: dict of modality to bool `(num_examples,)`, what the data have.
        predictions: dict of tuple of modalities to `(num_examples, num_classes)`, see
            `predict_subsets`.
        shares: floats in [0, 1].
        seed: int. Of the draw.

    Returns:
        A dict of plain JSON types: `modalities`, `shares`, `seed`, and `cells`, a list of dicts of
        `shares` (of each modality, in their order), `available` (the shares that are, of the
        examples that have the modality, in the same order), `num_examples` (that have any) and
        `mAP`; `None` where no class has a positive. There is no cell where all shares are 0.

    Raises:
        ValueError: when there are fewer than two modalities.

    Example:

    >>> labels = np.array([[1, 0], [0, 1]])
    >>> right, wrong = labels * 0.8 + 0.1, 0.9 - labels * 0.8
    >>> predictions = {("images",): wrong, ("text",): right, ("images", "text"): right}
    >>> present = {"images": np.ones(2, bool), "text": np.ones(2, bool)}
    >>> grid = availability_grid(labels, present, predictions, shares=(1.0, 0.0))
    >>> [(cell["shares"], cell["mAP"]) for cell in grid["cells"]]
    [([1.0, 1.0], 1.0), ([1.0, 0.0], 0.5), ([0.0, 1.0], 1.0)]
    """
    modalities = sorted(present)
    if len(modalities) < 2:
        raise ValueError(
            "The grid needs a model of two or more modalities, of which one can be missing. Received: "
            f"{', '.join(modalities)}."
        )
    cells = []
    for combination in itertools.product(shares, repeat=len(modalities)):
        if not any(combination):
            continue
        wanted = dict(zip(modalities, combination, strict=True))
        available = draw_available(present, wanted, seed)
        probabilities = np.zeros(labels.shape, np.float64)
        counted = np.zeros(len(labels), bool)
        for subset, values in predictions.items():
            rows = np.all([available[m] == (m in subset) for m in modalities], axis=0)
            probabilities[rows] = values[rows]
            counted |= rows
        found = per_class_average_precision(labels[counted], probabilities[counted])
        found = found[~np.isnan(found)]
        cells.append(
            {
                "shares": list(combination),
                "available": [
                    float(available[m].sum() / max(present[m].sum(), 1)) for m in modalities
                ],
                "num_examples": int(counted.sum()),
                "mAP": float(found.mean()) if len(found) else None,
            }
        )
    return {"modalities": modalities, "shares": list(shares), "seed": seed, "cells": cells}
