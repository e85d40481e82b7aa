"""Low-rank bilinear pooling against its equation."""

import numpy as np
import pytest

from mmlearn import fusions
from tests import checks
from tests.fusions import oracles


@pytest.mark.parametrize("modalities", [("text",), ("images", "text"), ("audio", "images", "text")])
@pytest.mark.parametrize("rank", [None, 3])
def test_equals_the_formula(modalities, rank):
    fusion = fusions.get("bilinear", rank=rank)
    features, masks = checks.fusion_inputs(modalities)
    fusion(features, masks)
    oracles.randomize(fusion)
    product = 1.0
    for layer, mean in zip(fusion.factors, oracles.pooled(features, masks), strict=True):
        product = product * np.tanh(oracles.dense(layer, mean))
    assert product.shape == (checks.BATCH_SIZE, rank or checks.HIDDEN_DIM)
    expected = oracles.dense(fusion.output_dense, product)
    np.testing.assert_allclose(fusion(features, masks)["fused_features"], expected, atol=1e-5)


def test_a_small_rank_keeps_the_contract():
    checks.check_fusion(fusions.get("bilinear", rank=3))


def test_a_rank_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"`rank` must be positive\. Received: rank=0"):
        fusions.get("bilinear", rank=0)
