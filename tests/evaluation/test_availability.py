"""Scores with modalities missing: which examples lose what, and what their predictions are."""

import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
from mmlearn.cli.tables import availability_table
from mmlearn.evaluation.availability import (
    SHARES,
    availability_grid,
    draw_available,
    predict_subsets,
    subsets,
)
from mmlearn.evaluation.classification import multilabel_metrics

EVERYWHERE = {m: np.ones(200, bool) for m in ("audio", "images", "text")}


def test_subsets_are_all_but_the_empty_one():
    assert subsets(["text", "images"]) == [("images",), ("text",), ("images", "text")]
    assert len(subsets("abcde")) == 31


def test_exactly_the_wanted_share_of_those_that_have_it():
    present = {"images": np.arange(200) % 2 == 0, "text": np.ones(200, bool)}
    available = draw_available(present, {"images": 0.25, "text": 1.0})
    assert available["images"].sum() == 25
    assert not (available["images"] & ~present["images"]).any()
    assert available["text"].all()


def test_what_is_there_at_a_share_is_there_at_a_larger_one():
    before = np.zeros(200, bool)
    for share in reversed(SHARES):
        available = draw_available(EVERYWHERE, {"audio": 1.0, "images": share, "text": 0.5}, 3)
        assert not (before & ~available["images"]).any()
        before = available["images"]
    assert before.all()


def test_modalities_are_drawn_independently_and_by_seed():
    shares = dict.fromkeys(EVERYWHERE, 0.5)
    available = draw_available(EVERYWHERE, shares)
    for first, second in (("images", "text"), ("audio", "text")):
        assert 0.35 < (available[first] == available[second]).mean() < 0.65
    again, other = draw_available(EVERYWHERE, shares), draw_available(EVERYWHERE, shares, seed=1)
    np.testing.assert_array_equal(available["text"], again["text"])
    assert (available["text"] != other["text"]).any()


def test_every_example_keeps_one_of_what_may_be_there():
    available = draw_available(EVERYWHERE, {"audio": 0.0, "images": 0.25, "text": 0.25})
    assert not available["audio"].any()
    count = available["images"].astype(int) + available["text"]
    assert count.min() == 1
    # Without that rule, a sixteenth would have both; with it these do not change.
    assert 0.02 < (count == 2).mean() < 0.12
    alone = draw_available(EVERYWHERE, {"audio": 0.0, "images": 0.0, "text": 0.25})
    assert alone["text"].all()
    present = {"images": np.array([True, False]), "text": np.array([False, True])}
    found = draw_available(present, {"images": 0.0, "text": 1.0})
    assert [found[m].tolist() for m in ("images", "text")] == [[False, False], [False, True]]


def test_cells_are_made_of_the_predictions_of_the_subsets():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (200, 4))
    present = {"images": random.random(200) < 0.9, "text": random.random(200) < 0.8}
    predictions = {subset: random.random((200, 4)) for subset in subsets(present)}
    grid = availability_grid(labels, present, predictions, seed=5)
    assert grid["modalities"] == ["images", "text"]
    assert len(grid["cells"]) == len(SHARES) ** 2 - 1
    for cell in grid["cells"]:
        shares = dict(zip(grid["modalities"], cell["shares"], strict=True))
        available = draw_available(present, shares, seed=5)
        rows, values = [], []
        for row in range(200):
            subset = tuple(m for m in sorted(present) if available[m][row])
            if subset:
                rows.append(row)
                values.append(predictions[subset][row])
        assert cell["num_examples"] == len(rows)
        expected = multilabel_metrics(labels[rows], np.array(values))["mAP"]
        np.testing.assert_allclose(cell["mAP"], expected, rtol=1e-12)
        for modality, share in zip(grid["modalities"], cell["available"], strict=True):
            assert share == available[modality].sum() / present[modality].sum()
    table = availability_table(grid)
    assert table.row_count == 5
    (last,) = [c for c in table.columns if c.header == "text 0%"]
    assert list(last.cells)[-1] == ""


def test_one_modality_has_no_grid():
    with pytest.raises(ValueError, match=r"two or more modalities.* Received: text"):
        availability_grid(np.ones((1, 1), int), {"text": np.ones(1, bool)}, {})


def test_predictions_of_a_subset_are_those_without_the_others():
    task = MultimodalClassifier(
        MultimodalBackbone(
            {m: encoders.Features(3, 4, name=f"{m}_encoder") for m in ("images", "text")},
            fusions.get("concat"),
            hidden_dim=8,
        ),
        num_classes=2,
    )
    random = np.random.default_rng(0)
    inputs = {"text_present": np.array([1, 1, 0, 1, 1]), "images_present": np.ones(5, int)}
    for modality in ("images", "text"):
        inputs[f"{modality}_features"] = random.normal(size=(5, 3, 4)).astype("float32")
        inputs[f"{modality}_mask"] = np.ones((5, 3), int)
    y = random.integers(0, 2, (5, 2))
    dataset = tf.data.Dataset.from_tensor_slices((inputs, y)).batch(3)
    labels, present, predictions = predict_subsets(task, dataset)
    np.testing.assert_array_equal(labels, y)
    assert present["text"].tolist() == [True, True, False, True, True]
    assert present["images"].all()
    both = task.predict(inputs, verbose=0)
    np.testing.assert_allclose(predictions["images", "text"], both, atol=1e-6)
    images = task.predict({**inputs, "text_present": np.zeros(5, int)}, verbose=0)
    np.testing.assert_allclose(predictions["images",], images, atol=1e-6)
    differences = np.abs(images - both).max(axis=1) > 1e-5
    assert differences.tolist() == [True, True, False, True, True]
    text = task.predict({**inputs, "images_present": np.array([0, 0, 1, 0, 0])}, verbose=0)
    rows = [0, 1, 3, 4]
    np.testing.assert_allclose(predictions["text",][rows], text[rows], atol=1e-6)
