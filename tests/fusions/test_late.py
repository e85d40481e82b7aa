"""Late fusion weighs modalities; what the task makes of it is tested with the task."""

import numpy as np
import pytest

from mmlearn import fusions
from tests import checks
from tests.fusions import oracles


@pytest.mark.parametrize("modalities", [("images", "text"), ("audio", "images", "text")])
def test_weights_are_a_softmax_of_the_pooled_modalities(modalities):
    fusion = fusions.get("late")
    features, masks = checks.fusion_inputs(modalities)
    fusion(features, masks)
    oracles.randomize(fusion)
    means = oracles.pooled(features, masks)
    weights = oracles.weights(fusion, means)
    assert np.ptp(weights) > 0.1
    outputs = fusion(features, masks)
    np.testing.assert_allclose(outputs["modality_weights"], weights, atol=1e-5)
    expected = sum(weights[:, [i]] * mean for i, mean in enumerate(means))
    np.testing.assert_allclose(outputs["fused_features"], expected, atol=1e-5)


def test_one_modality_is_pooled_and_needs_no_weights():
    fusion = fusions.get("late")
    features, masks = checks.fusion_inputs(("text",))
    outputs = fusion(features, masks)
    assert fusion.weights == []
    np.testing.assert_array_equal(outputs["modality_weights"], np.ones((3, 1)))
    np.testing.assert_allclose(
        outputs["fused_features"], oracles.pooled(features, masks)[0], atol=1e-6
    )


@pytest.mark.parametrize("name", ["late", "hybrid"])
def test_fixed_weights_keep_the_contract_and_are_those_of_every_example(name):
    fixed = {"text": 3, "images": 1, "audio": 2}
    fusion = fusions.get(name, modality_weights=fixed, average="logits")
    checks.check_fusion(fusion)
    outputs = fusion(*checks.fusion_inputs(("images", "text")))
    np.testing.assert_allclose(outputs["modality_weights"], [[0.25, 0.75]] * 3, atol=1e-7)


@pytest.mark.parametrize("wrong", [{"images": 1, "text": 0}, {"text": True}, "equal", [1, 2]])
def test_weights_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match=r"`modality_weights` must be a dict of .*Received.*Fix"):
        fusions.get("late", modality_weights=wrong)


def test_a_modality_without_a_weight_is_named():
    fusion = fusions.get("late", modality_weights={"images": 1, "txt": 2})
    with pytest.raises(ValueError, match=r"has none of 'text'\. Received: .*'txt': 2\.0.*Fix"):
        fusion(*checks.fusion_inputs(("images", "text")))
