"""Sum, product and maximum of the pooled modalities."""

import functools

import numpy as np
import pytest

from mmlearn import fusions
from tests import checks
from tests.fusions import oracles

ALL = ("audio", "images", "text")
OPERATIONS = {"sum": np.add, "product": np.multiply, "max": np.maximum}


@pytest.mark.parametrize("modalities", [("text",), ("images", "text"), ALL], ids=len)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_equals_the_formula(operation, modalities):
    fusion = fusions.get("elementwise", operation=operation)
    features, masks = checks.fusion_inputs(modalities)
    fusion(features, masks)
    oracles.randomize(fusion)
    means = oracles.pooled(features, masks)
    joined = functools.reduce(OPERATIONS[operation], means)
    expected = np.maximum(oracles.dense(fusion.output_dense, joined), 0)
    np.testing.assert_allclose(fusion(features, masks)["fused_features"], expected, atol=1e-5)


@pytest.mark.parametrize("operation", ["product", "max"])  # the sum is the default
def test_other_operations_keep_the_contract(operation):
    checks.check_fusion(fusions.get("elementwise", operation=operation))


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match=r"`operation` must be one of .*operation='mean'"):
        fusions.get("elementwise", operation="mean")
