"""A modality that is added to a fusion changes nothing until its gate opens."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from mmlearn import fusions
from mmlearn.fusions.extended import ExtendedFusion
from mmlearn.layers.gates import ShareGate
from mmlearn.layers.masked_mean import masked_mean
from tests import checks

KNOWN, ALL = ("audio", "text"), ("audio", "images", "text")


@keras.saving.register_keras_serializable("tests")
class OwnFusion(keras.layers.Layer):
    """As a user would write one: no `combines`, and 6 fused features."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(6)

    def build(self, features_shape, masks_shape=None):
        self.dense.build(next(iter(features_shape.values())))

    def call(self, features, masks, training=None):
        pooled = [masked_mean(features[m], masks[m]) for m in sorted(features)]
        return {"fused_features": self.dense(ops.prod(ops.stack(pooled), axis=0))}


@keras.saving.register_keras_serializable("tests")
class Votes(OwnFusion):
    """Weighs predictions by what it sees."""

    combines = "predictions"

    def call(self, features, masks, training=None):
        pooled = [masked_mean(features[m], masks[m]) for m in sorted(features)]
        logits = ops.concatenate([ops.sum(x, axis=1, keepdims=True) for x in pooled], axis=1)
        return {
            "fused_features": self.dense(pooled[0]),
            "modality_weights": ops.softmax(logits, axis=1) if len(pooled) > 1 else logits * 0 + 1,
        }


@keras.saving.register_keras_serializable("tests")
class Both(Votes):
    combines = "both"


CASES = [*fusions.FUSIONS, OwnFusion, Votes, Both]


def make(case):
    return fusions.get(case) if isinstance(case, str) else case()


def run(fusion, features, masks, **kwargs):
    return keras.tree.map_structure(np.asarray, fusion(features, masks, **kwargs))


def known(values):
    return {m: values[m] for m in KNOWN}


def open_gates(extended, value=0.5):
    if extended.gate is not None:
        extended.gate.set_weights([np.float32(value)])
    if extended.share is not None:
        extended.share.dense.bias.assign([value])


def gradients(extended, features, masks):
    """Gradients of a random projection of all that comes out, by name of the weight."""
    names = ("fused_features", "modality_weights")
    with tf.GradientTape() as tape:
        outputs = extended(features, masks)
        loss = 0.0
        for name in names:
            if name in outputs:
                random = np.random.default_rng(0).normal(size=outputs[name].shape)
                loss += tf.reduce_sum(outputs[name] * random.astype("float32"))
    weights = extended.trainable_weights
    found = tape.gradient(loss, [weight.value for weight in weights])
    return {
        w.path: None if g is None else np.asarray(g) for w, g in zip(weights, found, strict=True)
    }


@pytest.mark.parametrize("case", CASES)
def test_a_shut_gate_leaves_the_fusion_exactly_as_it_was(case):
    fusion = make(case)
    features, masks = checks.fusion_inputs(ALL)
    extended = ExtendedFusion(fusion, "images")
    outputs, before = run(extended, features, masks), run(fusion, known(features), known(masks))
    assert set(outputs) == set(before)
    np.testing.assert_array_equal(outputs["fused_features"], before["fused_features"])
    for direction, scores in before.get("attention_scores", {}).items():
        np.testing.assert_array_equal(outputs["attention_scores"][direction], scores)
    if "modality_weights" in before:
        weights = outputs["modality_weights"]
        np.testing.assert_array_equal(weights[:, [0, 2]], before["modality_weights"])
        assert not weights[:, 1].any()
    slopes = gradients(extended, features, masks)
    gates = [path for path in slopes if path.endswith(("alpha", "share/bias"))]
    assert gates
    assert all(np.abs(slopes[path]) > 1e-4 for path in gates)


@pytest.mark.parametrize("case", CASES)
def test_an_open_gate_lets_the_modality_in(case):
    extended = ExtendedFusion(make(case), "images", name="fusion")
    features, masks = checks.fusion_inputs(ALL)
    shut = run(extended, features, masks)
    open_gates(extended)
    outputs = run(extended, features, masks)
    assert extended.combines == getattr(extended.fusion, "combines", "features")
    if extended.combines != "predictions":
        assert np.abs(outputs["fused_features"] - shut["fused_features"]).max(1).min() > 1e-3
        padded = {**features, "images": features["images"] + 9.0 * ~masks["images"][..., None]}
        again = run(extended, padded, masks)["fused_features"]
        np.testing.assert_array_equal(again, outputs["fused_features"])
    if "modality_weights" in outputs:
        weights = outputs["modality_weights"]
        share = 0.5 if extended.share is not None else np.tanh(0.5) / (1 + np.tanh(0.5))
        np.testing.assert_allclose(weights[:, 1], share, atol=1e-6)
        np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
        expected = shut["modality_weights"][:, [0, 2]] * (1 - share)
        np.testing.assert_allclose(weights[:, [0, 2]], expected, atol=1e-6)
    for path, gradient in gradients(extended, features, masks).items():
        is_free = path.endswith("key/bias")  # shifts no softmax
        assert gradient is not None, path
        assert np.isfinite(gradient).all(), path
        assert gradient.any() or is_free, path


@pytest.mark.parametrize("case", CASES)
def test_config_shapes_and_lower_precision(case):
    extended = ExtendedFusion(make(case), "images", num_heads=4, dropout=0.2)
    features, masks = checks.fusion_inputs(ALL)
    outputs = run(extended, features, masks)
    again = checks.check_layer_config(extended)
    symbolic = again(
        {m: keras.Input(x.shape[1:]) for m, x in features.items()},
        {m: keras.Input(x.shape[1:], dtype="bool") for m, x in masks.items()},
    )
    shapes = keras.tree.map_structure(lambda x: tuple(x.shape[1:]), outputs)
    assert keras.tree.map_structure(lambda x: tuple(x.shape[1:]), symbolic) == shapes
    open_gates(extended)
    again.set_weights(extended.get_weights())
    fused = run(again, features, masks)["fused_features"]
    np.testing.assert_array_equal(fused, run(extended, features, masks)["fused_features"])
    low = checks.check_layer_config(extended)
    for layer in low._flatten_layers():
        layer.dtype_policy = "mixed_bfloat16"
    assert low(features, masks, training=True)["fused_features"].dtype == "bfloat16"


def test_it_can_be_extended_again():
    inner = ExtendedFusion(fusions.get("cross_attention", num_heads=2), "images")
    features, masks = checks.fusion_inputs(ALL)
    features["series"], masks["series"] = features["text"] * 2, masks["text"]
    outer = checks.check_layer_config(ExtendedFusion(inner, "series"))
    outputs = run(outer, features, masks)
    before = run(outer.fusion.fusion, known(features), known(masks))
    np.testing.assert_array_equal(outputs["fused_features"], before["fused_features"])
    weights = outputs["modality_weights"]  # audio, images, series, text
    np.testing.assert_array_equal(weights[:, [0, 3]], before["modality_weights"])
    assert not weights[:, 1:3].any()
    outer.gate.set_weights([np.float32(9)])
    weights = run(outer, features, masks)["modality_weights"]
    np.testing.assert_allclose(weights[:, 2], 0.5, atol=1e-3)


@pytest.mark.parametrize("case", [Votes, Both])
def test_of_one_modality_no_predictions_are_combined(case):
    features, masks = checks.fusion_inputs(("images", "text"))
    extended = ExtendedFusion(case(), "images")
    extended(features, masks)
    assert extended.combines == "features"
    assert extended.share is None


def test_a_share_that_was_of_no_use_can_grow_again():
    gate, weights = ShareGate(), tf.constant([[0.25, 0.75]])
    features = tf.constant([[2.0, -3.0]])
    np.testing.assert_array_equal(gate(weights, features), [[0.25, 0.75, 0]])
    for value, share in ((-0.5, 0.0), (0.0, 0.0), (0.2, 0.2), (1.5, 1.0)):
        gate.dense.bias.assign([value])
        with tf.GradientTape() as tape:
            last = gate(weights, features)[0, 2]
        np.testing.assert_allclose(last, share, atol=1e-7)
        slopes = tape.gradient(last, [gate.dense.bias.value, gate.dense.kernel.value])
        np.testing.assert_array_equal(slopes[0], [1.0])
        np.testing.assert_array_equal(slopes[1], [[2.0], [-3.0]])
    np.testing.assert_allclose(gate(weights, features), [[0, 0, 1]], atol=1e-7)
    gate.dense.kernel.assign([[0.1], [0.0]])
    gate.dense.bias.assign([0.0])
    np.testing.assert_allclose(gate(weights, features), [[0.2, 0.6, 0.2]], atol=1e-7)
