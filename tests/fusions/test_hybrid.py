"""Hybrid fusion: fused features after attention, and weights; the task's part is tested there."""

import numpy as np

from mmlearn import fusions
from tests import checks
from tests.fusions import oracles


def test_no_layer_keeps_the_contract():
    checks.check_fusion(fusions.get("hybrid", num_layers=0))


def test_features_and_weights_read_the_pooled_modalities():
    fusion = fusions.get("hybrid", num_layers=0)
    features, masks = checks.fusion_inputs(("images", "text"))
    fusion(features, masks)
    oracles.randomize(fusion)
    means = oracles.pooled(features, masks)
    outputs = fusion(features, masks)
    assert sorted(outputs) == ["fused_features", "modality_weights"]
    fused = np.maximum(oracles.dense(fusion.output_dense, np.concatenate(means, axis=1)), 0)
    np.testing.assert_allclose(outputs["fused_features"], fused, atol=1e-5)
    np.testing.assert_allclose(
        outputs["modality_weights"], oracles.weights(fusion, means), atol=1e-5
    )


def test_attention_comes_before_and_its_scores_are_returned():
    fusion = fusions.get("hybrid", num_heads=4, num_layers=2)
    features, masks = checks.fusion_inputs(("images", "text"))
    outputs = fusion(features, masks)
    scores = np.asarray(outputs["attention_scores"]["text_to_images"])
    assert scores.shape == (3, 2, 4, 5, 4)
    np.testing.assert_allclose(scores.sum(-1), 1.0, atol=1e-5)
    # The mean of the image tokens stays, each single token changes.
    shift = np.random.default_rng(5).normal(size=(3, 16))
    features["images"][:, 0] += shift
    features["images"][:, 1] -= shift
    changed = fusion(features, masks)
    for name in ("fused_features", "modality_weights"):
        assert np.abs(np.asarray(changed[name] - outputs[name]))[1:].max() > 1e-4
