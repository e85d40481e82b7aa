"""What the page shows of a prediction is what the task says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import VisualQuestionAnswerer
from mmlearn.analysis.attention import read_tokens, word_maps
from mmlearn.analysis.grad_cam import grad_cam
from mmlearn.demo import predicting
from mmlearn.demo.photos import Photo
from tests import toys

TEXT = "a red dog"


@pytest.fixture(scope="module")
def photo():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    return Photo(tf.io.encode_png(pixels).numpy(), pixels)


@pytest.fixture(scope="module")
def task():
    keras.utils.set_random_seed(0)
    return toys.classifier()


def values(prediction):
    return {row.label: row.value for row in prediction.heads[0].rows}


def test_probabilities_weights_and_maps_are_those_of_the_task(task, photo):
    found = predicting.predict_example(task, photo, TEXT)
    x = {"images": [photo.data], "text": [TEXT]}
    explanation = task.explain(x)
    names = ["dog", "cat", "sofa"]
    wanted = dict(zip(names, explanation["classes"][0].tolist(), strict=True))
    assert values(found) == pytest.approx(wanted, abs=1e-6)
    likeliest = sorted(names, key=lambda name: -wanted[name])
    assert [row.label for row in found.heads[0].rows] == likeliest
    assert all(row.change is None and row.is_predicted is None for row in found.heads[0].rows)
    weights = dict(zip(("images", "text"), explanation["modality_weights"][0], strict=True))
    assert found.modality_weights == pytest.approx(weights, abs=1e-6)
    maps = word_maps(explanation, read_tokens(task, TEXT), [(2, 2)])
    for (word, heat), (wanted_word, wanted_heat) in zip(found.word_maps, maps, strict=True):
        assert word == wanted_word
        np.testing.assert_allclose(heat, wanted_heat, atol=1e-6)
    assert [label for label, _ in found.label_maps] == likeliest
    (heat,) = grad_cam(task, x, np.array([names.index(likeliest[0])]))
    np.testing.assert_allclose(found.label_maps[0][1], heat / max(heat.sum(), 1e-12), atol=1e-5)
    assert found.remarks == []


@pytest.mark.parametrize("left", ["images", "text"])
def test_what_is_left_out_changes_the_answer_and_is_told(task, photo, left):
    found = predicting.predict_example(task, photo, TEXT, {left})
    x = {"images": [photo.data], "text": [TEXT]}
    everything = task.explain(x)["classes"][0]
    del x[left]
    alone = task.explain(x)["classes"][0]
    assert abs(alone - everything).max() > 1e-5
    for row in found.heads[0].rows:
        column = task.label_names.index(row.label)
        assert row.value == pytest.approx(alone[column], abs=1e-6)
        assert row.change == pytest.approx(alone[column] - everything[column], abs=1e-6)
    assert found.word_maps == []
    assert bool(found.label_maps) == (left == "text")


def test_nothing_is_one_line_and_so_is_too_much(task, photo):
    for given in ({}, {"text": "  \n"}, {"photo": photo, "left_out": {"images"}}):
        with pytest.raises(
            ValueError, match=r"nothing to predict from\. Fix: give an image or a text"
        ):
            predicting.predict_example(task, **given)
    with pytest.raises(
        ValueError, match=r"The text has 10,001 characters, and 10,000 are the most"
    ):
        predicting.predict_example(task, photo, "a" * 10_001)


def test_a_model_without_attention_says_so_and_has_other_maps(photo):
    found = predicting.predict_example(toys.classifier(fusion="late"), photo, TEXT)
    assert found.word_maps == []
    assert len(found.label_maps) == 3
    (remark,) = found.remarks
    assert remark.startswith("The model has no attention of words to regions (its fusion has none)")


@pytest.mark.parametrize("modality", ["images", "text"])
def test_a_model_of_one_modality_takes_what_it_can(photo, modality):
    task = toys.classifier((modality,), fusion="concat")
    found = predicting.predict_example(task, photo, TEXT)
    x = {"images": [photo.data], "text": [TEXT]}
    wanted = task.explain({modality: x[modality]})["classes"][0]
    assert values(found) == pytest.approx(
        dict(zip(task.label_names, wanted, strict=True)), abs=1e-6
    )
    assert bool(found.label_maps) == (modality == "images")


def test_calibration_and_thresholds_are_told(task, photo):
    calibrated = task.with_calibration([2.0, 2.0, 2.0], [0.0, 0.0, 1.0])
    (head,) = predicting.predict_example(calibrated, photo, TEXT).heads
    assert head.is_calibrated
    assert {row.label: row.is_predicted for row in head.rows} == {
        "dog": True,
        "cat": True,
        "sofa": False,
    }


def test_numbers_keep_their_order(photo):
    from mmlearn import MultimodalRegressor

    task = MultimodalRegressor(
        toys.backbone(),
        num_targets=2,
        preprocessor=toys.preprocessor(),
        target_names=["price", "age"],
        means=[100.0, 5.0],
        deviations=[10.0, 1.0],
        hidden_dim=8,
    )
    (head,) = predicting.predict_example(task, photo, TEXT).heads
    assert head.is_regression
    assert [row.label for row in head.rows] == ["price", "age"]


def test_an_answer_comes_with_boxes_in_shares_of_the_image(photo):
    task = VisualQuestionAnswerer(
        toys.backbone(), 3, toys.preprocessor(), ["yes", "no", "red"], hidden_dim=8
    )
    prediction, reasons = predicting.answer_question(task, photo, TEXT)
    assert reasons["answer"] == prediction.heads[0].rows[0].label
    quarters = {(x, y, x + 0.5, y + 0.5) for x in (0, 0.5) for y in (0, 0.5)}
    assert {tuple(region["box"]) for region in reasons["regions"]} < quarters
    with pytest.raises(ValueError, match=r"no image to ask about\. Fix: give one"):
        predicting.answer_question(task, None, TEXT)
    with pytest.raises(ValueError, match=r"no question\. Fix: ask one"):
        predicting.answer_question(task, photo, " ")


def test_a_model_of_neither_images_nor_text_is_refused(tmp_path):
    from mmlearn import MultimodalBackbone, MultimodalClassifier, MultimodalPreprocessor, encoders

    converter = toys.preprocessor(("table",)).converters["table"]
    encoder = encoders.get("table", "mlp", num_numbers=2, num_categories=(3,))
    task = MultimodalClassifier(
        MultimodalBackbone({"table": encoder}, toys.get_fusion("concat"), hidden_dim=16),
        2,
        preprocessor=MultimodalPreprocessor({"table": converter}),
        hidden_dim=8,
    )
    task.save_to_preset(str(tmp_path / "preset"))
    with pytest.raises(
        ValueError, match=r"shows images and texts, and .* is a model of table\. Fix"
    ):
        predicting.open_predictor(str(tmp_path))
