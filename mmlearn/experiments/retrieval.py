"""The task that finds images by texts and texts by images."""

import numpy as np

from data_prep.names import call
from mmlearn.analysis.example_slices import find_objects
from mmlearn.analysis.recall import plot_recall
from mmlearn.evaluation.embedded import embed_split, matcher
from mmlearn.evaluation.intervals import difference, draw_all, interval
from mmlearn.evaluation.matching import matching_accuracy
from mmlearn.evaluation.reranking import rerank_both
from mmlearn.evaluation.retrieval import (
    DIRECTIONS,
    LIMITS,
    draw_ranks,
    mean_over_folds,
    rank,
)
from mmlearn.evaluation.shapes_oracles import caption_oracles
from mmlearn.evaluation.weighted import weighted_map
from mmlearn.evaluation.zero_shot import embed_classes
from mmlearn.experiments.backbone import build_backbone
from mmlearn.experiments.task_kind import Measured, TaskKind
from mmlearn.models import ImageTextRetriever

FOLD = 1000  # images of a fold of COCO 1K
RERANKED = "reranked_{}"


def check_retrieval(config, source):
    """Checks that there are images with captions, see `TaskKind`."""
    there = source.examples("train").modalities
    for modality in ("images", "text"):
        if modality not in there:
            raise ValueError(
                f"The data in {source.root!r} have no {modality}, and a retriever needs images with "
                "captions. Fix: another source (python -m mmlearn list sources)."
            )


def build_retrieval(config, source, encoders, preprocessor=None, dtype=None):
    """Builds a retriever, see `TaskKind`."""
    options = {
        "backbone": build_backbone(config, encoders, dtype),
        "preprocessor": preprocessor,
        "hidden_dim": config.head_hidden_dim,
        "dropout": config.dropout,
    }
    return call(ImageTextRetriever, {**options, **config.task.options}, "task 'retrieval'")


def measure_retrieval(task, source, split, dataset, prior):
    """Ranks in both directions, with and without re-ranking, and what they are compared with.

    Rows are the directions; `reranked_` before them stands for the best ten ordered again by the match;
    `oracle_objects_` and `oracle_scene_` for who knows the synthetic scenes, see
    `mmlearn.evaluation.shapes_oracles`; `folds_` for the mean over folds of 1,000 images, where there
    are several. `matching` is the accuracy of the match, `zero_shot` the mean average precision of the
    cosines of images and class names, `prior` that of chance.
    """
    images, texts = embed_split(task, source, split, dataset)
    match = matcher(task, images, texts)
    ranks, again = rerank_both(images, texts, match)
    drawn = draw_ranks(
        {**ranks, **{RERANKED.format(d): own for d, own in again.items()}},
        images.groups,
        texts.groups,
    )
    comparisons = {
        f"reranking_{direction}": {
            "metric": "R@1",
            "first": RERANKED.format(direction),
            "second": direction,
            **difference(drawn[RERANKED.format(direction)]["R@1"], drawn[direction]["R@1"]),
        }
        for direction in DIRECTIONS
    }
    oracles = _oracle_ranks(source, split, images, texts)
    drawn.update(draw_ranks(oracles, images.groups, texts.groups))
    drawn["matching"] = matching_accuracy(match, images, texts)
    drawn.update(_zero_shot(task, source, split, images))
    metrics = {
        row: {metric: float(values[0]) for metric, values in own.items()}
        for row, own in drawn.items()
    }
    if len(images.groups) >= 2 * FOLD:
        folds = mean_over_folds(
            images.embeddings, texts.embeddings, images.groups, texts.groups, FOLD
        )
        metrics.update({f"folds_{direction}": own for direction, own in folds.items()})
    return Measured(
        metrics,
        intervals={
            row: {
                metric: interval(values, limits=LIMITS.get(metric, (0.0, 1.0)))
                for metric, values in own.items()
            }
            for row, own in drawn.items()
        },
        comparisons=comparisons,
        predictions={
            "image_embedding": images.embeddings,
            "text_embedding": texts.embeddings,
            "image_groups": images.groups,
            "text_groups": texts.groups,
            **{f"{direction}_ranks": own for direction, own in ranks.items()},
            **{f"{RERANKED.format(d)}_ranks": own for d, own in again.items()},
            **{f"{row}_ranks": own for row, own in oracles.items()},
        },
    )


def _oracle_ranks(source, split, images, texts):
    """The ranks of who knows the synthetic scenes; none of other data."""
    objects = find_objects(source, split)
    if objects is None or not any(item.color for scene in objects for item in scene):
        return {}
    examples = source.examples(split)
    rows = {int(group): row for row, group in enumerate(examples.groups)}
    captions = {}
    for group in texts.groups:
        captions[int(group)] = captions.get(int(group), 0) + 1
    said = [
        text for group, count in captions.items() for text in examples.captions[rows[group]][:count]
    ]
    scenes = [objects[rows[int(group)]] for group in images.groups]
    found = {}
    for name, scores in caption_oracles(said, scenes).items():
        both = {
            "text_to_images": rank(lambda own, s=scores: s[own], texts.groups, images.groups),
            "images_to_text": rank(lambda own, s=scores.T: s[own], images.groups, texts.groups),
        }
        found.update({f"oracle_{name}_{direction}": own for direction, own in both.items()})
    return found


def _zero_shot(task, source, split, images):
    """Average precision of classes by their names, and that of chance; none without classes."""
    if not len(source.label_names) or source.label_kind == "regression":
        return {}
    examples = source.examples(split)
    labels = examples.labels[np.isin(examples.groups, images.groups)]
    labels = (labels.toarray() if hasattr(labels, "toarray") else np.asarray(labels)).astype(int)
    cosines = images.embeddings @ embed_classes(task, source.label_names).T
    rows = {"zero_shot": cosines, "prior": np.zeros_like(cosines)}
    drawn = draw_all(
        lambda weights: {row: weighted_map(labels, own, weights) for row, own in rows.items()},
        len(labels),
    )
    return {row: {"mAP": own} for row, own in drawn.items()}


def draw_retrieval(task, source, measured, folder):
    """Draws recall by rank, see `TaskKind`."""
    plot_recall(measured.predictions, folder)


RETRIEVAL = TaskKind(
    task=ImageTextRetriever,
    check=check_retrieval,
    build=build_retrieval,
    prior=lambda source, split: None,
    open=lambda task, source: source,
    measure=measure_retrieval,
    draw=draw_retrieval,
)
