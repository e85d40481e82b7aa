"""Grad-CAM and integrated gradients, against what a linear head makes of them."""

import keras
import numpy as np
import pytest

from mmlearn import MultimodalClassifier, encoders, fusions
from mmlearn.analysis.class_scores import check_gradients
from mmlearn.analysis.grad_cam import grad_cam
from mmlearn.analysis.integrated_gradients import integrated_gradients
from tests import toys


@pytest.fixture(scope="module")
def task():
    keras.utils.set_random_seed(3)
    return toys.classifier()


@pytest.fixture(scope="module")
def x():
    return toys.examples(4)[0]


def logits(task, features, name):
    kernel, bias = (np.asarray(w) for w in task.heads[name].get_weights())
    return features @ kernel + bias


def test_grad_cam_of_a_linear_head_is_that_classes_activation(task, x):
    columns = np.array([0, 2, 1, 0])
    maps = grad_cam(task, x, columns)
    inputs = task.read_inputs(x)
    features = np.asarray(task.backbone.encode(inputs)[0]["images"])
    weights = np.asarray(task.heads["images_classes"].get_weights()[0])[:, columns].T
    # The pooled features are the mean of four regions, and so is each one's gradient a fourth.
    expected = np.maximum(np.einsum("brd,bd->br", features, weights) / 4, 0)
    np.testing.assert_allclose(np.reshape(maps, (4, 4)), expected, rtol=1e-3, atol=1e-6)
    assert np.ptp(maps) > 0


def test_grad_cam_of_the_main_output_sees_the_text_too(task, x):
    columns = np.zeros(4, int)
    own = grad_cam(task, x, columns, alone=False)
    other = grad_cam(task, {**x, "text": x["text"][::-1]}, columns, alone=False)
    assert np.abs(np.array(own) - other).max() > 0
    alone = grad_cam(task, {**x, "text": x["text"][::-1]}, columns)
    np.testing.assert_array_equal(alone, grad_cam(task, x, columns))


def test_grad_cam_takes_a_users_own_network(x):
    network = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 8, 8, activation="relu")]
    )
    image_encoder = encoders.ImageEncoder(network, normalization="symmetric", name="images_encoder")
    from mmlearn import MultimodalBackbone, MultimodalPreprocessor

    own = MultimodalClassifier(
        MultimodalBackbone({"images": image_encoder}, fusions.get("concat"), hidden_dim=8),
        2,
        preprocessor=MultimodalPreprocessor({"images": encoders.ImageConverter(32)}),
    )
    maps = grad_cam(own, {"images": x["images"]}, np.array([0, 1, 0, 1]))
    assert np.shape(maps) == (4, 4, 4) and np.min(maps) >= 0
    with pytest.raises(ValueError, match="Integrated gradients are of a text encoder"):
        integrated_gradients(own, {"images": x["images"][:1]}, 0)


@pytest.mark.parametrize("alone", [True, False])
def test_contributions_of_words_add_up_to_the_score(task, x, alone):
    one = {"images": x["images"][:1], "text": ["a red dog on the sofa"]}
    found = integrated_gradients(task, one, 1, alone=alone)
    assert [word for word, _ in found["words"]] == ["a", "red", "dog", "on", "the", "sofa"]
    total = sum(value for _, value in found["words"]) + found["special"]
    assert found["gap"] == pytest.approx(found["score"] - found["baseline"] - total, abs=1e-5)
    assert abs(found["gap"]) < 0.01 * max(abs(v) for _, v in found["words"])  # completeness
    coarse = integrated_gradients(task, one, 1, alone=alone, num_steps=2)
    assert abs(coarse["gap"]) > abs(found["gap"])


def test_the_score_is_the_logit_of_the_prediction(task, x):
    one = {"images": x["images"][:1], "text": ["a red dog"]}
    found = integrated_gradients(task, one, 2, num_steps=2)
    p = task.predict(one, verbose=0)[0, 2]
    assert found["score"] == pytest.approx(np.log(p / (1 - p)), abs=1e-4)
    alone = integrated_gradients(task, one, 2, alone=True, num_steps=2)
    inputs = task.read_inputs(one)
    features, masks = task.backbone.encode(inputs)
    pooled = np.asarray(features["text"])[0][np.asarray(masks["text"])[0]].mean(axis=0)
    assert alone["score"] == pytest.approx(logits(task, pooled, "text_classes")[2], abs=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"max_chunks": 2}, {"max_chunks": 2, "chunk_pooling": "none"}]
)
@pytest.mark.parametrize("name", ["bert_tiny", "lstm", "words"])
def test_an_encoder_taken_apart_computes_the_same(name, options):
    encoder = encoders.get("text", name, vocabulary_size=20, sequence_length=4, **options)
    length = 4 * options.get("max_chunks", 1)
    inputs = {n: np.ones((2, length), "int32") for n in encoder.model_inputs("text")}
    inputs["token_ids"] = np.arange(2 * length, dtype="int32").reshape(2, length) % 19 + 1
    inputs["padding_mask"][1, 3:] = 0
    if "segment_ids" in inputs:
        inputs["segment_ids"] *= 0
    embed, encode = encoder.split_at_embeddings()
    features, mask = encode(embed(inputs), inputs)
    expected, expected_mask = encoder(inputs)
    np.testing.assert_array_equal(mask, expected_mask)
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_another_keras_backend_is_named(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"Grad-CAM needs gradients by TensorFlow.*Keras on jax"):
        check_gradients("Grad-CAM")
