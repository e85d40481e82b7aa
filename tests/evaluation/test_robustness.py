"""Damage: what is predicted is what the task predicts from damaged examples; sums by hand."""

import numpy as np
import pytest
import tensorflow as tf

from data_prep.corruptions import CORRUPTIONS, corrupt
from data_prep.text_noise import NOISES, add_noise, first_words
from mmlearn.evaluation.robustness import Curve, Damaged, DamageTest, measure_robustness
from mmlearn.models.head import Head
from tests import toys

HEAD = Head("classes", "multi_label", ("a",))


def test_area_and_relative_robustness_by_hand():
    labels = np.array([[1], [0], [0], [0]])
    # The true one is ranked first, second, fourth: average precision 1, 1/2, 1/4.
    first, second, fourth = (
        np.array(order, float)[:, None]
        for order in ([0.9, 0.3, 0.2, 0.1], [0.8, 0.9, 0.2, 0.1], [0.0, 0.3, 0.2, 0.1])
    )
    damaged = Damaged(
        labels,
        {"fused": first, "images": second},
        {"images": second},
        np.full((4, 1), 0.25),
        [
            Curve("images", "corruption", "fog", [1, 2], [second, fourth], [fourth, fourth]),
            Curve("images", "corruption", "jpeg", [1, 2], [first, second]),
            Curve("images", "blank", "blank", [0.5, 1.0], [fourth, fourth]),
        ],
    )
    record = measure_robustness(HEAD, damaged, num_resamples=5)
    fog, jpeg, blank = record["curves"]
    assert [point["value"] for point in fog["fused"]] == [0.5, 0.25]
    assert [point["value"] for point in fog["alone"]] == [0.25, 0.25]
    # Trapezoids over 0, 1, 2: (1 + 1/2) / 2 + (1/2 + 1/4) / 2, divided by 2.
    assert fog["area"]["value"] == pytest.approx(0.5625)
    assert fog["relative"]["value"] == pytest.approx(0.375)
    assert jpeg["area"]["value"] == pytest.approx(0.875)
    assert jpeg["relative"]["value"] == pytest.approx(0.75)
    assert blank["area"]["value"] == pytest.approx(0.4375)
    # Blank images are no corruption, so they are not in the mean.
    assert record["relative"]["images"]["value"] == pytest.approx((0.375 + 0.75) / 2)
    assert record["clean"]["fused"]["value"] == 1.0
    assert record["without"]["images"]["value"] == 0.5
    assert record["prior"]["value"] == 0.25


@pytest.fixture(scope="module")
def damage():
    """A test of a tiny classifier on five examples, one of them without an image."""
    task = toys.classifier()
    x, y = toys.examples(5)
    inputs = model_inputs(task, x["images"][:, :32, :32], x["text"])
    dataset = tf.data.Dataset.from_tensor_slices((inputs, y)).batch(5)
    test = DamageTest(task, dataset, x["text"], np.array([0.3, 0.4, 0.5]), batch_size=5, seed=7)
    return task, x["images"][:, :32, :32], x["text"], test


def model_inputs(task, images, texts, present=(1, 1, 1, 1, 0)):
    """Model inputs of images of the model's own size, and of texts."""
    text = task.preprocessor.converters["text"].convert(tf.constant(texts), "text")
    inputs = {name: np.asarray(value) for name, value in text.items()}
    return {**inputs, "images": np.float32(images), "images_present": np.array(present)}


def test_every_kind_of_damage_is_a_curve(damage):
    *_, test = damage
    curves = test.curves()
    names = {(curve.modality, curve.name) for curve in curves}
    assert len(names) == len(curves)
    assert {("images", name) for name in CORRUPTIONS} | {("text", name) for name in NOISES} < names
    assert len(CORRUPTIONS) >= 12
    for modality in ("images", "text"):
        assert {(modality, n) for n in ("absent", "blank", "of_another_example")} < names
    assert ("text", "first_words") in names


def test_predictions_are_those_of_damaged_examples(damage):
    task, images, texts, test = damage
    curves = [
        Curve("images", "corruption", "jpeg", [4]),
        Curve("text", "noise", "typos", [5]),
        Curve("text", "length", "first_words", [2]),
        Curve("images", "absent", "absent", [1.0]),
        Curve("images", "blank", "blank", [1.0]),
        Curve("text", "exchanged", "of_another_example", [1.0]),
    ]
    calls = []
    found = test.run(curves, lambda *each: calls.append(each))
    assert calls[-1] == (6, 6)
    by_name = {(curve.modality, curve.name): curve for curve in found.curves}

    def predict(*args):
        return task.predict_outputs(model_inputs(task, *args), verbose=0)

    clean = predict(images, texts)
    np.testing.assert_allclose(found.clean["fused"], clean["classes"], atol=1e-5)
    # The example without an image gets the prior from the image head.
    np.testing.assert_allclose(found.clean["images"][:4], clean["images_classes"][:4], atol=1e-5)
    np.testing.assert_allclose(found.clean["images"][4], [0.3, 0.4, 0.5])

    damaged = [corrupt(image, "jpeg", 4, (7, row)) for row, image in enumerate(images)]
    expected, jpeg = predict(damaged, texts), by_name["images", "jpeg"]
    np.testing.assert_allclose(jpeg.fused[0], expected["classes"], atol=1e-5)
    np.testing.assert_allclose(jpeg.alone[0][:4], expected["images_classes"][:4], atol=1e-5)
    assert np.abs(jpeg.fused[0] - clean["classes"])[:4].max() > 1e-4

    typed = [add_noise(text, "typos", 5, (7, row)) for row, text in enumerate(texts)]
    short = [first_words(text, 2) for text in texts]
    assert typed != texts
    for name, expected in (
        (("text", "typos"), predict(images, typed)),
        (("text", "first_words"), predict(images, short)),
        (("images", "absent"), predict(images, texts, [0] * 5)),
        (("images", "blank"), predict(np.full_like(images, 127), texts)),
    ):
        found = by_name[name].fused[0]
        np.testing.assert_allclose(found, expected["classes"], atol=1e-5, err_msg=str(name))
    # All texts change places.
    other = by_name["text", "of_another_example"].fused[-1]
    assert (np.abs(other - clean["classes"]).max(axis=1) > 1e-6).all()


def test_a_larger_share_hits_the_same_examples_and_more(damage):
    *_, test = damage
    hit = [set(test._rows("text", share).tolist()) for share in (0.2, 0.6, 1.0)]
    assert hit[0] < hit[1] < hit[2] == set(range(5))
    assert 4 not in test._rows("images", 1.0)
