"""Damage to texts: seeded, stronger with the severity, never empty."""

import difflib

import numpy as np
import pytest

from data_prep.errors import DataError
from data_prep.synonyms import SYNONYMS, read_synonyms
from data_prep.text_noise import NOISES, add_noise, drop_words, typos

TEXT = "A man in a red shirt is standing next to a big dog on the street, and looking at it."


@pytest.mark.parametrize("name", NOISES)
def test_noise_grows_with_the_severity_and_is_the_same_for_a_seed(name):
    def apart(severity):
        pairs = [(TEXT, add_noise(TEXT, name, severity, (0, row))) for row in range(30)]
        return np.mean([1 - difflib.SequenceMatcher(None, *p, False).ratio() for p in pairs])

    distances = [apart(severity) for severity in range(1, 6)]
    assert distances[0] > 0
    assert (np.diff(distances) > 0).all(), distances
    assert add_noise(TEXT, name, 3, (0, 1)) == add_noise(TEXT, name, 3, (0, 1))


@pytest.mark.parametrize("name", NOISES)
def test_an_absent_text_stays_absent_and_no_other_becomes_so(name):
    assert add_noise("", name, 5) == ""
    assert add_noise("  ", name, 5) == "  "
    for row in range(50):
        for text in ("a", "ox", "a b", "1 2 3"):
            assert add_noise(text, name, 5, (1, row)).strip()


def test_words_stay_words():
    for row in range(20):
        kept = add_noise(TEXT, "drop_words", 4, (0, row)).split()
        left = iter(TEXT.split())
        assert all(word in left for word in kept)  # in their order
        assert sorted(add_noise(TEXT, "swap_words", 5, (0, row)).split()) == sorted(TEXT.split())


def test_rates_are_those_of_the_severity():
    random = np.random.default_rng(0)
    kept = len(drop_words("word " * 20_000, 3, random).split()) / 20_000
    assert kept == pytest.approx(0.65, abs=0.01)
    words = typos("abcdefgh " * 5000, 2, random).split()
    # All eight letters of a word are spared with 0.95^8.
    assert words.count("abcdefgh") / 5000 == pytest.approx(0.95**8, abs=0.025)


def test_synonyms_keep_capitals_and_signs():
    known = {"dog": ("hound",), "sofa": ("couch",)}
    text = add_noise("Dog, on a (sofa)!", "synonyms", 5, known=known)
    assert text == "Hound, on a (couch)!"
    for word, others in SYNONYMS.items():
        assert word == word.lower()
        assert word not in others
        assert all(others)


def test_a_list_of_synonyms_is_read_or_its_line_is_named(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("Dog,hound,pooch\n\nsofa, couch\n")
    assert read_synonyms(str(path)) == {"dog": ("hound", "pooch"), "sofa": ("couch",)}
    path.write_text("dog,hound\nsofa\n")
    with pytest.raises(DataError, match=r"line 2: 'sofa' has no synonym. Fix: word,synonym"):
        read_synonyms(str(path))
    path.write_text("")
    with pytest.raises(DataError, match="holds no synonyms"):
        read_synonyms(str(path))
    with pytest.raises(DataError, match="cannot be read"):
        read_synonyms(str(tmp_path / "none.csv"))
