import numpy as np

from mmlearn.layers.token_swapping import swap_tokens


def batch(seed=0):
    random = np.random.default_rng(seed)
    token_ids = random.integers(10, 20, (40, 12)).astype("int32")
    token_ids[:, 0], token_ids[:, 8:] = 1, 0
    can_swap = np.zeros(token_ids.shape, bool)
    can_swap[:, 1:8] = True
    return token_ids, can_swap, random.random((40, 12, 2)).astype("float32")


def test_a_share_of_the_words_becomes_words_of_the_batch():
    token_ids, can_swap, draws = batch()
    token_ids[:, 1:8][token_ids[:, 1:8] > 10] = 15  # one word in ten is 10, the others 15
    new, is_swapped = (np.asarray(x) for x in swap_tokens(token_ids, can_swap, draws, rate=0.5))
    np.testing.assert_array_equal(is_swapped, new != token_ids)
    np.testing.assert_array_equal(new[~can_swap], token_ids[~can_swap])
    assert set(np.unique(new[can_swap])) == {10, 15}
    # Half of the rare words are drawn anew, nine of ten of these become the common one.
    rare = can_swap & (token_ids == 10)
    assert 0.25 < is_swapped[rare].mean() < 0.65
    assert is_swapped[can_swap & (token_ids == 15)].mean() < 0.12


def test_every_word_of_the_batch_may_be_drawn_and_nothing_else():
    token_ids, can_swap, draws = batch()
    new, _ = swap_tokens(token_ids, can_swap, draws, rate=1.0)
    numbers = np.flatnonzero(can_swap)
    expected = token_ids.ravel()[numbers[(draws[..., 1] * len(numbers)).astype(int)]]
    np.testing.assert_array_equal(np.asarray(new)[can_swap], expected[can_swap])


def test_nothing_to_swap_leaves_all_as_it_is():
    token_ids, can_swap, draws = batch()
    for chosen, rate in ((np.zeros_like(can_swap), 1.0), (can_swap, 0.0)):
        new, is_swapped = swap_tokens(token_ids, chosen, draws, rate)
        np.testing.assert_array_equal(new, token_ids)
        assert not np.asarray(is_swapped).any()
