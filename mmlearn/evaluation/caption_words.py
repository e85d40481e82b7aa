"""Words and n-grams of a caption as the metrics of captions count them."""

import re
from collections import Counter

# As a Penn Treebank tokenizer splits English; of alternatives, the first that fits counts.
_WORD = re.compile(
    r"(?:[a-z]\.){2,}"  # u.s.
    r"|(?:mr|mrs|ms|dr|st|jr|vs|etc)\.(?=\s+\S)"
    r"|\d+(?:[.,:]\d+)+|\d+(?:[-/]\d+)+"  # 1,000 and 10:30 and 1/2
    r"|\w+?(?=n't\b)|n't\b"  # do n't
    r"|'(?:s|m|d|re|ve|ll)\b"  # the man 's dog
    r"|\w+(?:[-/&.]\w+)*"  # black-and-white
    r"|\.{2,}|-{2,}|[^\w\s]"
)
_PUNCTUATION = frozenset("'`.?!,:;-\"()[]{}\u201c\u201d\u2018")
_TWO_WORDS = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "wanna": ("wan", "na"),
    "gotta": ("got", "ta"),
}


def caption_words(text):
    """Splits a caption into lower-case words without punctuation.

    Close to the Penn Treebank tokenizer that the official evaluation of COCO's captions runs in Java:
    contractions are two words, words with hyphens one.

    Args:
        text: str.

    Returns:
        A list of str.

    Reference:
        Chen et al., "Microsoft COCO captions: data collection and evaluation server", 2015, section 3.2.

    Example:

    >>> caption_words("A man's T-shirt doesn't fit, does it?")
    ['a', 'man', "'s", 't-shirt', 'does', "n't", 'fit', 'does', 'it']
    """
    words = _WORD.findall(text.lower().replace("\u2019", "'"))
    words = [part for word in words for part in _TWO_WORDS.get(word, (word,))]
    return [word for word in words if not _PUNCTUATION.issuperset(word)]


def count_ngrams(words, max_order=4):
    """Counts the n-grams of a caption.

    Args:
        words: list of str.
        max_order: int. The longest n-grams.

    Returns:
        A list of `Counter`s of tuples of words, one per order from 1 on.

    Example:

    >>> [dict(counts) for counts in count_ngrams(["a", "a"], max_order=2)]
    [{('a',): 2}, {('a', 'a'): 1}]
    """
    return [
        Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))
        for order in range(1, max_order + 1)
    ]
