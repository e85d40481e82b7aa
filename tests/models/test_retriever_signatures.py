"""The exported retriever, loaded where neither Keras nor this package is."""

import numpy as np
import pytest

from tests import toys
from tests.models.test_signatures import ALLOWED, IMAGE_STATUS, IMAGES, TEXTS, call_elsewhere

pytestmark = pytest.mark.large

# Of L2 normalisation and of the largest value: also old ones.
ALSO = {"Maximum", "Rsqrt", "Square", "Max", "Sigmoid"}
SIGNATURES = ("embed_image", "embed_text", "match", "serve_tensors", "serving_default")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    task = toys.retriever(pooling="max")
    task.export(folder / "1")
    images = np.array(IMAGES, object)
    texts = np.array([text.encode() for text in TEXTS], object)
    raw = {"images": images, "text": texts}
    tensors = {name: np.array(value) for name, value in task.preprocessor(raw).items()}
    del tensors["group"]
    requests = [
        ("match", raw),
        ("serving_default", raw),
        ("embed_image", {"images": images}),
        ("embed_text", {"text": texts}),
        ("serve_tensors", tensors),
        ("match", {name: values[:1] for name, values in raw.items()}),
    ]
    results, ops = call_elsewhere(folder / "1", requests, folder)
    return task, raw, results, ops


def test_signatures_agree_with_predict(served):
    task, raw, results, ops = served
    assert sorted(ops) == list(SIGNATURES)
    x = {name: list(values) for name, values in raw.items()}
    x["images"][2] = x["images"][4] = x["images"][5] = b""  # what cannot be read counts as absent
    x = {name: [v for row, v in enumerate(values) if row != 2] for name, values in x.items()}
    rows = [0, 1, 3, 4, 5]
    expected = task.predict_outputs(x, verbose=0)
    found = results[0]
    for name in ("match", "image_embedding", "text_embedding"):
        np.testing.assert_allclose(found[name][rows], expected[name], atol=1e-5, err_msg=name)
    cosines = (found["image_embedding"] * found["text_embedding"]).sum(axis=1)
    np.testing.assert_allclose(found["similarity"], cosines, atol=1e-5)
    assert found["status"].tolist() == [0, 1, 1, 1, 1, 1]  # a pair needs both
    assert found["image_status"].tolist() == IMAGE_STATUS


def test_halves_and_tensors_say_the_same(served):
    _, _, (match, default, images, texts, tensors, one), _ = served
    for name, values in match.items():
        np.testing.assert_array_equal(values, default[name])
    np.testing.assert_allclose(images["image_embedding"], match["image_embedding"], atol=1e-6)
    assert images["image_status"].tolist() == match["image_status"].tolist()
    np.testing.assert_allclose(texts["text_embedding"], match["text_embedding"], atol=1e-6)
    np.testing.assert_allclose(tensors["match"], match["match"], atol=1e-6)
    np.testing.assert_allclose(one["match"], match["match"][:1], atol=1e-5)


def test_ops_are_old_enough_for_tensorflow_serving(served):
    for name, used in served[3].items():
        assert not set(used) - ALLOWED - ALSO, name
