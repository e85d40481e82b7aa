"""The words and n-grams of captions."""

import os

import pytest

from data_prep.sources.coco import CocoSource
from mmlearn.evaluation.caption_words import caption_words, count_ngrams


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog.", ["a", "dog"]),
        ("", []),
        (" ... !", []),
        ("the man's dogs' tails", ["the", "man", "'s", "dogs", "tails"]),
        ("They\u2019re here, aren't they?", ["they", "'re", "here", "are", "n't", "they"]),
        ("you cannot (really) sit", ["you", "can", "not", "really", "sit"]),
        ("a black-and-white cat", ["a", "black-and-white", "cat"]),
        ("at 10:30, 1,000 people", ["at", "10:30", "1,000", "people"]),
        ("the U.S. flag; Mr. Smith", ["the", "u.s.", "flag", "mr.", "smith"]),
        ("salt & pepper, $5", ["salt", "&", "pepper", "$", "5"]),
        ('a "stop" sign -- red', ["a", "stop", "sign", "red"]),
        ("un caf\u00e9", ["un", "caf\u00e9"]),
    ],
)
def test_splits_as_the_treebank(text, words):
    assert caption_words(text) == words


def test_ngrams_are_counted_by_order():
    counts = count_ngrams(["a", "b", "a", "b"], max_order=5)
    assert [dict(own) for own in counts[:2]] == [
        {("a",): 2, ("b",): 2},
        {("a", "b"): 2, ("b", "a"): 1},
    ]
    assert [own.total() for own in counts] == [4, 3, 2, 1, 0]


@pytest.mark.large
def test_agrees_with_the_official_tokenizer_on_real_captions(shared_data):
    official = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    source = CocoSource(os.path.join(shared_data, "coco_subset"))
    texts = [text for own in source.examples("val").captions for text in own]
    found = official.PTBTokenizer().tokenize({i: [{"caption": t}] for i, t in enumerate(texts)})
    different = [t for i, t in enumerate(texts) if found[i][0].split() != caption_words(t)]
    assert len(different) <= 1e-3 * len(texts), different
