"""Re-ranking against sorting by hand; matching accuracy on embeddings that are known."""

import numpy as np
import pytest

from mmlearn.evaluation import reranking, retrieval
from mmlearn.evaluation.embedded import Embedded
from mmlearn.evaluation.matching import matching_accuracy, mismatched_images
from mmlearn.evaluation.reranking import rank_again, rerank_both
from mmlearn.evaluation.retrieval import rank_both
from mmlearn.models.mismatched_pairs import HARDNESS


def embedded(embeddings, groups):
    embeddings = np.asarray(embeddings, np.float32)
    empty = np.zeros((len(embeddings), 1, 1), np.float16)
    return Embedded(np.asarray(groups), embeddings, empty, empty[..., 0] == 0)


def random_pairs(num_images=12, captions=3, seed=0):
    random = np.random.default_rng(seed)
    groups = random.permutation(50)[:num_images]
    images = random.normal(size=(num_images, 4))
    texts = np.repeat(images, captions, axis=0) + random.normal(size=(num_images * captions, 4))
    images, texts = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (images, texts))
    return embedded(images, groups), embedded(texts, np.repeat(groups, captions))


def again_by_hand(scores, matches, query_groups, item_groups, top):
    ranks = []
    for row, group in enumerate(query_groups):
        order = np.argsort(-scores[row])
        order = [*sorted(order[:top], key=lambda item: -matches[row, item]), *order[top:]]
        is_own = item_groups[order] == group
        ranks.append(1 + int((~is_own[: int(is_own.argmax())]).sum()))
    return np.array(ranks)


@pytest.mark.parametrize("rows_at_a_time", [5, 1000])
def test_the_best_few_are_in_the_order_of_the_match(monkeypatch, rows_at_a_time):
    images, texts = random_pairs()
    monkeypatch.setattr(retrieval, "BYTES", 4 * 36 * rows_at_a_time)
    matches = np.random.default_rng(1).normal(size=(12, 36))
    ranks, again = rerank_both(images, texts, lambda i, t: matches[i, t], top=4)
    scores = images.embeddings @ texts.embeddings.T
    matches = matches + HARDNESS * scores
    np.testing.assert_array_equal(
        again["images_to_text"],
        again_by_hand(scores, matches, images.groups, texts.groups, 4),
    )
    np.testing.assert_array_equal(
        again["text_to_images"],
        again_by_hand(scores.T, matches.T, texts.groups, images.groups, 4),
    )
    plain = rank_both(images.embeddings, texts.embeddings, images.groups, texts.groups)
    for direction, own in plain.items():
        np.testing.assert_array_equal(ranks[direction], own)
        assert (again[direction][own > 12] == own[own > 12]).all()


def test_a_match_that_knows_finds_all_that_is_among_the_best():
    images, texts = random_pairs()
    right = images.groups[:, None] == texts.groups
    sure = 2 * HARDNESS
    ranks, again = rerank_both(images, texts, lambda i, t: right[i, t] * sure, top=5)
    for direction in ranks:
        assert (again[direction][ranks[direction] <= 5] == 1).all()


def test_a_match_that_says_nothing_changes_nothing():
    images, texts = random_pairs()
    ranks, again = rerank_both(images, texts, lambda i, t: np.full(len(i), 0.3), top=5)
    for direction, own in ranks.items():
        np.testing.assert_array_equal(again[direction], own)


def test_equal_matches_count_against_us():
    scores = np.array([[0.9, 0.8, 0.7]])
    found = rank_again(lambda rows: scores[rows], lambda q, i: i * 0.0, [1], [1, 2, 3], top=2)
    assert found.tolist() == [2]


def test_only_as_many_pairs_are_matched_as_are_ordered_again():
    images, texts = random_pairs()
    asked = []

    def match(image_rows, text_rows):
        asked.append(len(image_rows))
        return np.zeros(len(image_rows))

    rerank_both(images, texts, match, top=reranking.TOP)
    assert sum(asked) == 36 * 10 + 12 * 10


def test_mismatched_images_are_of_another_group():
    image_groups, text_groups = np.array([4, 4, 7, 9]), np.repeat([4, 7, 9], 200)
    rows = mismatched_images(image_groups, text_groups)
    assert (image_groups[rows] != text_groups).all()
    assert set(rows[:200]) == {2, 3}  # any of them
    nearest = mismatched_images(
        image_groups,
        text_groups,
        lambda part: np.tile([0.1, 0.2, 0.9, 0.5], (256, 1))[: part.stop - part.start],
    )
    assert (nearest[:200] == 2).all()
    assert (nearest[200:400] == 3).all()


def test_matching_accuracy_counts_both_kinds_of_pairs():
    images, texts = random_pairs()

    def is_alike(image_rows, text_rows):
        return (images.groups[image_rows] == texts.groups[text_rows]) - 0.5

    assert matching_accuracy(is_alike, images, texts, 20)["accuracy"][0] == 1.0
    found = matching_accuracy(lambda i, t: np.ones(len(i)), images, texts, 20)
    assert (found["accuracy"] == 0.5).all()
    assert (found["accuracy_nearest"] == 0.5).all()
    assert found["accuracy"].shape == (21,)
