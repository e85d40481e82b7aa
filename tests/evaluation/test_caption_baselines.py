"""Captions without a captioner."""

import numpy as np
import pytest

from mmlearn.evaluation.caption_baselines import hold_out, most_frequent, nearest_captions


def test_the_person_is_no_reference():
    held_out, references = hold_out([["a", "b", "c"], ["d"], []])
    assert held_out == ["a", None, None]
    assert references == [["b", "c"], [], []]


def test_the_most_frequent_caption_and_of_two_the_first_by_the_alphabet():
    assert most_frequent([["b", "a"], ["b"], ["c"]]) == "b"
    assert most_frequent([["b"], ["a"]]) == "a"
    with pytest.raises(ValueError, match=r"no caption\. Fix: a training split with captions"):
        most_frequent([[], []])


def test_the_nearest_image_is_so_by_the_cosine_and_has_a_caption():
    known = np.array([[10.0, 0.0], [0.0, 0.1], [0.1, 0.1]])
    features = np.array([[0.2, 0.01], [1.0, 9.0], [2.0, 2.1]])
    assert nearest_captions(features, known, [["x", "w"], ["y"], ["z"]]) == ["x", "y", "z"]
    assert nearest_captions(features, known, [["x"], [], ["z"]]) == ["x", "z", "z"]
