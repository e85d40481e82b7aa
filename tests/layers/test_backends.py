"""Layers, losses and metrics compute the same on every Keras backend."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.large

# Reads inputs and weights, writes results; also run here, under TensorFlow. Weights are set by
# order, so that all backends compute with the same ones.
PROGRAM = """
import numpy as np
import keras
from mmlearn.layers.cross_attention import CrossAttention
from mmlearn.layers.linear_attention import LinearAttention
from mmlearn.layers.masked_mean import masked_mean
from mmlearn.layers.missing_token import MissingToken
from mmlearn.layers.modality_dropout import ModalityDropout
from mmlearn.layers.spatial_attention import SpatialAttention
from mmlearn.losses.consistency import ConsistencyLoss, consistency
from mmlearn.metrics.mean_average_precision import MeanAveragePrecision

def compute(given):
    def weigh(layer, *inputs):
        layer(*inputs)
        random = np.random.default_rng(0)
        layer.set_weights([random.normal(size=w.shape) for w in layer.get_weights()])
        return layer(*inputs)

    words, regions, mask = given["words"], given["regions"], given["mask"]
    results = {}
    results["attended"], results["scores"] = weigh(
        CrossAttention(hidden_dim=8, num_heads=2), words, regions, mask
    )
    results["linear"] = weigh(LinearAttention(hidden_dim=8, num_heads=2), words, regions, mask)
    results["replaced"], results["known"] = weigh(MissingToken(), regions, mask, given["present"])
    results["gated"] = weigh(SpatialAttention(3), np.stack([regions, -regions], axis=-1))
    results["mean"] = masked_mean(keras.ops.convert_to_tensor(regions), mask)
    both = np.stack([given["present"], ~given["present"]], axis=1)
    results["kept"] = ModalityDropout(0.9, seed=0)(both, training=True)
    probabilities = given["probabilities"]
    agreement = consistency([probabilities, probabilities[::-1]])
    results["consistency"] = ConsistencyLoss()(np.zeros(len(probabilities)), agreement)
    metric = MeanAveragePrecision(probabilities.shape[1])
    for part in (slice(0, 20), slice(20, None)):
        metric.update_state(given["labels"][part], probabilities[part], given["weights"][part])
    results["map"] = metric.result()
    return {name: keras.ops.convert_to_numpy(value) for name, value in results.items()}
"""
MAIN = """
import sys
results = compute(dict(np.load(sys.argv[1])))
assert keras.backend.backend() == sys.argv[3], keras.backend.backend()
assert sys.argv[3] == "tensorflow" or "tensorflow" not in sys.modules
np.savez(sys.argv[2], **results)
"""


def inputs():
    random = np.random.default_rng(1)
    return {
        "words": random.normal(size=(4, 3, 6)).astype("float32"),
        "regions": random.normal(size=(4, 5, 7)).astype("float32"),
        "mask": np.arange(5) < np.array([[5], [3], [1], [0]]),
        "present": np.array([True, False, True, True]),
        "probabilities": random.random((50, 3)).astype("float32"),
        "labels": random.integers(0, 2, (50, 3)).astype("float32"),
        "weights": random.integers(0, 2, 50).astype("float32"),
    }


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_results_equal_those_of_tensorflow(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; it is in the extra `dev`")
    np.savez(tmp_path / "inputs.npz", **inputs())
    root = pathlib.Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROGRAM + MAIN),
            *(str(tmp_path / "inputs.npz"), str(tmp_path / "results.npz"), backend),
        ],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = np.load(tmp_path / "results.npz")
    namespace = {}
    exec(PROGRAM, namespace)
    assert keras.backend.backend() == "tensorflow"
    expected = namespace["compute"](inputs())
    assert set(results) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(results[name], values, rtol=0, atol=1e-5, err_msg=name)
