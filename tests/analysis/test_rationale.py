import cv2
import numpy as np
import pytest

from mmlearn import VisualQuestionAnswerer
from mmlearn.analysis.attention import read_tokens, word_maps
from mmlearn.analysis.rationale import plot_rationale, rationale
from tests import toys

QUESTION = "the red dog on a sofa"


def answerer(fusion="cross_attention"):
    return VisualQuestionAnswerer(
        toys.backbone(fusion=fusion),
        3,
        toys.preprocessor(),
        ["yes", "no", "red"],
        hidden_dim=8,
    )


@pytest.fixture(scope="module")
def task():
    return answerer()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_regions_are_those_that_words_attend_to(task, image):
    found = rationale(task, image, QUESTION, count=2)
    explanation = task.explain({"images": [image], "text": [QUESTION]})
    maps = word_maps(explanation, read_tokens(task, QUESTION), [(2, 2)])
    heat = np.mean([each for _, each in maps], axis=0)
    order = np.argsort(-heat.ravel())
    boxes = [[0, 0, 30, 20], [30, 0, 60, 20], [0, 20, 30, 40], [30, 20, 60, 40]]  # of a 2x2 grid
    assert [region["box"] for region in found["regions"]] == [boxes[cell] for cell in order[:2]]
    for region, cell in zip(found["regions"], order, strict=False):
        assert region["share"] == pytest.approx(heat.ravel()[cell], abs=1e-5)
        weights = {word: each.ravel()[cell] for word, each in maps}
        assert region["word"] == max(weights, key=weights.get)


def test_the_answer_is_asked_for_again_without_them(task, image):
    found = rationale(task, image, QUESTION, count=1)
    ((left, top, right, bottom),) = (region["box"] for region in found["regions"])
    hidden = image.copy()
    hidden[top:bottom, left:right] = image.mean(axis=(0, 1)).round()
    before, after = (
        task.predict({"images": [each], "text": [QUESTION]}, verbose=0)[0]
        for each in (image, hidden)
    )
    best = before.argmax()
    assert found["question"] == QUESTION
    assert (found["answer"], found["answer_without"]) == (
        task.label_names[best],
        task.label_names[after.argmax()],
    )
    assert found["probability"] == pytest.approx(before[best], abs=1e-4)
    assert found["probability_without"] == pytest.approx(after[best], abs=1e-4)


def test_without_attention_there_is_no_rationale(image):
    assert rationale(answerer("concat"), image, QUESTION) is None


def test_it_is_drawn(task, image, tmp_path):
    found = rationale(task, image, "what is the $ $ for?", count=2)
    plot_rationale(image, found, str(tmp_path / "rationale.png"))
    drawn = cv2.imread(str(tmp_path / "rationale.png"))
    assert min(drawn.shape[:2]) > 300
    red = np.abs(drawn.astype(int) - (40, 39, 214)).max(axis=-1) < 10  # the frames, BGR
    assert red.sum() > 500
