"""The fusion by linear attention: cross-attention's structure around another attention."""

import numpy as np

from mmlearn import fusions
from mmlearn.layers.linear_attention import LinearAttention
from tests import checks
from tests.fusions import oracles

BOTH = ("images", "text")


def test_another_combination_keeps_the_contract():
    checks.check_fusion(fusions.get("linear_attention", num_heads=4, combine="concat"))


def test_equals_attention_residual_norm_and_weighted_sum():
    fusion = fusions.get("linear_attention", num_heads=4)
    features, masks = checks.fusion_inputs(BOTH)
    outputs = fusion(features, masks)
    assert sorted(outputs) == ["fused_features", "modality_weights"]
    oracles.randomize(fusion)
    tokens = {}
    for query, key in (BOTH, BOTH[::-1]):
        attention = fusion.attentions[f"{query}_to_{key}_0"]
        assert isinstance(attention, LinearAttention)
        gathered = np.asarray(attention(features[query], features[key], masks[key]))
        norm = fusion.norms[f"{query}_norm_0"]
        tokens[query] = oracles.normalize(features[query] + gathered, norm)
    means = oracles.pooled(tokens, masks)
    weights = oracles.weights(fusion, means)
    expected = sum(weights[:, [i]] * mean for i, mean in enumerate(means))
    outputs = fusion(features, masks)
    np.testing.assert_allclose(outputs["modality_weights"], weights, atol=1e-5)
    np.testing.assert_allclose(outputs["fused_features"], expected, atol=1e-4)
