"""Damage to texts, at five severities, to measure what a model withstands. For evaluation alone.

Each function takes a text, a severity from 1 to 5 and a `numpy.random.Generator`. Words are what is
between white space. No text becomes empty: that would be an absent one.
"""

import zlib

import numpy as np

from data_prep.corruptions import check_severity
from data_prep.names import find
from data_prep.synonyms import SYNONYMS

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    letter: row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
    for row in _ROWS
    for place, letter in enumerate(row)
}
_FILLER = (
    "as anyone can see when looking at it for a while this is what was found here on that day by "
    "someone who came along and wrote it down"
)


def typos(text, severity, random):
    """Mistypes letters: leaves one out, doubles it, hits the key beside it, or swaps it with the next.

    Reference:
        The four slips are those of Belinkov and Bisk, "Synthetic and natural noise both break neural
        machine translation", 2018, section 3.2, and doubling.
    """
    rate, letters, place = _pick(severity, 0.02, 0.05, 0.1, 0.15, 0.25), [], 0
    # The same letters are hit at each severity, and more of them.
    draws, kinds = random.random(len(text)), random.integers(0, 4, len(text))
    sides = random.integers(0, 2, len(text))
    while place < len(text):
        letter = text[place]
        if not letter.isalpha() or draws[place] >= rate:
            letters.append(letter)
        elif kinds[place] == 0:
            pass
        elif kinds[place] == 1:
            letters += [letter, letter]
        elif kinds[place] == 2 and letter.lower() in _NEIGHBOURS:
            beside = _NEIGHBOURS[letter.lower()]
            letters.append(beside[sides[place] % len(beside)])
        elif place + 1 < len(text):
            letters += [text[place + 1], letter]
            place += 1
        place += 1
    return "".join(letters) if "".join(letters).strip() else text


def drop_words(text, severity, random):
    """Leaves words out, but never all of them."""
    rate, words = _pick(severity, 0.1, 0.2, 0.35, 0.5, 0.7), text.split()
    draws = random.random(len(words))
    is_kept = draws >= min(rate, draws.max())
    return " ".join(word for word, keep in zip(words, is_kept, strict=True) if keep)


def swap_words(text, severity, random):
    """Moves words: each gets a place up to so many words away, at 5 anywhere."""
    words = text.split()
    reach = _pick(severity, 1.5, 2.5, 4.0, 7.0, 1e9)
    draws = random.random(len(words))
    order = np.argsort(np.arange(len(words)) + reach * draws, kind="stable")
    return " ".join(words[place] for place in order)


def synonyms(text, severity, random, known=SYNONYMS):
    """Says words in another way, at 5 all that have one in the list."""
    rate, words = _pick(severity, 0.2, 0.4, 0.6, 0.8, 1.0), text.split()
    draws, choices = random.random((2, len(words)))
    for place, word in enumerate(words):
        core = word.strip(".,;:!?\"'()")
        others = known.get(core.lower())
        if others and draws[place] < rate:
            other = others[int(choices[place] * len(others))]
            words[place] = word.replace(core, other.capitalize() if core[0].isupper() else other)
    return " ".join(words)


def filler(text, severity, random):
    """Puts words that say nothing before it, so that it comes late or is cut off."""
    count = _pick(severity, 4, 8, 12, 20, 28)
    return " ".join([*_FILLER.split()[:count], text])


NOISES = {noise.__name__: noise for noise in (typos, drop_words, swap_words, synonyms, filler)}


def add_noise(text, name, severity, seed=(0, 0), known=SYNONYMS):
    """Damages one text.

    Args:
        text: str. An empty or blank one, which is absent, stays as it is.
        name: str, of `NOISES`.
        severity: int from 1 to 5.
        seed: ints, such as one of the whole and the row of the example.
        known: dict of a word to other ways to say it, of `synonyms`.

    Raises:
        ValueError: when the name or the severity is unknown.

    Example:

    >>> add_noise("a man on a street", "synonyms", 5)
    'a guy on a road'
    >>> add_noise("a dog", "filler", 1)
    'as anyone can see a dog'
    """
    noise = find(name, NOISES, "noise")
    check_severity(severity)
    if not text.strip():
        return text
    random = np.random.default_rng([zlib.crc32(name.encode()), *seed])
    return noise(text, severity, random, *([known] if noise is synonyms else []))


def first_words(text, count):
    """The first words of a text.

    Args:
        text: str.
        count: int.

    Example:

    >>> first_words("a red dog on a sofa", 3)
    'a red dog'
    """
    return " ".join(text.split()[:count])


def _pick(severity, *strengths):
    return strengths[severity - 1]
