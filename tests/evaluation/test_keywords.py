"""The baseline that reads."""

import numpy as np
import pytest

from mmlearn.evaluation.category_words import IMPLIED, SYNONYMS
from mmlearn.evaluation.keywords import find_named, keyword_match

COCO = ("person", "bear", "teddy bear", "hot dog", "dog", "tv", "skis", "dining table", "sheep")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("A dog sleeps.", {"dog"}),
        ("DOGS!", {"dog"}),
        ("two teddy-bears, no grown one", {"teddy bear"}),
        ("a teddy and a bear", {"teddy bear", "bear"}),
        ("Three men eat hotdogs at a table", {"person", "hot dog", "dining table"}),
        ("a man's dog", {"person", "dog"}),
        ("the children watch television", {"person", "tv"}),
        ("a skier", {"person", "skis"}),
        ("manual labour, doggedly unbearable", set()),
        ("", set()),
    ],
)
def test_finds_whole_words_plurals_and_synonyms(text, named):
    (found,) = find_named([text], COCO)
    assert {name for name, is_named in zip(COCO, found, strict=True) if is_named} == named


def test_own_synonyms_take_the_place_of_the_list():
    found = find_named(["a pooch and a puppy"], ["dog"], {"dog": ["pooch"]})
    assert found.tolist() == [[True]]
    assert find_named(["a puppy"], ["dog"], {}).tolist() == [[False]]


def test_a_word_may_name_two_classes():
    assert find_named(["a skier"], ["person", "skis"]).all()


def test_what_is_not_named_has_the_prior():
    found = keyword_match(["a dog", "a bird"], ["dog", "cat"], [0.3, 0.6])
    np.testing.assert_allclose(found, [[1.0, 0.6], [0.3, 0.6]])


def test_of_one_true_class_those_named_share_it():
    found = keyword_match(
        ["a dog and a cat", "x"], ["dog", "cat", "cow"], [0.2, 0.3, 0.5], "multi_class"
    )
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])


@pytest.mark.parametrize("known", [SYNONYMS, IMPLIED])
def test_the_list_is_of_other_words(known):
    for label, words in known.items():
        assert len(set(words)) == len(words), label
        assert all(word == word.lower().strip() for word in words), label
        assert label not in words, label
