"""Ranks and their metrics against a full matrix, by hand, and at the size of COCO 5K."""

import numpy as np
import pytest

from mmlearn.evaluation import retrieval
from mmlearn.evaluation.intervals import difference
from mmlearn.evaluation.retrieval import (
    draw_ranks,
    folds,
    mean_over_folds,
    rank,
    rank_both,
    score_ranks,
    with_intervals,
)


def unit(values):
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype("float32")


def many_to_one(num_images=20, captions=5, dim=3, seed=0):
    """Embeddings of few values, so that there are many ties; captions in a mixed order."""
    random = np.random.default_rng(seed)
    images = random.integers(-1, 2, (num_images, dim)).astype("float32")
    image_groups = random.permutation(1000)[:num_images]
    text_groups = random.permutation(np.repeat(image_groups, captions))
    texts = random.integers(-1, 2, (num_images * captions, dim)).astype("float32")
    return images, texts, image_groups, text_groups


def full_matrix(queries, items, query_groups, item_groups):
    """The worst place that a sort may give to the best item of a query."""
    ranks = []
    for query, group in zip(queries, query_groups, strict=True):
        scored = [
            (float(query @ item), own == group)
            for item, own in zip(items, item_groups, strict=True)
        ]
        # By falling score; of equal ones, those of other groups first.
        ordered = sorted(scored, key=lambda pair: (-pair[0], pair[1]))
        first = next(place for place, (_, is_own) in enumerate(ordered) if is_own)
        ranks.append(1 + sum(not is_own for _, is_own in ordered[:first]))
    return np.array(ranks)


@pytest.mark.parametrize("rows_at_a_time", [1, 7, 1000])
def test_equals_a_full_matrix_with_ties_and_many_captions(monkeypatch, rows_at_a_time):
    images, texts, image_groups, text_groups = many_to_one()
    monkeypatch.setattr(retrieval, "BYTES", 4 * len(texts) * rows_at_a_time)
    found = rank_both(images, texts, image_groups, text_groups)
    expected = {
        "text_to_images": full_matrix(texts, images, text_groups, image_groups),
        "images_to_text": full_matrix(images, texts, image_groups, text_groups),
    }
    for direction, ranks in expected.items():
        np.testing.assert_array_equal(found[direction], ranks)
        for cut in (1, 5, 10):
            assert score_ranks(found[direction])[f"R@{cut}"] == np.mean(ranks <= cut)
    assert (expected["text_to_images"] > 1).any()


def test_equal_embeddings_find_nothing():
    # A model that says the same of everything must not look good by the order of the files.
    same, groups = np.ones((6, 2), "float32"), np.arange(6)
    found = rank_both(same, same, groups, groups)
    assert found["text_to_images"].tolist() == found["images_to_text"].tolist() == [6] * 6


def test_rounding_breaks_no_tie_in_our_favour():
    queries = np.array([[1.0]], "float32")
    items = np.array([[0.5], [np.nextafter(np.float32(0.5), np.float32(1))]], "float32")
    assert rank(lambda rows: queries[rows] @ items.T, [1], [0, 1]).tolist() == [2]


def test_metrics_by_hand():
    found = score_ranks(np.array([1, 2, 6, 11]))
    assert found == {
        "R@1": 0.25,
        "R@5": 0.5,
        "R@10": 0.75,
        "median_rank": 4.0,
        "MRR": pytest.approx((1 + 1 / 2 + 1 / 6 + 1 / 11) / 4),
    }


def test_weights_count_queries_several_times():
    ranks, weights = np.array([9, 1, 4]), np.array([[1, 0], [2, 3], [0, 1]])
    found = score_ranks(ranks, weights)
    for column, repeated in enumerate(([9, 1, 1], [1, 1, 1, 4])):
        for metric, value in score_ranks(np.array(repeated)).items():
            assert found[metric][column] == pytest.approx(value), metric


def test_intervals_resample_images_with_their_captions():
    random = np.random.default_rng(0)
    image_groups = random.permutation(60)
    text_groups = np.repeat(np.arange(60), 5)
    hits = random.random(60) < 0.5  # all captions of an image are found, or none
    ranks = {
        "text_to_images": np.where(hits[text_groups], 1, 50),
        "images_to_text": np.where(hits[image_groups], 1, 50),
    }
    drawn = draw_ranks(ranks, image_groups, text_groups, num_resamples=200)
    for metric, values in drawn["text_to_images"].items():
        np.testing.assert_allclose(values, drawn["images_to_text"][metric], err_msg=metric)
    found = with_intervals(drawn)["text_to_images"]["R@1"]
    assert found["value"] == pytest.approx(hits.mean())
    # 1.96 standard errors of 60 images, not of 300 captions.
    error = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 60)
    assert found["high"] - found["low"] == pytest.approx(2 * error, rel=0.2)
    same = difference(drawn["text_to_images"]["R@1"], drawn["images_to_text"]["R@1"])
    assert same["low"] == same["high"] == 0.0


def test_folds_are_of_consecutive_images_with_all_their_captions():
    image_groups, text_groups = np.arange(10, 17), np.repeat(np.arange(16, 9, -1), 2)
    found = list(folds(image_groups, text_groups, size=3))
    assert [rows.tolist() for rows, _ in found] == [[0, 1, 2], [3, 4, 5]]
    assert [sorted(set(text_groups[rows])) for _, rows in found] == [[10, 11, 12], [13, 14, 15]]
    assert [len(rows) for _, rows in found] == [6, 6]


def test_mean_over_folds_is_that_of_each_alone():
    images, texts, image_groups, text_groups = many_to_one(num_images=12, dim=4)
    found = mean_over_folds(images, texts, image_groups, text_groups, size=6)
    expected = []
    for start in (0, 6):
        own = image_groups[start : start + 6]
        mask = np.isin(text_groups, own)
        ranks = full_matrix(texts[mask], images[start : start + 6], text_groups[mask], own)
        expected.append(np.mean(ranks <= 1))
    assert found["text_to_images"]["R@1"] == pytest.approx(np.mean(expected))


def test_a_fold_of_too_few_images_is_refused():
    with pytest.raises(ValueError, match=r"A fold has 1000 images. Received: 3. Fix: a smaller"):
        next(folds(np.arange(3), np.arange(3)))


def test_a_query_without_an_item_is_named():
    with pytest.raises(ValueError, match=r"Received: query 1 of group 9 without one \(1 of 2"):
        rank_both(np.eye(2), np.eye(2), [4, 5], [4, 9])


def test_embeddings_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="Received: a NaN"):
        rank_both(np.full((2, 2), np.nan), np.eye(2), [0, 1], [0, 1])


def test_embeddings_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"one size. Received: \(2, 2\) and \(2, 3\)"):
        rank_both(np.eye(2), np.ones((2, 3)), [0, 1], [0, 1])


def test_finds_the_captions_of_random_photos_by_chance():
    random = np.random.default_rng(0)
    images, texts = unit(random.normal(size=(200, 8))), unit(random.normal(size=(1000, 8)))
    found = rank_both(images, texts, np.arange(200), np.repeat(np.arange(200), 5))
    assert score_ranks(found["text_to_images"])["R@10"] == pytest.approx(0.05, abs=0.02)
    assert score_ranks(found["text_to_images"])["median_rank"] == pytest.approx(100, abs=10)
