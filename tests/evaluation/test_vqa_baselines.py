import numpy as np
from scipy import sparse

from mmlearn.evaluation.vqa_baselines import most_frequent, question_kinds

LABELS = np.float32([[1, 0, 0], [1, 0.3, 0], [0, 1, 0], [0, 0, 1], [0, 0.9, 1]])
KINDS = ["is", "is", "how", "how", "how"]


def test_soft_targets_are_counted():
    assert most_frequent(LABELS) == 1
    assert most_frequent(sparse.csr_array(LABELS)) == 1


def test_each_kind_has_its_own_answer():
    for labels in (LABELS, sparse.csr_array(LABELS)):
        found = most_frequent(labels, KINDS, ["how", "is", "why", "is"])
        assert found.tolist() == [2, 0, 1, 0]  # of "why" nothing is known: the most frequent of all


def test_kinds_are_those_of_the_data_or_first_words():
    found = question_kinds(["is there", "", ""], ["Is there a dog?", "What  color is it", "Why?"])
    assert found == ["is there", "what color", "why?"]
