"""Classes by their names."""

import numpy as np
import pytest

from mmlearn.evaluation import zero_shot
from mmlearn.evaluation.zero_shot import embed_classes


@pytest.fixture
def embedder(monkeypatch):
    """Embeds a text as (its length, 1), so that the mean over templates can be seen."""
    seen = []

    def embed(task, texts):
        seen.extend(texts)
        return np.array([[len(text), 1.0] for text in texts]), None, None

    monkeypatch.setattr(zero_shot, "text_batches", lambda task, texts: texts)
    monkeypatch.setattr(zero_shot, "embed_texts", embed)
    return seen


def test_a_class_is_the_mean_of_its_sentences(embedder):
    found = embed_classes(None, ["cat", "{}"], ["{}", "a {}!"])
    assert embedder == ["cat", "a cat!", "{}", "a {}!"]
    np.testing.assert_allclose(found[0], np.array([4.5, 1]) / np.hypot(4.5, 1))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0)


def test_a_template_without_a_place_is_refused():
    with pytest.raises(ValueError, match=r"needs \{\} where.*Received: 'a photo'"):
        embed_classes(None, ["cat"], ["a photo"])


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="Received: 0 names"):
        embed_classes(None, [])
