"""Holm's correction, by hand."""

import pytest

from mmlearn.evaluation.holm import adjust_by_holm


def test_holm_steps_down_and_never_decreases():
    assert adjust_by_holm([0.01, 0.02, 0.9]) == pytest.approx([0.03, 0.04, 0.9])
    # 3 x 0.02 is more than 2 x 0.025: the larger p may not be adjusted to less.
    assert adjust_by_holm([0.025, 0.02, 0.04]) == pytest.approx([0.06, 0.06, 0.06])
    assert adjust_by_holm([0.6, 0.7]) == [1.0, 1.0]
    assert adjust_by_holm([None, 0.01]) == [None, 0.01]
    # 4 x 0.01, 3 x 0.02, then never less than the one before: 2 x 0.025 < 0.06, 0.9.
    assert adjust_by_holm([0.02, 0.9, 0.01, 0.025]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert adjust_by_holm([]) == []
