"""ROUGE-L."""

import itertools

import numpy as np
import pytest

from mmlearn.evaluation.rouge import rouge_l
from tests.evaluation.captions import as_official, caption_cases


def longest_common(first, second):
    """By trying all subsequences, the longest first."""
    for size in range(len(first), 0, -1):
        for chosen in itertools.combinations(first, size):
            rest = iter(second)
            if all(word in rest for word in chosen):
                return size
    return 0


def test_agrees_with_trying_all_subsequences():
    candidates, references = caption_cases(12)
    candidates = [words[:8] for words in candidates]
    for words, own in zip(candidates, references, strict=True):
        common = [longest_common(words, reference) for reference in own]
        p = max(common) / len(words)
        r = max(c / len(reference) for c, reference in zip(common, own, strict=True))
        expected = (1 + 1.44) * p * r / (r + 1.44 * p) if p and r else 0.0
        np.testing.assert_allclose(rouge_l([words], [own]), [expected])


def test_nothing_in_common_scores_nothing():
    assert rouge_l([["a"], []], [[["b"]], [["b"]]]).tolist() == [0.0, 0.0]


@pytest.mark.large
def test_agrees_with_the_official_evaluation():
    official = pytest.importorskip("pycocoevalcap.rouge.rouge")
    candidates, references = caption_cases(200)
    _, expected = official.Rouge().compute_score(*as_official(candidates, references))
    np.testing.assert_allclose(rouge_l(candidates, references), expected, rtol=0, atol=1e-6)
