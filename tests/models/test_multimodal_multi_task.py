"""Several heads on the same fused features."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import Head, MultimodalMultiTask
from tests import checks, toys
from tests.models.test_multimodal_regressor import backbone, inputs

OBJECTS = Head("objects", "multi_label", ("dog", "cat", "sofa"), hidden_dim=8)
SCENE = Head("scene", "multi_class", ("indoor", "outdoor"), hidden_dim=None)
PRICE = Head("price", "regression", ("euros",), 8, means=(20.0,), deviations=(10.0,))
HEADS = [OBJECTS, SCENE, PRICE]


def labels(count=8):
    random = np.random.default_rng(1)
    scene = np.eye(2)[random.integers(0, 2, count)]
    price = 20 + 10 * random.normal(size=(count, 1))
    return np.hstack([random.integers(0, 2, (count, 3)), scene, price]).astype("float32")


def task(**kwargs):
    keras.utils.set_random_seed(4)
    return MultimodalMultiTask(backbone(), HEADS, dropout=0.0, **kwargs)


def test_each_head_has_an_output_auxiliary_ones_and_agreement():
    own = task()
    expected = {
        name
        for head in ("objects", "scene", "price")
        for name in (head, f"images_{head}", f"text_{head}", f"{head}_consistency")
    }
    assert set(own.output) == expected
    assert own.label_names == ["dog", "cat", "sofa", "indoor", "outdoor", "euros"]
    predicted = own.predict(inputs(3), verbose=0)
    assert {n: v.shape for n, v in predicted.items()} == {
        "objects": (3, 3),
        "scene": (3, 2),
        "price": (3, 1),
    }
    np.testing.assert_allclose(predicted["scene"].sum(axis=1), 1.0, atol=1e-6)
    assert np.abs(predicted["price"] - 20).max() < 100  # in euros


def test_the_loss_is_the_weighted_sum_over_the_columns_of_each_head():
    own, x, y = task(), inputs(8), labels()
    own.compile(loss_weights={"main": 1.0, "price": 3.0, "consistency": 0.1}, run_eagerly=True)
    scores = own.evaluate(x, y, return_dict=True, verbose=0)
    p = own.predict_outputs(x, verbose=0)
    parts = {
        "objects": -np.mean(
            y[:, :3] * np.log(p["objects"]) + (1 - y[:, :3]) * np.log(1 - p["objects"])
        ),
        "scene": -np.mean(np.log(p["scene"][y[:, 3:5] == 1])),
        "price": np.mean(((p["price"] - y[:, 5:]) / 10) ** 2),
    }
    for name, value in parts.items():
        assert scores[f"{name}_loss"] == pytest.approx(value, rel=1e-4)
    apart = sum(p[f"{name}_consistency"].mean() for name in parts)
    total = parts["objects"] + parts["scene"] + 3 * parts["price"] + 0.1 * apart
    assert scores["loss"] == pytest.approx(total, rel=1e-4)
    assert {"objects_map", "scene_map", "price_mae", "price_r2"} <= set(scores)
    assert not any(name.startswith("images_") for name in scores)


def test_a_loss_by_name_is_for_the_heads_that_have_it():
    losses = task().losses_named("huber")
    assert losses["text_price"].loss.name == "huber_loss"
    assert losses["objects"].name == "binary_crossentropy"
    losses = task().losses_named("focal")
    assert losses["price"].loss.name == "mean_squared_error"
    assert losses["images_scene"].name == "categorical_focal_crossentropy"


def test_an_absent_modality_does_not_teach_its_own_heads():
    x = inputs(3)
    x["text_present"][1] = 0
    _, _, weights = task().preprocess_samples(x, labels(3))
    for head in ("objects", "scene", "price"):
        assert weights[head].numpy().tolist() == [1, 1, 1]
        assert weights[f"images_{head}"].numpy().tolist() == [1, 1, 1]
        assert weights[f"text_{head}"].numpy().tolist() == [1, 0, 1]
        assert weights[f"{head}_consistency"].numpy().tolist() == [1, 0, 1]


def test_contrast_is_one_output_of_the_features():
    own, x = task(consistency="contrastive"), inputs(6)
    assert "consistency" in own.output
    assert not any(name.endswith("_consistency") for name in own.output)
    found = own.predict_outputs(x, verbose=0)["consistency"]
    embeddings = []
    for m in ("images", "text"):
        projected = np.asarray(own.backbone.projections[m](x[f"{m}_features"].mean(axis=1)))
        embeddings.append(projected / np.linalg.norm(projected, axis=1, keepdims=True))
    logits = embeddings[0] @ embeddings[1].T / 0.1
    both = [np.log(np.exp(v).sum(axis=1)) - np.diag(v) for v in (logits, logits.T)]
    np.testing.assert_allclose(found, np.mean(both, axis=0), rtol=1e-3, atol=1e-5)


def test_parts_hold_every_weight_once():
    own = task(learned_weights=True)
    held = [id(w) for layers in own.parts.values() for x in layers for w in x.weights]
    assert sorted(held) == sorted(id(weight) for weight in own.weights)
    assert len(own.parts["auxiliary_heads"]) == 6


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ([], r"`heads` must be one or more.*Received: none"),
        ([SCENE, SCENE], r"different names.*'scene', 'scene'"),
        ([SCENE, Head("text_scene", "regression", ("x",))], r"no other output"),
        ([Head("main", "regression", ("x",))], r"are taken"),
    ],
)
def test_names_that_clash_are_refused(heads, message):
    with pytest.raises(ValueError, match=message):
        MultimodalMultiTask(backbone(), heads)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("x", "ranking", ("a",)),
            r"one of multi_label, multi_class, regression\. Received.*'rank",
        ),
        (("x", "multi_label", ("a", "a")), r"different names\. Received.*'a', 'a'"),
        (("x", "multi_class", ("a",), 8, (1.0,)), r"are for regression.*'multi_class'"),
    ],
)
def test_heads_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Head(*arguments)


# --- Learned weights -----------------------------------------------------------------------------


def test_the_learned_loss_is_that_of_the_formula():
    own, x, y = task(), inputs(8), labels()
    x["text_present"][:6] = 0
    own.compile(run_eagerly=True)
    plain = own.evaluate(x, y, return_dict=True, verbose=0)
    own.compile(loss_weights="uncertainty", run_eagerly=True)
    layer = own.heads["loss_weights"]
    s = np.random.default_rng(2).normal(size=len(layer.names)).astype("float32")
    layer.log_variances.assign(s)
    scores = own.evaluate(x, y, return_dict=True, verbose=0)
    total = 0.0
    for name, value in zip(layer.names, s, strict=True):
        share = 2 / 8 if name.startswith("text_") else 1.0  # of the examples that have a text
        expected = np.exp(-value) * plain[f"{name}_loss"] + share * value / 2
        assert scores[f"{name}_loss"] == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert scores[f"{name}_weight"] == pytest.approx(np.exp(-value), rel=1e-4)
        total += (0.5 if own.is_auxiliary(name) else 1.0) * expected
    total += 0.1 * sum(plain[f"{head.name}_consistency_loss"] for head in HEADS)
    assert scores["loss"] == pytest.approx(total, rel=1e-4)


def test_a_noisy_head_gets_a_smaller_weight():
    heads = [Head("clean", "regression", ("a",), None), Head("noisy", "regression", ("b",), None)]
    keras.utils.set_random_seed(5)
    own = MultimodalMultiTask(backbone(("images",)), heads, dropout=0.0)
    x = inputs(256, ("images",))
    clean = x["images_features"].mean(axis=1)[:, :1]
    noise = np.random.default_rng(3).normal(size=(256, 1))
    y = np.hstack([clean / clean.std(), noise / noise.std()])
    own.compile(keras.optimizers.Adam(3e-2), loss_weights="uncertainty")
    history = own.fit(x, y, batch_size=64, epochs=40, verbose=0).history
    assert history["clean_weight"][0] == pytest.approx(history["noisy_weight"][0], rel=0.2)
    assert history["clean_weight"][-1] > 2 * history["noisy_weight"][-1]
    # The best weight is one over twice the loss, and nothing can be said of noise: its loss is 1.
    assert history["noisy_weight"][-1] == pytest.approx(0.5, rel=0.2)


def test_they_learn_only_where_they_are_asked_to():
    own, x, y = task(learned_weights=True), inputs(8), labels()
    before = own.heads["loss_weights"].get_weights()[0]
    own.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    history = own.fit(x, y, verbose=0).history
    np.testing.assert_array_equal(own.heads["loss_weights"].get_weights()[0], before)
    assert history["price_weight"] == [1.0]
    own.set_trainable(["head"])
    own.compile(
        keras.optimizers.SGD(0.1),
        loss_weights={"main": 1.0},
        learn_loss_weights=True,
        run_eagerly=True,
    )
    own.fit(x, y, verbose=0)
    learned = own.heads["loss_weights"].get_weights()[0]
    moved = {n for n, v in zip(own.heads["loss_weights"].names, learned, strict=True) if v}
    assert moved == {"objects", "scene", "price"}


def test_they_are_saved_and_shared(tmp_path):
    own, x, y = task(), inputs(8), labels()
    own.compile(keras.optimizers.SGD(0.1), loss_weights="uncertainty", run_eagerly=True)
    own.fit(x, y, verbose=0)
    s = own.heads["loss_weights"].get_weights()[0]
    assert np.abs(s).min() > 0
    own.save(tmp_path / "task.keras")
    again = keras.saving.load_model(tmp_path / "task.keras")
    np.testing.assert_array_equal(again.heads["loss_weights"].get_weights()[0], s)
    scores, same = (each.evaluate(x, y, return_dict=True, verbose=0) for each in (own, again))
    assert same == pytest.approx(scores, abs=1e-5)
    assert own.with_backbone(own.backbone).heads["loss_weights"] is own.heads["loss_weights"]
    copy = own.with_dtype("float32")
    np.testing.assert_array_equal(copy.heads["loss_weights"].get_weights()[0], s)


def test_parts_of_a_batch_make_the_same_update():
    x, y = inputs(7), labels(7)
    weights = []
    for micro_batches in (1, 3):
        own = task()
        own.compile(
            keras.optimizers.SGD(0.1),
            loss_weights="uncertainty",
            micro_batches=micro_batches,
            run_eagerly=True,
        )
        own.fit(x, y, batch_size=7, shuffle=False, verbose=0)
        weights.append(own.get_weights())
    for one, parts in zip(*weights, strict=True):
        np.testing.assert_allclose(parts, one, atol=1e-6)


@pytest.mark.large
def test_it_trains_and_serves(tmp_path):
    x, _ = toys.examples(4)
    own = MultimodalMultiTask(
        toys.backbone(("text",), fusion="concat"), HEADS, toys.preprocessor(("text",))
    )
    own.compile(loss_weights="uncertainty")
    checks.check_task(own, {"text": x["text"]}, labels(4), tmp_path)
    served = tf.saved_model.load(str(tmp_path / "serving")).signatures["serving_default"]
    served = served(text=tf.constant(["a dog"]))
    assert served["scene_labels"].numpy().tolist() == [[b"indoor", b"outdoor"]]
    assert served["price_targets"].numpy().tolist() == [[b"euros"]]


def test_labels_of_another_number_of_columns_are_refused():
    x, y = toys.examples(4)
    with pytest.raises(ValueError, match=r"shape \(batch_size, 3\).*Received: \((None|4), 2\)"):
        toys.classifier().fit(x, y[:, :2], verbose=0)
