import json
import os

import cv2
import keras
import numpy as np
import pytest

from mmlearn.analysis.attention import region_maps
from mmlearn.analysis.explanation import explain_example, plot_contributions
from tests import toys


@pytest.fixture(scope="module")
def x():
    keras.utils.set_random_seed(0)
    x, _ = toys.examples(1)
    return {"images": x["images"], "text": ["a red dog"]}


def explain(task, x, folder, label=None):
    image = x["images"][0] if "images" in x else None
    record = explain_example(task, x, image, str(folder), label)
    assert sorted(record["figures"]) == sorted(os.listdir(folder))
    for name in record["figures"]:
        assert cv2.imread(str(folder / name)).std() > 10, name
    return json.loads(json.dumps(record))


def test_words_stand_beside_what_they_contribute(tmp_path):
    def draw(*words):
        share = {"words": [(word, 1.0) for word in words], "special": 0.5}
        plot_contributions(
            {"dog": {**share, "score": 1.0, "baseline": 0.0}}, tmp_path / "words.png"
        )
        return cv2.imread(str(tmp_path / "words.png"))

    assert (draw("cat", "sofa") != draw("dog", "sofa")).any()
    draw("$\\wrong$", "costs 3 $")  # no formula, which would be an error


def test_everything_that_explains_an_example_is_drawn_and_recorded(x, tmp_path):
    task = toys.classifier()
    record = explain(task, x, tmp_path)
    assert record["words"] == ["a", "red", "dog"]
    assert set(record["figures"]) == {
        "attention.png",
        "heads.png",
        "regions.png",
        "grad_cam.png",
        "words.png",
    }
    scores = task.explain(x)["attention_scores"]
    mean = scores["text_to_images"][0, -1].mean(axis=0)[1:4].reshape(3, 2, 2)
    np.testing.assert_allclose(record["attention"]["mean"], mean, atol=1e-4)
    heads = np.array(record["attention"]["layers_and_heads"])
    assert heads.shape == (1, 2, 3, 2, 2)
    np.testing.assert_allclose(heads[0].mean(axis=0), mean, atol=1e-4)
    np.testing.assert_allclose(record["attention"]["rollout"], mean / 2, atol=1e-4)
    regions = scores["images_to_text"][0, -1].mean(axis=0)[:, 1:4].T.reshape(3, 2, 2)
    np.testing.assert_allclose(record["attention"]["regions_to_words"], regions, atol=1e-4)
    assert set(record["predictions"]) == {"dog", "cat", "sofa"}
    assert sum(record["modality_weights"].values()) == pytest.approx(1, abs=1e-3)
    assert set(record["grad_cam"]) == set(record["integrated_gradients"])
    assert record["remarks"] == []


def test_a_label_is_explained_alone_and_an_unknown_one_is_named(x, tmp_path):
    task = toys.classifier()
    assert set(explain(task, x, tmp_path, "cat")["grad_cam"]) == {"cat"}
    with pytest.raises(ValueError, match=r"no label 'cow'\. Fix: one of dog, cat, sofa"):
        explain_example(task, x, None, str(tmp_path), "cow")


def test_a_model_without_attention_says_what_there_is_instead(x, tmp_path):
    record = explain(toys.classifier(fusion="concat"), x, tmp_path)
    assert set(record["figures"]) == {"grad_cam.png", "words.png"}
    (remark,) = record["remarks"]
    assert "no attention of words to regions" in remark and "Grad-CAM" in remark


@pytest.mark.parametrize(
    ("modality", "figure"), [("images", "grad_cam.png"), ("text", "words.png")]
)
def test_one_modality_alone_is_explained(x, modality, figure, tmp_path):
    record = explain(toys.classifier((modality,)), {modality: x[modality]}, tmp_path)
    assert record["figures"] == [figure]


def test_region_maps_share_each_cell_among_words():
    random = np.random.default_rng(0)
    scores = random.random((1, 1, 2, 4 + 16, 4))  # grids of 2x2 and 4x4, four tokens
    scores /= scores.sum(axis=-1, keepdims=True)
    explanation = {"attention_scores": {"images_to_text": scores}}
    tokens = ["[CLS]", "a", "dog", "[SEP]"]
    maps = region_maps(explanation, tokens, ((2, 2), (4, 4)))
    mean = scores[0, 0].mean(axis=0)
    coarse = np.kron(mean[:4, 2].reshape(2, 2), np.ones((2, 2)))
    np.testing.assert_allclose(maps[1][1], (coarse + mean[4:, 2].reshape(4, 4)) / 2, rtol=1e-5)
