"""CIDEr-D."""

import math

import numpy as np
import pytest

from mmlearn.evaluation.cider import cider_d
from tests.evaluation.captions import as_official, caption_cases

REFERENCES = [[["a", "red", "dog"], ["a", "dog"]], [["a", "blue", "cat"], ["one", "cat"]]]


def test_a_known_case():
    # "a" is in both images and weighs 0; all else weighs log 2. The first reference agrees in the
    # orders 1 to 3, as none has four words. The second: cos 45 degrees in order 1, one word shorter.
    first = 3 / 4
    second = math.sqrt(0.5) / 4 * math.exp(-1 / 72)
    found = cider_d([["a", "red", "dog"], ["a"]], REFERENCES)
    np.testing.assert_allclose(found, [10 * (first + second) / 2, 0.0], rtol=1e-12)


def test_saying_a_word_twice_does_not_pay():
    once, twice = (
        cider_d([words, ["x"]], REFERENCES)[0] for words in (["red", "dog"], ["red", "dog", "dog"])
    )
    assert twice < once


def test_what_all_images_have_counts_nothing():
    assert cider_d([["a"], ["a"]], REFERENCES).tolist() == [0.0, 0.0]
    assert cider_d([["a", "red", "dog"]], REFERENCES[:1]).tolist() == [0.0]


@pytest.mark.parametrize("words", [[], ["unheard", "of"]])
def test_unknown_words_score_nothing(words):
    assert cider_d([words, words], REFERENCES).tolist() == [0.0, 0.0]


@pytest.mark.large
def test_agrees_with_the_official_evaluation():
    official = pytest.importorskip("pycocoevalcap.cider.cider")
    candidates, references = caption_cases(200)
    mean, expected = official.Cider().compute_score(*as_official(candidates, references))
    found = cider_d(candidates, references)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.mean(), mean, rtol=0, atol=1e-6)
