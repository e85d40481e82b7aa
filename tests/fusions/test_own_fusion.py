"""The documentation's own fusion, from its very lines: trained a step, saved, loaded."""

import importlib.util

import keras
import numpy as np

from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders
from tests import checks
from tests.documentation.pages import blocks

BOTH = ("images", "text")


def test_the_fusion_of_the_page_trains_and_reloads(tmp_path):
    (block,) = blocks("mmlearn/fusions/README.md", "python")
    code = block.code
    assert len(code.splitlines()) <= 15
    path = tmp_path / "my_fusion.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("my_fusion", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    checks.check_fusion(module.ProductFusion(name="fusion"))
    task = MultimodalClassifier(
        MultimodalBackbone(
            {m: encoders.Features(length=4, dim=8) for m in BOTH},
            fusion=module.ProductFusion(name="fusion"),
            hidden_dim=16,
        ),
        num_classes=2,
    )
    random = np.random.default_rng(0)
    x = {f"{m}_features": random.normal(size=(6, 4, 8)).astype("float32") for m in BOTH}
    x |= {f"{m}_mask": np.ones((6, 4), "int32") for m in BOTH}
    x |= {f"{m}_present": np.ones(6, "int32") for m in BOTH}
    before = task.predict(x, verbose=0)
    task.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    task.fit(x, random.integers(0, 2, (6, 2)), verbose=0)
    task.compile()
    expected = task.predict(x, verbose=0)
    assert np.abs(expected - before).max() > 0
    task.save(tmp_path / "task.keras")
    again = keras.saving.load_model(tmp_path / "task.keras")
    assert type(again.backbone.fusion) is module.ProductFusion
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)
