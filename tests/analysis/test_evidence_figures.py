"""Figures of calibration and confusion: what is drawn of which task."""

import os

import cv2
import numpy as np
import pytest

from mmlearn.analysis.calibration import confidences, plot_calibration
from mmlearn.analysis.confusion import draw_confusion, plot_confusion
from mmlearn.models.head import Head
from tests.evaluation.test_describe import NAMES, Described, predictions


@pytest.mark.parametrize("kind", ["multi_label", "multi_class"])
def test_each_head_of_classes_has_its_figures(kind, tmp_path):
    task = Described(Head("classes", kind, NAMES))
    for plot, name in ((plot_calibration, "calibration"), (plot_confusion, "confusion")):
        (path,) = plot(task, predictions(kind), str(tmp_path))
        assert os.path.basename(path) == f"{name}.png"
        assert cv2.imread(path).std() > 10  # something is drawn


def test_numbers_have_none(tmp_path):
    task, own = Described(Head("x", "regression", NAMES)), predictions("regression")
    assert (
        plot_calibration(task, own, str(tmp_path)) == plot_confusion(task, own, str(tmp_path)) == []
    )
    assert os.listdir(tmp_path) == []


def test_unknown_labels_have_no_confidence():
    labels = np.array([[1, -1], [0, 1]])
    truth, values = confidences("multi_label", labels, np.array([[0.9, 0.8], [0.2, 0.7]]))
    assert truth.tolist() == [True, False, True]
    assert values.tolist() == [0.9, 0.2, 0.7]


def test_of_many_classes_the_most_confused_are_drawn(tmp_path):
    matrix = np.diag(np.full(12, 9.0))
    matrix[2, 7] = 4
    names = [f"class {c}" for c in range(12)]
    sizes = []
    for most in (12, 3):
        path = str(tmp_path / f"{most}.png")
        draw_confusion(matrix, names, path, most)
        sizes.append(cv2.imread(path).shape[0])
    assert sizes[1] < sizes[0]
