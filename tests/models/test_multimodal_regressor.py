"""Regression: numbers in their own units, losses in standard deviations."""

import keras
import numpy as np
import pytest

from mmlearn import MultimodalBackbone, MultimodalRegressor, encoders, fusions
from mmlearn.models.prediction_task import PredictionTask
from tests import checks, toys

NAMES = ["euros", "stars"]


def backbone(modalities=("images", "text")):
    """On features made elsewhere: fast, and without dropout the same for everyone."""
    return MultimodalBackbone(
        {m: encoders.Features(length=2, dim=4) for m in modalities},
        fusions.get("concat", dropout=0.0),
        hidden_dim=8,
        dropout=0.0,
        modality_dropout=0.0,
    )


def inputs(count=32, modalities=("images", "text")):
    random = np.random.default_rng(0)
    x = {}
    for m in modalities:
        x[f"{m}_features"] = random.normal(size=(count, 2, 4)).astype("float32")
        x[f"{m}_mask"] = np.ones((count, 2), "int32")
        x[f"{m}_present"] = np.ones(count, "int32")
    return x


def targets(x):
    """Two numbers that the features decide, of very different size."""
    pooled = x["images_features"].mean(axis=1)
    return np.stack([30000 + 5000 * pooled[:, 0], 0.003 * pooled[:, 1]], axis=1)


def regressor(y, seed=3, **kwargs):
    keras.utils.set_random_seed(seed)
    options = {"means": y.mean(axis=0), "deviations": y.std(axis=0), "dropout": 0.0, **kwargs}
    return MultimodalRegressor(backbone(), 2, target_names=NAMES, **options)


@pytest.mark.large
def test_it_learns_targets_of_any_size_in_their_own_units():
    x = inputs()
    y = targets(x)
    task = regressor(y)
    task.compile(keras.optimizers.Adam(3e-2))
    history = task.fit(x, y, epochs=40, verbose=0).history
    scores = task.evaluate(x, y, return_dict=True, verbose=0)
    assert scores["values_r2"] > 0.9
    assert scores["values_r2"] > history["values_r2"][0] + 0.5
    values = task.predict(x, verbose=0)
    error = values - y
    assert (np.abs(error).mean(axis=0) < 0.3 * y.std(axis=0)).all()
    assert scores["values_mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert scores["values_rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    determination = 1 - (error**2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert scores["values_r2"] == pytest.approx(determination.mean(), rel=1e-3)


def test_the_loss_is_the_weighted_sum_in_standard_deviations():
    x = inputs(8)
    y = targets(x)
    task = regressor(y)
    task.compile(run_eagerly=True)
    scores = task.evaluate(x, y, return_dict=True, verbose=0)
    outputs = task.predict_outputs(x, verbose=0)
    total = 0.0
    for name, weight in (("values", 1.0), ("images_values", 0.5), ("text_values", 0.5)):
        expected = (((outputs[name] - y) / y.std(axis=0)) ** 2).mean()
        assert scores[f"{name}_loss"] == pytest.approx(expected, rel=1e-4)
        total += weight * expected
    apart = (outputs["images_values"] - outputs["text_values"]) / y.std(axis=0)
    np.testing.assert_allclose(outputs["consistency"], (apart**2).mean(axis=1), rtol=1e-3)
    total += 0.1 * (apart**2).mean()
    assert scores["loss"] == pytest.approx(total, rel=1e-4)


def test_other_units_train_the_same_model():
    x = inputs(8)
    y = targets(x)
    factor = np.array([100.0, 1000.0])
    losses, values = [], []
    for own in (y, y * factor):
        task = regressor(own)
        task.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        history = task.fit(x, own, epochs=2, shuffle=False, verbose=0).history
        losses.append(history["loss"])
        values.append(task.predict(x, verbose=0))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    np.testing.assert_allclose(values[1], values[0] * factor, rtol=1e-4)


@pytest.mark.parametrize("name", ["mean_absolute_error", "huber"])
def test_losses_by_name(name):
    x = inputs(4)
    y = targets(x)
    task = regressor(y)
    task.compile(loss=name, loss_weights={"main": 1.0}, run_eagerly=True)
    scores = task.evaluate(x, y, return_dict=True, verbose=0)
    error = (task.predict(x, verbose=0) - y) / y.std(axis=0)
    expected = np.abs(error)
    if name == "huber":
        expected = np.where(expected < 1, error**2 / 2, expected - 0.5)
    assert scores["loss"] == pytest.approx(expected.mean(), rel=1e-4)


def test_a_loss_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"Unknown loss of numbers 'focal'\. Known: mean_squared"):
        MultimodalRegressor(backbone(("text",)), 1).compile(loss="focal")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_names": ["euros"]}, r"one name per target\. Received: 1 names, num_targets=2"),
        ({"means": [1.0]}, r"one number per target\. Received: 1 and 2 numbers"),
        ({"deviations": [1.0, 0.0]}, r"must be positive\. Received: deviations=\(1\.0, 0\.0\)\."),
        ({"consistency": "kl"}, r"`consistency` 'kl' compares probabilities.*'values'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MultimodalRegressor(backbone(("text",)), 2, **options)


def test_another_backbone_shares_the_heads_and_the_units():
    x = inputs(4)
    task = regressor(targets(x))
    other = task.with_backbone(task.backbone)
    np.testing.assert_array_equal(other.predict(x, verbose=0), task.predict(x, verbose=0))
    assert other.heads["values"] is task.heads["values"]


@pytest.mark.large
def test_it_trains_and_serves(tmp_path):
    x, _ = toys.examples(4)
    y = np.array([[10.0, 1.0], [30.0, 2.0], [20.0, 2.0], [40.0, 5.0]])
    task = MultimodalRegressor(
        toys.backbone(("text",), fusion="concat"),
        2,
        toys.preprocessor(("text",)),
        target_names=NAMES,
        means=y.mean(axis=0),
        deviations=y.std(axis=0),
        hidden_dim=8,
    )
    checks.check_task(task, {"text": x["text"]}, y, tmp_path)
    again = PredictionTask.from_preset(str(tmp_path / "preset"))  # whatever kind of task it is
    assert isinstance(again, MultimodalRegressor)
    assert again.target_names == NAMES
    np.testing.assert_allclose(again.deviations, y.std(axis=0))
