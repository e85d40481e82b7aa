"""A task gets temperatures and thresholds, and keeps them where it goes."""

import json

import numpy as np
import pytest
import tensorflow as tf

from mmlearn import (
    Head,
    MultimodalBackbone,
    MultimodalClassifier,
    MultimodalMultiTask,
    encoders,
    fusions,
)
from mmlearn.evaluation.calibrate import calibrate, cross_fit, fit
from mmlearn.evaluation.calibration import apply_temperatures, calibration_metrics
from mmlearn.evaluation.evaluate import evaluate
from mmlearn.evaluation.leave_one_out import leave_one_out
from tests import toys

COUNT = 64


@pytest.fixture(scope="module")
def task():
    """On features made elsewhere, for speed: what is fitted sees predictions alone."""
    backbone = MultimodalBackbone(
        {"text": encoders.Features(length=2, dim=4)}, fusions.get("concat"), hidden_dim=8
    )
    return MultimodalClassifier(backbone, 3, label_names=["dog", "cat", "sofa"], hidden_dim=8)


@pytest.fixture(scope="module")
def dataset(task):
    random = np.random.default_rng(0)
    x = {
        name: random.normal(size=(COUNT, *value.shape[1:])).astype("float32")
        if value.dtype == "float32"
        else np.ones((COUNT, *value.shape[1:]), value.dtype)
        for name, value in task.input.items()
    }
    y = random.integers(0, 2, (COUNT, 3))
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(32)


@pytest.fixture(scope="module")
def calibrated(task, dataset):
    return calibrate(task, dataset, thresholds="per_class")


def test_the_report_says_what_was_fitted(task, dataset, calibrated):
    own, reports = calibrated
    (report,) = reports.values()
    json.dumps(report)
    (head,) = own.described.values()
    assert list(report["temperatures"].values()) == list(head.temperatures)
    assert list(report["thresholds"].values()) == list(head.thresholds)
    labels = np.concatenate([y for _, y in dataset])
    values = task.predict(dataset.map(lambda x, y: x), verbose=0)
    assert report["before"]["ECE"] == pytest.approx(calibration_metrics(labels, values)["ECE"])
    scale, cuts = fit("multi_label", labels, values, thresholds="per_class")
    np.testing.assert_allclose(head.temperatures, scale)
    np.testing.assert_allclose(head.thresholds, cuts)
    assert report["on_the_same"]["log_loss"] <= report["before"]["log_loss"]
    assert report["on_the_same"]["macro_F1"] >= report["before"]["macro_F1"]


def test_it_predicts_with_temperatures_and_scores_with_thresholds(task, dataset, calibrated):
    own, _ = calibrated
    inputs = dataset.map(lambda x, y: x)
    (head,) = own.described.values()
    expected = apply_temperatures(task.predict(inputs, verbose=0), head.temperatures)
    np.testing.assert_allclose(own.predict(inputs, verbose=0), expected, atol=1e-6)
    scores, kept = evaluate(own, dataset, np.full(3, 0.5))
    reached = (kept["fused"] >= np.array(head.thresholds)) & (kept["labels"] > 0)
    assert scores["fused"]["micro_recall"] == reached.sum() / (kept["labels"] > 0).sum()


def test_presets_keep_them_and_those_without_are_as_they_were(task, dataset, calibrated, tmp_path):
    own, _ = calibrated
    inputs = dataset.map(lambda x, y: x)
    own.save_to_preset(tmp_path / "preset")
    again = MultimodalClassifier.from_preset(str(tmp_path / "preset"))
    assert again.described == own.described
    np.testing.assert_array_equal(again.predict(inputs, verbose=0), own.predict(inputs, verbose=0))
    assert not {"temperatures", "thresholds"} & set(task.get_config())
    plain = own.with_calibration()
    np.testing.assert_array_equal(plain.predict(inputs, verbose=0), task.predict(inputs, verbose=0))
    # What is fitted starts anew.
    assert calibrate(own, dataset, thresholds="per_class")[1] == calibrated[1]


@pytest.mark.large
def test_exports_have_temperatures(tmp_path):
    task = toys.classifier(("text",), fusion="concat")
    own = task.with_calibration([0.2, 1.0, 5.0])
    own.export(str(tmp_path / "1"))
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    x, _ = toys.examples(4)
    served = serve(text=tf.constant(x["text"]))["probabilities"].numpy()
    plain = task.predict({"text": x["text"]}, verbose=0)
    np.testing.assert_allclose(served, apply_temperatures(plain, [0.2, 1.0, 5.0]), atol=1e-6)
    assert np.abs(served - plain).max() > 1e-3


@pytest.mark.large
def test_without_a_modality_it_has_them_too():
    task = toys.classifier(fusion="late")
    x, y = toys.examples(6)
    y[0], y[1] = 0, 1
    own = task.with_calibration([0.5, 2.0, 3.0], [0.3, 0.5, 0.7])
    scores, _ = leave_one_out(own, tf.data.Dataset.from_tensor_slices((x, y)).batch(6))
    alone = apply_temperatures(task.predict({"text": x["text"]}, verbose=0), [0.5, 2.0, 3.0])
    brier = np.mean((alone - y) ** 2)
    assert scores["without_images"]["Brier"] == pytest.approx(brier, abs=1e-5)


def test_heads_take_what_is_theirs(task):
    several = MultimodalMultiTask(
        task.backbone,
        [Head("a", "multi_label", ("x", "y"), None), Head("b", "multi_class", ("u", "v"), None)],
    )
    own = several.with_calibration({"a": [2.0, 3.0], "b": [4.0, 4.0]}, {"a": [0.1, 0.2]})
    assert own.described["a"].thresholds == (0.1, 0.2)
    assert own.described["b"].temperatures == (4.0, 4.0)
    assert "thresholds" not in own.get_config()["heads"][1]
    assert type(own).from_config(own.get_config()).described == own.described
    with pytest.raises(ValueError, match=r"must be a dict of head name .* for the heads a, b"):
        several.with_calibration([1.0, 1.0])
    with pytest.raises(ValueError, match=r"`thresholds` are for multi_label\. Received: head 'b'"):
        several.with_calibration(thresholds={"b": [0.5, 0.5]})
    with pytest.raises(ValueError, match=r"Unknown head with temperatures 'c'"):
        several.with_calibration({"c": [1.0]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1.0, 1.0],), r"one number per class, positive\. Received: .* for 3 classes"),
        (([1.0, 0.0, 1.0],), r"`temperatures` of the head 'classes' must be .* positive"),
        ((None, [0.5, 1.5, 0.5]), r"`thresholds` .* in \[0, 1\]\. Received: thresholds=\(0.5, 1.5"),
    ],
)
def test_what_is_no_calibration_is_refused(task, given, message):
    with pytest.raises(ValueError, match=message):
        task.with_calibration(*given)


def test_no_example_has_a_say_in_its_own_threshold():
    random = np.random.default_rng(0)
    labels = (random.random((200, 2)) < 0.4).astype(int)
    values = np.clip(random.random(labels.shape) * 0.7 + 0.3 * labels, 0, 1)
    groups, scopes = np.repeat(np.arange(100), 2), ("per_class", "per_class")
    probabilities, cuts = cross_fit("multi_label", labels, values, groups, *scopes)
    halves = [np.unique(cuts[:, c]) for c in (0, 1)]
    assert [len(each) for each in halves] == [2, 2]
    assert (cuts[::2] == cuts[1::2]).all()  # a group is in one half
    first = cuts[:, 0] == halves[0][0]
    assert first.sum() == 100
    scale, expected = fit("multi_label", labels[~first], values[~first], *scopes)
    np.testing.assert_array_equal(cuts[first], np.tile(expected, (100, 1)))
    np.testing.assert_array_equal(probabilities[first], apply_temperatures(values[first], scale))
    # Labels of a half change nothing of its own.
    changed = labels.copy()
    changed[first] = 1 - changed[first]
    np.testing.assert_array_equal(
        cross_fit("multi_label", changed, values, groups, *scopes)[1][first], cuts[first]
    )


@pytest.mark.parametrize(
    ("scopes", "message"),
    [
        (
            ("each", "none"),
            r"`temperatures` must be one of per_class, global, none\. Received: 'each'",
        ),
        (("none", "none"), r"There is nothing to fit .*Fix: 'per_class'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(task, dataset, scopes, message):
    with pytest.raises(ValueError, match=message):
        calibrate(task, dataset, None, *scopes)
