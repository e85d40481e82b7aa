"""Which tokens are hidden, how many, and by what."""

import keras
import numpy as np
import pytest

from mmlearn.layers.token_masking import TokenMasking, mask_tokens, num_masked

PAD, UNKNOWN, CLS, SEP, MASK = range(5)
VOCABULARY_SIZE = 1000


def texts(count, length=22, seed=0):
    """Token ids of texts of 0 to 20 tokens, `[CLS] tokens [SEP]` and padding; and their numbers."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, length - 1, count)
    token_ids = np.full((count, length), PAD, "int32")
    for row, number in enumerate(numbers):
        tokens = random.integers(MASK + 1, VOCABULARY_SIZE, number)
        token_ids[row, : number + 2] = [CLS, *tokens, SEP]
    return token_ids, numbers


def draws(shape, seed=1):
    return np.random.default_rng(seed).random((*shape, 3)).astype("float32")


@pytest.fixture(scope="module")
def masked():
    token_ids, numbers = texts(4000)
    layer = TokenMasking(MASK, VOCABULARY_SIZE, (PAD, CLS, SEP))
    results = [np.asarray(value) for value in layer(token_ids, draws(token_ids.shape))]
    return token_ids, numbers, *results


def test_each_text_hides_its_share_and_at_least_one(masked):
    _, numbers, _, places, is_chosen = masked
    expected = [min(number, max(1, round(0.15 * number))) for number in numbers.tolist()]
    assert is_chosen.sum(axis=1).tolist() == expected
    assert places.shape[1] == num_masked(22, 0.15) == max(expected) == 3


def test_places_are_those_that_may_change_and_special_tokens_never_do(masked):
    token_ids, _, new, places, is_chosen = masked
    at_places = np.zeros(token_ids.shape, bool)
    row, column = np.nonzero(is_chosen)
    at_places[row, places[row, column]] = True
    assert at_places.sum() == is_chosen.sum()  # none twice
    assert not (new != token_ids)[~at_places].any()
    assert not np.isin(token_ids[at_places], (PAD, CLS, SEP)).any()


def test_kinds_of_replacement_have_the_shares_of_the_paper(masked):
    token_ids, _, new, places, is_chosen = masked
    row, column = np.nonzero(is_chosen)
    old, got = token_ids[row, places[row, column]], new[row, places[row, column]]
    is_mask, is_same = got == MASK, got == old
    assert len(old) > 5000
    for share, expected in ((is_mask, 0.8), (is_same, 0.1), (~is_mask & ~is_same, 0.1)):
        assert share.mean() == pytest.approx(expected, abs=0.02)
    others = got[~is_mask & ~is_same]
    assert others.min() < 50 and VOCABULARY_SIZE - 50 < others.max() < VOCABULARY_SIZE


def test_every_token_of_a_text_is_chosen_as_often():
    token_ids = np.tile(np.array([[CLS, *range(10, 20), SEP]], "int32"), (5000, 1))
    _, places, is_chosen = mask_tokens(
        token_ids, token_ids > MASK, draws(token_ids.shape), MASK, VOCABULARY_SIZE
    )
    counts = np.bincount(np.asarray(places)[np.asarray(is_chosen)], minlength=12)
    assert counts[[0, 11]].tolist() == [0, 0]
    # Two of ten tokens; the standard deviation of a count is 28.
    np.testing.assert_allclose(counts[1:11], 1000, atol=140)


def test_the_same_draws_hide_the_same():
    token_ids, _ = texts(20)
    layer = TokenMasking(MASK, VOCABULARY_SIZE, (PAD, CLS, SEP))
    again = TokenMasking.from_config(layer.get_config())
    first, second = (
        np.asarray(one(token_ids, draws(token_ids.shape))[0]) for one in (layer, again)
    )
    other = np.asarray(layer(token_ids, draws(token_ids.shape, seed=2))[0])
    assert (first == second).all() and (first != other).any()
    assert keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    ).special_token_ids == (PAD, CLS, SEP)


def test_a_rate_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"`rate` must be in \(0, 1\)\. Received: rate=1"):
        TokenMasking(MASK, VOCABULARY_SIZE, (), rate=1)
