import numpy as np
import pytest

from mmlearn.losses.grounding import grounding, pool_keys

SHAPE = (2, 3, 4, 5)  # texts, heads, words, head_dim
IMAGES = 3


def tensors(seed=0):
    random = np.random.default_rng(seed)
    queries = random.normal(size=SHAPE).astype("float32")
    keys = random.normal(size=(2, 3, 5)).astype("float32")
    all_keys = random.normal(size=(IMAGES, 3, 5)).astype("float32")
    words = np.array([[1, 1, 0, 1], [1, 0, 0, 0]], bool)
    is_other = np.array([[1, 0, 1], [1, 1, 1]], bool)
    return queries, keys, all_keys, words, is_other


@pytest.mark.parametrize("has_foreign", [False, True])
def test_the_loss_is_that_of_telling_true_words_from_foreign_ones(has_foreign):
    queries, keys, all_keys, words, is_other = tensors()
    foreign = np.array([[0, 0, 1, 1], [0, 1, 1, 0]], bool)
    expected = []
    for b in range(2):
        losses = {True: [], False: []}
        for h in range(3):
            for w in range(4):
                own = keys[b, h] @ queries[b, h, w] / np.sqrt(5)
                others = all_keys[is_other[b], h] @ queries[b, h, w] / np.sqrt(5)
                p = 1 / (1 + np.exp(np.log(np.mean(np.exp(others))) - own))
                if words[b, w]:
                    losses[True].append(-np.log(p))
                if foreign[b, w]:
                    losses[False].append(-np.log(1 - p))
        means = [np.mean(losses[True]), np.mean(losses[False])]
        expected.append(np.mean(means) if has_foreign else means[0])
    given = foreign if has_foreign else None
    found = grounding(queries, keys, all_keys, words, is_other, given)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_all_images_have_says_nothing():
    queries, keys, _, words, is_other = tensors()
    same = np.broadcast_to(keys[:1], (IMAGES, 3, 5))
    found = np.asarray(grounding(queries, same[:2], same, words, is_other, ~words))
    assert found == pytest.approx([np.log(2)] * 2, abs=1e-6)


def test_what_is_no_word_and_no_other_image_changes_nothing():
    queries, keys, all_keys, words, is_other = tensors()
    before = np.asarray(grounding(queries, keys, all_keys, words, is_other))
    queries[~np.broadcast_to(words[:, None, :, None], SHAPE)] = 7
    found = np.asarray(grounding(queries, keys, all_keys, words, is_other))
    np.testing.assert_array_equal(found, before)
    all_keys[1] = 7  # which the second text is told apart from, and the first one is not
    found = np.asarray(grounding(queries, keys, all_keys, words, is_other))
    assert found[0] == before[0] and found[1] != before[1]


def test_a_text_without_words_or_without_others_has_no_loss():
    queries, keys, all_keys, words, is_other = tensors()
    none = np.zeros_like(words)
    assert np.asarray(grounding(queries, keys, all_keys, none, is_other)).tolist() == [0, 0]
    alone = np.zeros_like(is_other)
    found = np.asarray(grounding(queries, keys, all_keys, words, alone))
    assert found.tolist() == [0, 0]


def test_the_logit_of_an_image_is_the_mean_of_those_of_its_regions():
    random = np.random.default_rng(0)
    keys, query = random.normal(size=(2, 3, 6, 5)), random.normal(size=5)
    mask = np.array([[1, 1, 0, 1, 0, 1], [0] * 6], bool)
    pooled = np.asarray(pool_keys(keys, mask))
    logits = (keys[0] @ query)[:, mask[0]]
    np.testing.assert_allclose(pooled[0] @ query, logits.mean(axis=1), rtol=1e-5)
    assert not pooled[1].any()
