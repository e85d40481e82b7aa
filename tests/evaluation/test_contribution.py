"""Contributions of modalities: of constructed predictions, of a model, and of a task of text alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
from mmlearn.evaluation.availability import subsets
from mmlearn.evaluation.contribution import (
    SubsetPredictions,
    derangement,
    measure_contribution,
    predict_contributions,
)
from mmlearn.evaluation.example_scores import example_scores
from mmlearn.models.head import Head
from tests import toys

HEAD = Head("classes", "multi_label", ("a", "b"))
LABELS = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
RIGHT, WRONG = LABELS * 0.8 + 0.1, 0.9 - LABELS * 0.8
PRIOR = np.full((4, 2), 0.5)
EVERYWHERE = {m: np.ones(4, bool) for m in ("images", "text")}


def features_classifier(fusion="concat", **kwargs):
    """A classifier of two labels on given features: no encoder has weights."""
    return MultimodalClassifier(
        MultimodalBackbone(
            {m: encoders.Features(3, 4, name=f"{m}_encoder") for m in ("images", "text")},
            fusions.get(fusion),
            hidden_dim=8,
        ),
        num_classes=2,
        **kwargs,
    )


def features_dataset(count=9, seed=0):
    random = np.random.default_rng(seed)
    inputs = {"text_present": np.ones(count, int), "images_present": np.ones(count, int)}
    inputs["text_present"][2] = 0
    for modality in ("images", "text"):
        inputs[f"{modality}_features"] = random.normal(size=(count, 3, 4)).astype("float32")
        inputs[f"{modality}_mask"] = np.ones((count, 3), int)
    labels = random.integers(0, 2, (count, 2))
    labels[:2] = [[1, 0], [0, 1]]
    return inputs, labels


def test_all_measures_of_constructed_predictions():
    # mAP: 0.5 by the prior; text knows everything; images are right about class a, and wrong about b.
    images = np.stack([RIGHT[:, 0], WRONG[:, 1]], axis=1)
    found = SubsetPredictions(
        LABELS,
        EVERYWHERE,
        {(): PRIOR, ("images",): images, ("text",): RIGHT, ("images", "text"): RIGHT},
        {"images": [RIGHT, RIGHT], "text": [images, WRONG]},
        np.array([[0.25, 0.75]] * 4),
    )
    record, by_example = measure_contribution(HEAD, found, num_resamples=20)
    # Two of the four are true, and come last, at one threshold: precision 2/4.
    wrong = 2 / 4
    value = {
        m: {k: v["value"] for k, v in own.items() if k != "dominated_examples"}
        for m, own in record["modalities"].items()
    }
    alone = (1.0 + wrong) / 2 - 0.5
    expected = {
        "shapley": alone / 2,
        "alone": alone,
        "leave_one_out": 0.0,
        "permutation": 0.0,
        "share": alone / 2 / 0.5,
        "weight": 0.25,
    }
    assert {k: value["images"][k] for k in expected} == pytest.approx(expected, abs=1e-12)
    expected = {
        "shapley": 0.5 - alone / 2,
        "alone": 0.5,
        "leave_one_out": 0.5 - alone,
        "permutation": 1 - ((1 + wrong) / 2 + wrong) / 2,
        "weight": 0.75,
    }
    assert {k: value["text"][k] for k in expected} == pytest.approx(expected, abs=1e-12)
    assert record["total"]["value"] == pytest.approx(0.5, abs=1e-12)
    assert record["dominance"] == "text-dominant"
    # An example: log 0.9 each with text; images alone are as good for one class as they are bad for
    # the other.
    total, only = np.log(0.9) - np.log(0.5), (np.log(0.9) + np.log(0.1)) / 2 - np.log(0.5)
    np.testing.assert_allclose(by_example["shapley"], [[only / 2, total - only / 2]] * 4, atol=1e-9)
    # 0.843 of 0.843 + 0.255.
    assert by_example["dominance"] == ["text-dominant"] * 4
    assert record["modalities"]["images"]["dominated_examples"] == 0.0


def test_values_sum_to_the_total_overall_and_by_example():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (80, 5))
    modalities = ("audio", "images", "text")
    predictions = {s: random.random((80, 5)) for s in [(), *subsets(modalities)]}
    found = SubsetPredictions(
        labels,
        {m: np.ones(80, bool) for m in modalities},
        predictions,
        {m: [] for m in modalities},
        None,
    )
    head = Head("classes", "multi_label", tuple("abcde"))
    record, by_example = measure_contribution(head, found, num_resamples=3)
    assert record["sums_to_total_within"] < 1e-9
    total = sum(own["shapley"]["value"] for own in record["modalities"].values())
    assert total == pytest.approx(record["total"]["value"], abs=1e-9)
    both = [example_scores(head, labels, predictions[s]) for s in (modalities, ())]
    np.testing.assert_allclose(by_example["shapley"].sum(axis=1), both[0] - both[1], atol=1e-9)
    flags = by_example["dominance"]
    assert all(
        (flag == "misled") == (t < 0) for flag, t in zip(flags, both[0] - both[1], strict=True)
    )
    assert "permutation" not in record["modalities"]["text"]


def test_nobody_keeps_its_own():
    is_there = np.arange(50) % 3 > 0
    donors = derangement(is_there, np.random.default_rng(0))
    assert sorted(donors) == list(range(50))
    np.testing.assert_array_equal(donors != np.arange(50), is_there)


def test_predictions_are_those_of_the_task_with_modalities_absent_or_exchanged():
    task = features_classifier("late")
    inputs, labels = features_dataset()
    dataset = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(4)
    prior = np.array([0.25, 0.5], "float32")
    calls = []
    found = predict_contributions(
        task, dataset, prior, num_permutations=2, progress=lambda *each: calls.append(each)
    )
    assert calls[-1] == (8, 8)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.subsets[()], np.tile(prior, (9, 1)))
    both = task.predict(inputs, verbose=0)
    np.testing.assert_allclose(found.subsets["images", "text"], both, atol=1e-6)
    there = {**inputs, "text_present": np.zeros(9, int)}
    images = task.predict(there, verbose=0)
    np.testing.assert_allclose(found.subsets["images",], images, atol=1e-6)
    # An example without text gets the prior where the image is taken away.
    np.testing.assert_array_equal(found.subsets["text",][2], prior)
    np.testing.assert_allclose(found.exchanged["text"][0][2], both[2], atol=1e-6)
    random = np.random.default_rng(0)
    donors = derangement(np.ones(9, bool), random)
    mixed = {**inputs, "images_features": inputs["images_features"][donors]}
    expected = task.predict(mixed, verbose=0)
    np.testing.assert_allclose(found.exchanged["images"][0], expected, atol=1e-6)
    assert np.abs(expected - both).max() > 1e-4
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, atol=1e-6)


def test_one_modality_or_several_heads_are_refused():
    task = toys.classifier(("text",), fusion="concat")
    with pytest.raises(ValueError, match=r"two or more modalities. Received: text"):
        predict_contributions(task, None, None)


@pytest.mark.large
def test_the_image_has_no_share_of_a_task_of_text_alone():
    """Labels are words of the caption; images are noise. A real model, trained."""
    random = np.random.default_rng(0)
    names = ("dog", "cat", "sofa")

    def draw(count):
        labels = random.integers(0, 2, (count, 3))
        texts = []
        for row in labels:
            words = [name for name, there in zip(names, row, strict=True) if there]
            words += list(random.choice(["a", "on", "the", "red", "blue"], 3))
            texts.append(" ".join(random.permutation(words)))
        images = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        return {"images": images, "text": texts}, labels

    task = toys.classifier(modality_dropout=0.3)
    task.compile(keras.optimizers.Adam(5e-3))
    # Two epochs: in more, it learns the noise by heart, and what it then makes of an image alone costs
    # likelihood, though no mAP.
    task.fit(*draw(2400), batch_size=16, epochs=2, verbose=0)
    x, y = draw(1000)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(100)
    found = predict_contributions(task, dataset, np.full(3, 0.5))
    record, _ = measure_contribution(task.described["classes"], found)
    images, text = (record["modalities"][m] for m in ("images", "text"))
    assert record["subsets"][-1]["score"]["value"] > 0.99
    assert images["share"]["value"] < 0.02
    assert images["example_share"]["value"] < 0.02
    assert images["permutation"]["value"] < 0.01 < 0.3 < text["permutation"]["value"]
    assert record["sums_to_total_within"] < 1e-9
    assert record["dominance"] == "text-dominant"
    assert text["dominated_examples"] > 0.95
