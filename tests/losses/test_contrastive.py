"""Contrastive losses against loops in numpy."""

import numpy as np
import pytest
from keras import ops

from mmlearn.losses.contrastive import (
    image_text_contrast,
    image_text_sigmoid,
    image_text_triplet,
    info_nce,
    pairs,
    view_contrast,
)

SCALE = 5.0


def embeddings(count, seed, dim=6):
    values = np.random.default_rng(seed).normal(size=(count, dim)).astype("float32")
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def rows(groups, present=None):
    present = np.ones(len(groups), bool) if present is None else np.array(present)
    return np.arange(len(groups)), np.array(groups), present


def cross_entropy(query, own, others):
    """-log of the softmax weight of `own` among itself and `others`."""
    logits = SCALE * np.array([query @ own, *(query @ other for other in others)], "float64")
    return -logits[0] + np.log(np.exp(logits).sum())


def expected_image_text(images, texts, groups, present):
    losses = []
    for i in range(len(images)):
        others = [j for j in range(len(images)) if j != i and groups[j] != groups[i] and present[j]]
        to_text = cross_entropy(images[i], texts[i], texts[others])
        losses.append((to_text + cross_entropy(texts[i], images[i], images[others])) / 2)
    return losses


@pytest.mark.parametrize(
    ("groups", "present"),
    [
        ([0, 1, 2, 3, 4], [1, 1, 1, 1, 1]),
        ([7, 1, 7, 7, 4], [1, 1, 1, 1, 1]),  # three texts of one photo
        ([0, 1, 2, 3, 4], [1, 0, 1, 1, 0]),  # absent ones are no negatives
    ],
)
def test_image_text_contrast_is_its_definition(groups, present):
    images, texts, present = embeddings(5, 0), embeddings(5, 1), np.array(present, bool)
    own = (images, texts, rows(groups, present))
    got = image_text_contrast(*own, *own, SCALE)
    expected = expected_image_text(images, texts, groups, present)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


GROUPS, PRESENT = [7, 1, 7, 7, 4], [1, 1, 1, 0, 1]


def negatives(i):
    return [j for j in range(5) if GROUPS[j] != GROUPS[i] and PRESENT[j]]


def test_sigmoid_is_its_definition():
    images, texts = embeddings(5, 0), embeddings(5, 1)
    own = (images, texts, rows(GROUPS, np.array(PRESENT, bool)))
    got = image_text_sigmoid(*own, *own, SCALE, bias=-2.0)
    logits = SCALE * images.astype("float64") @ texts.T - 2
    expected = []
    for i in range(5):
        total = 2 * np.log1p(np.exp(-logits[i, i]))
        for j in negatives(i):
            total += np.log1p(np.exp(logits[i, j])) + np.log1p(np.exp(logits[j, i]))
        expected.append(total / 2)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_triplet_is_its_definition():
    images, texts = embeddings(5, 0), embeddings(5, 1)
    own = (images, texts, rows(GROUPS, np.array(PRESENT, bool)))
    got = image_text_triplet(*own, *own, scale=3.0, margin=0.4)
    cosines = images @ texts.T
    expected = [
        3 * max(0, 0.4 + max(cosines[i, j] for j in negatives(i)) - cosines[i, i])
        + 3 * max(0, 0.4 + max(cosines[j, i] for j in negatives(i)) - cosines[i, i])
        for i in range(5)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_triplet_without_a_negative_costs_nothing():
    own = (embeddings(3, 0), embeddings(3, 1), rows([1, 1, 1]))
    assert np.asarray(image_text_triplet(*own, *own)).tolist() == [0.0] * 3


def test_view_contrast_is_its_definition():
    first, second = embeddings(4, 0), embeddings(4, 1)
    groups = [3, 5, 3, 8]
    own = (first, second, rows(groups))
    got = view_contrast(*own, *own, SCALE)
    expected = []
    for i in range(4):
        others = [j for j in range(4) if groups[j] != groups[i]]
        negatives = np.concatenate([first[others], second[others]])
        losses = [
            cross_entropy(a[i], b[i], negatives) for a, b in ((first, second), (second, first))
        ]
        expected.append(np.mean(losses))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "loss", [image_text_contrast, image_text_sigmoid, image_text_triplet, view_contrast]
)
def test_parts_of_a_batch_have_the_losses_of_the_whole(loss):
    first, second, marks = embeddings(5, 0), embeddings(5, 1), rows([0, 1, 1, 3, 4])
    whole = loss(first, second, marks, first, second, marks, SCALE)
    # The second replica has one row of its own and one that was lent.
    lent = np.array([0, 1, 2, 3, 4, 0])
    keys = (first[lent], second[lent], tuple(column[lent] for column in marks))
    for part in (slice(0, 2), slice(2, 5)):
        own = (first[part], second[part], tuple(column[part] for column in marks))
        np.testing.assert_allclose(loss(*own, *keys, SCALE), whole[part], rtol=1e-5)


def test_a_perfect_match_costs_nothing_and_chance_the_logarithm_of_the_number():
    eye, everything = np.eye(4, dtype="float32"), np.ones((4, 4), bool)
    assert float(ops.max(info_nce(eye, eye, eye > 0, everything, 100.0))) < 1e-6
    same = np.repeat(eye[:1], 4, axis=0)
    np.testing.assert_allclose(info_nce(same, same, eye > 0, everything, 3.0), np.log(4), rtol=1e-6)


def test_pairs_of_a_group_are_neither():
    is_positive, is_candidate = pairs(*rows([6, 6, 2])[:2], *rows([6, 6, 2]))
    assert np.asarray(is_positive).tolist() == np.eye(3, dtype=bool).tolist()
    assert np.asarray(is_candidate).astype(int).tolist() == [[1, 0, 1], [0, 1, 1], [1, 1, 1]]
