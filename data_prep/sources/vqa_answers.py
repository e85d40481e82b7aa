"""Answers of people to visual questions: one spelling for each, and targets from how many agree.

The spelling is that of the official VQA evaluation. It first handles punctuation, then words, and
the order matters: "a/c" becomes "a c", and then "c". The official evaluation leaves the answers to a
question alone where the ten are equal. Here every answer is handled, so its spelling depends on
nothing but itself.

Reference: Antol et al. (2015), "VQA: Visual Question Answering".
"""

import itertools
import re
from collections import Counter

import numpy as np

NUM_ANSWERS = 10  # people asked per question
AGREEMENT = 3  # people who must say the same for a full target

_SIGNS = ';/[]"{}()=+\\_-><@`,?!'  # neither ":" nor "'": times and contractions keep theirs
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")  # what stays is "3.5", and ".5" too
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0", **{word: str(number) for number, word in enumerate(_NUMBERS)}}
_ARTICLES = {"a", "an", "the"}
# Without those that are words of their own when the apostrophe is lost: its, lets, id, ill, hell,
# shell, well, shed, wed, were, whore.
_CONTRACTIONS = """
    ain't aren't can't couldn't couldn't've daren't didn't doesn't don't hadn't hadn't've hasn't
    haven't isn't mightn't mightn't've mustn't mustn't've needn't oughtn't shan't shouldn't
    shouldn't've wasn't weren't won't wouldn't wouldn't've
    could've might've must've should've would've
    i'm i've i'd've he'd he's he'd've she's she'd've it'd it'll it'd've we've we'd've
    they'd they'll they're they've they'd've you'd you'll you're you've you'd've
    y'all y'all'll y'all'd've
    that'd that'll that's there'd there'll there're there's there'd've
    somebody'd somebody'll somebody's somebody'd've someone'd someone'll someone's someone'd've
    something'd something'll something'd've
    how'd how'll how's what'd what'll what're what's what've when's where'd where's where've
    who'd who'll who's who've who'd've why'd why'll why're why's
    ma'am o'clock 'twas
"""


def _misspellings(word):
    """Yields the word without some of its apostrophes: "y'all'll" gives "yallll", "yall'll", ..."""
    parts = word.split("'")
    for signs in itertools.product(("", "'"), repeat=len(parts) - 1):
        if "" in signs:
            yield parts[0] + "".join(itertools.chain(*zip(signs, parts[1:], strict=True)))


_CORRECTED = {wrong: word for word in _CONTRACTIONS.split() for wrong in _misspellings(word)}


def normalize_answer(text):
    """The one spelling of an answer.

    In this order: new lines and tabs become spaces, and the ends are stripped. A punctuation sign
    is removed wherever it stands if it is next to a space at one place of the text, or if the text
    has a comma between two digits, else it becomes a space. A period is removed unless a digit
    follows. Letters become lower case, number words up to ten become digits ("none" is 0), a, an
    and the are removed, and contractions get the apostrophe that they lack.

    Args:
        text: str. As somebody typed it.

    Returns:
        A str, words with one space between them; empty where nothing is left ("The", "?").

    Example:

    >>> normalize_answer("Two red-and-white Stop signs.")
    '2 red and white stop signs'
    >>> normalize_answer("I dont know")
    "i don't know"
    """
    text = text.replace("\n", " ").replace("\t", " ").strip()
    words = _without_punctuation(text).lower().split()
    words = [_DIGITS.get(word, word) for word in words]
    return " ".join(_CORRECTED.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(text):
    has_number = _COMMA_IN_NUMBER.search(text)
    signs = {}
    for sign in filter(text.__contains__, _SIGNS):
        is_removed = has_number or f"{sign} " in text or f" {sign}" in text
        signs[ord(sign)] = "" if is_removed else " "
    return _PERIOD.sub("", text.translate(signs))


def soft_targets(count):
    """The target of an answer that so many people gave: min(count / 3, 1).

    Args:
        count: int, or an array of them.

    Returns:
        float32, of the same shape.

    Example:

    >>> soft_targets([0, 3, 10])
    array([0., 1., 1.], dtype=float32)
    """
    return np.minimum(np.asarray(count, np.float32) / np.float32(AGREEMENT), np.float32(1))


def majority(answers):
    """The answer, normalised, that most people gave; of equally frequent ones the first.

    Args:
        answers: list of str. As people typed them.

    Returns:
        A str; empty where nobody answered.

    Example:

    >>> majority(["brown", "Tan", "tan."])
    'tan'
    """
    counts = Counter(map(normalize_answer, answers))
    return max(counts, key=counts.get, default="")
