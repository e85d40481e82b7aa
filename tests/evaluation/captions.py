"""Captions that have words in common, for the tests of what scores them."""

import numpy as np


def caption_cases(count, seed=0):
    """Candidates, lists of words, and one to five references of each image."""
    random = np.random.default_rng(seed)
    words = np.array([f"w{number}" for number in range(30)])
    shares = np.linspace(2.0, 0.1, 30)

    def write():
        drawn = random.choice(words, random.integers(1, 14), p=shares / shares.sum())
        return drawn.tolist()

    candidates = [write() for _ in range(count)]
    references = [[write() for _ in range(random.integers(1, 6))] for _ in range(count)]
    for row in range(0, count, 7):  # some that agree, but for the last word
        references[row][0] = candidates[row][:-1] or candidates[row]
    return candidates, references


def as_official(candidates, references):
    """The two arguments that the official evaluation takes: references and candidates by image."""
    wanted = {row: [" ".join(words) for words in own] for row, own in enumerate(references)}
    return wanted, {row: [" ".join(words)] for row, words in enumerate(candidates)}
