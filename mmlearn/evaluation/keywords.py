"""The baseline that reads: a class is there if the text names it."""

import re

import numpy as np

from mmlearn.evaluation.category_words import IMPLIED, SYNONYMS, find_names, names_of

_WORD = re.compile(r"\w+(?:'(?!s\b)\w+)*")


def find_named(texts, label_names, synonyms=None):
    """Finds which classes are named, as whole words in any case.

    Args:
        texts: list of str.
        label_names: list of str. `"_"` and `"-"` in them are spaces.
        synonyms: dict of class to iterable of other words for it, or `None` for those in
            `mmlearn.evaluation.category_words`, of which some name two classes ("skier"). The plurals of
            all count as well.

    Returns:
        bool array `(num_texts, num_classes)`.

    Example:

    >>> find_named(["Two puppies by a hot dog stand"], ["dog", "hot dog", "cat"]).tolist()
    [[True, True, False]]
    >>> find_named(["a hot dog"], ["dog", "hot dog"]).tolist()  # the longer name is what is meant
    [[False, True]]
    """
    names = {}
    for c, label in enumerate(label_names):
        others = (*SYNONYMS.get(label, ()), *IMPLIED.get(label, ()))
        for name in names_of(label, others if synonyms is None else synonyms.get(label, ())):
            names.setdefault(name, []).append(c)
    found = np.zeros((len(texts), len(label_names)), bool)
    for row, text in enumerate(texts):
        for *_, named in find_names(_WORD.findall(text.lower()), names):
            found[row, named] = True
    return found


def keyword_match(texts, label_names, prior, kind="multi_label", synonyms=None):
    """Predicts the classes that the text names.

    Args:
        texts: list of str, "" where there is none.
        label_names: list of str.
        prior: float array `(num_classes,)`, the share of each class in the training split: of what is
            not named.
        kind: `"multi_label"` or `"multi_class"`.
        synonyms: see `find_named`.

    Returns:
        float array `(num_examples, num_classes)`: 1 for a class that is named, else the prior; where
        one class is true, it is shared by those that are named, and the prior where none is.

    Example:

    >>> keyword_match(["a dog", ""], ["dog", "cat"], [0.5, 0.25]).tolist()
    [[1.0, 0.25], [0.5, 0.25]]
    """
    named, prior = find_named(texts, label_names, synonyms), np.asarray(prior, np.float64)
    if kind == "multi_class":
        count = named.sum(axis=1, keepdims=True)
        return np.where(count > 0, named / np.maximum(count, 1), prior)
    return np.where(named, 1.0, prior)
