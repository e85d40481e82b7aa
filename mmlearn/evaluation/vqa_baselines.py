"""Answers to visual questions without a look at the image: what a model has to beat."""

import numpy as np


def most_frequent(labels, kinds=None, asked=None):
    """The most frequent answer of the training questions, or of those of the same kind.

    Args:
        labels: soft targets of the training questions, array or sparse array `(num_questions,
            num_answers)`.
        kinds: list of str, the kind of each, such as its first words; or `None` for no kinds.
        asked: list of str, the kinds of the questions to answer.

    Returns:
        The column of the answer: int, or with kinds an int array `(num_asked,)`, for a kind that
        training has not seen the most frequent of all.

    Reference:
        Antol et al. (2015), "VQA: Visual Question Answering", section 4 (`prior ("yes")` and
        `per Q-type prior`).

    Example:

    >>> labels = np.array([[1, 0], [1, 0], [0, 1]])
    >>> most_frequent(labels)
    0
    >>> most_frequent(labels, ["is there", "is there", "how many"], ["how many", "why"]).tolist()
    [1, 0]
    """
    overall = _largest(labels)
    if kinds is None:
        return overall
    kinds = np.asarray(kinds)
    own = {kind: _largest(labels[np.flatnonzero(kinds == kind)]) for kind in set(asked) & {*kinds}}
    return np.array([own.get(kind, overall) for kind in asked])


def _largest(labels):
    return int(np.argmax(np.asarray(labels.sum(axis=0)).ravel()))


def question_kinds(question_types, texts, num_words=2):
    """The kind of each question: the one that the data give, or its first words.

    Args:
        question_types: list of str, "" where there is none.
        texts: list of str.
        num_words: int.

    Returns:
        A list of str.

    Example:

    >>> question_kinds(["what color", ""], ["what color is it?", "How many are there?"])
    ['what color', 'how many']
    """
    return [
        given or " ".join(text.lower().split()[:num_words])
        for given, text in zip(question_types, texts, strict=True)
    ]
