import numpy as np
import pytest
import tensorflow as tf

from data_prep import augment_text

NUMBERS = " ".join(map(str, range(10)))


def texts(function, text, count, **options):
    """The texts for the seeds (0, 0), (0, 1), ..., as lists of words."""
    example = {"text": tf.constant(text)}
    seeds = tf.data.Dataset.from_tensor_slices(tf.range(count))
    results = seeds.map(lambda seed: function(example, tf.stack([0, seed]), **options)["text"])
    return [result.decode().split(" ") for result in results.as_numpy_iterator()]


def orders(function, count, **options):
    return [[int(word) for word in words] for words in texts(function, NUMBERS, count, **options)]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a red dog on a sofa", "a red dog a sofa"),
        ("  a red\t dog\non a   sofa ", "a red dog a sofa"),
        ("ein Vögelchen saß dort am Fluß", "ein Vögelchen saß am Fluß"),
        ("dog", "dog"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_drop_words_of_literal_texts(text, after):
    before = {"text": tf.constant(text), "labels": tf.constant([1.0])}
    example = augment_text.drop_words(before, (0, 5))
    assert example["text"].numpy().decode() == after
    assert example["labels"] is before["labels"]


def test_drop_words_drops_one_word_in_ten_and_keeps_the_order():
    kept = orders(augment_text.drop_words, 300)
    assert all(words == sorted(words) for words in kept)
    is_dropped = np.array([[number not in words for number in range(10)] for words in kept])
    assert abs(is_dropped.mean() - 0.1) < 3 * np.sqrt(0.09 / is_dropped.size)
    assert abs(is_dropped.mean(0) - 0.1).max() < 4 * np.sqrt(0.09 / 300)


def test_drop_words_never_drops_all():
    kept = orders(augment_text.drop_words, 100, probability=1.0)
    assert {len(words) for words in kept} == {1}
    assert len({words[0] for words in kept}) == 10
    assert {tuple(w) for w in texts(augment_text.drop_words, "a dog", 30, probability=0.99)} == {
        ("a",),
        ("dog",),
    }


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a red dog on a sofa", "red a dog on a sofa"),
        (" a red\t dog\non a   sofa ", "red a dog on a sofa"),
        ("süße rote Äpfel an einem Baum", "rote süße Äpfel an einem Baum"),
        ("a red dog on sofas", "a red dog on sofas"),
        ("dog", "dog"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_swap_words_of_literal_texts(text, after):
    before = {"text": tf.constant(text), "labels": tf.constant([1.0])}
    example = augment_text.swap_words(before, (0, 12))
    assert example["text"].numpy().decode() == after
    assert example["labels"] is before["labels"]


def test_swap_words_moves_neighbours_only():
    for order in orders(augment_text.swap_words, 200):
        assert sorted(order) == list(range(10))
        assert abs(np.array(order) - range(10)).max() <= 1


def test_swap_words_swaps_one_pair_in_ten():
    # Sixty words make 30 or 29 pairs, of which at most 10 move: that more are drawn is rare.
    text = " ".join(map(str, range(60)))
    swaps = [
        sum(int(word) > position for position, word in enumerate(words))
        for words in texts(augment_text.swap_words, text, 300)
    ]
    assert abs(np.mean(swaps) - 2.95) < 3 * np.sqrt(29.5 * 0.09 / 300)


@pytest.mark.parametrize("count", range(14))
def test_swap_words_moves_at_most_a_third_of_the_words(count):
    text = " ".join(map(str, range(count)))
    moved = [
        sum(word != str(position) for position, word in enumerate(words) if word)
        for words in texts(augment_text.swap_words, text, 20, probability=1.0)
    ]
    assert set(moved) == {count // 6 * 2}


def test_swap_words_reaches_every_pair():
    firsts = {
        next((number for number in range(9) if order[number] == number + 1), None)
        for order in orders(augment_text.swap_words, 300, probability=1.0)
    }
    assert firsts == set(range(9))


@pytest.mark.parametrize("function", [augment_text.drop_words, augment_text.swap_words])
def test_a_seed_gives_the_same_text_and_another_seed_another(function):
    results = texts(function, NUMBERS, 20, probability=0.5)
    assert results == texts(function, NUMBERS, 20, probability=0.5)
    assert len({tuple(words) for words in results}) > 5
