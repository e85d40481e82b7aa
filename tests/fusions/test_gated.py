"""The gated multimodal unit against its equations."""

import numpy as np

from mmlearn import fusions
from tests import checks
from tests.fusions import oracles


def run(modalities):
    """`(fused features, tanh(W_m H_m) of each modality, [H_1; H_2; ...], the fusion)`."""
    fusion = fusions.get("gated")
    features, masks = checks.fusion_inputs(modalities)
    fusion(features, masks)
    oracles.randomize(fusion)
    means = oracles.pooled(features, masks)
    hidden = [
        np.tanh(oracles.dense(layer, x)) for layer, x in zip(fusion.hidden, means, strict=True)
    ]
    return fusion(features, masks)["fused_features"], hidden, np.concatenate(means, 1), fusion


def test_two_modalities_share_one_gate():
    fused, (images, text), joint, fusion = run(("images", "text"))
    (gate,) = fusion.gates
    z = oracles.sigmoid(oracles.dense(gate, joint))
    np.testing.assert_allclose(fused, z * images + (1 - z) * text, atol=1e-5)
    assert len(fusion.weights) == 3  # nothing has a bias


def test_of_more_modalities_each_has_a_gate():
    fused, hidden, joint, fusion = run(("audio", "images", "text"))
    gates = [oracles.sigmoid(oracles.dense(gate, joint)) for gate in fusion.gates]
    assert len(gates) == 3
    expected = sum(z * h for z, h in zip(gates, hidden, strict=True))
    np.testing.assert_allclose(fused, expected, atol=1e-5)


def test_one_modality_needs_no_gate():
    fused, (text,), _, fusion = run(("text",))
    assert fusion.gates == []
    np.testing.assert_allclose(fused, text, atol=1e-5)
