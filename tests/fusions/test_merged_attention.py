"""One transformer over all tokens, against numpy."""

import math

import numpy as np
import pytest

from mmlearn import fusions
from tests import checks
from tests.fusions import oracles

BOTH = ("images", "text")


def attend(attention, x, mask):
    """Multi-head attention of tokens to each other; returns what they gather, and the scores."""

    def heads(layer):
        y = oracles.dense(layer, x)
        return y.reshape(*y.shape[:2], attention.num_heads, -1).transpose(0, 2, 1, 3)

    query, key, value = (
        heads(layer)
        for layer in (attention.query_dense, attention.key_dense, attention.value_dense)
    )
    logits = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1])
    scores = oracles.softmax(np.where(mask[:, None, None, :], logits, -np.inf))
    joined = (scores @ value).transpose(0, 2, 1, 3).reshape(x.shape)
    return oracles.dense(attention.output_dense, joined), scores


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def oracle(fusion, features, masks):
    """A pre-norm transformer encoder in float64; the scores of all layers."""
    embeddings = np.asarray(fusion.modality_embeddings)
    tokens = [features[m].astype("float64") + embeddings[i] for i, m in enumerate(sorted(features))]
    tokens = np.concatenate(tokens, axis=1)
    mask = np.concatenate([masks[m] for m in sorted(features)], axis=1)
    scores = []
    for number in range(fusion.num_layers):
        x = oracles.normalize(tokens, fusion.attention_norms[number])
        x, layer_scores = attend(fusion.attentions[number], x, mask)
        tokens = tokens + x
        x = oracles.normalize(tokens, fusion.dense_norms[number])
        x = gelu(oracles.dense(fusion.intermediates[number], x))
        tokens = tokens + oracles.dense(fusion.projections[number], x)
        scores.append(layer_scores)
    tokens = oracles.normalize(tokens, fusion.norm)
    fused = (tokens * mask[..., None]).sum(1) / mask.sum(1)[:, None]
    return fused, np.stack(scores, axis=1)


@pytest.mark.parametrize("modalities", [("text",), BOTH, ("audio", "images", "text")])
def test_equals_the_oracle(modalities):
    fusion = fusions.get("merged_attention", num_heads=4, num_layers=2, intermediate_dim=24)
    features, masks = checks.fusion_inputs(modalities)
    fusion(features, masks)
    oracles.randomize(fusion)
    outputs, (fused, scores) = fusion(features, masks), oracle(fusion, features, masks)
    np.testing.assert_allclose(outputs["fused_features"], fused, atol=1e-4)
    if len(modalities) == 1:
        assert "attention_scores" not in outputs
        return
    found = outputs["attention_scores"]
    assert len(found) == len(modalities) ** 2
    whole = [np.concatenate([found[f"{q}_to_{k}"] for k in modalities], -1) for q in modalities]
    np.testing.assert_allclose(np.concatenate(whole, axis=-2), scores, atol=1e-5)


def test_a_row_sums_to_one_over_all_modalities_and_padding_gets_nothing():
    fusion = fusions.get("merged_attention", num_heads=4)
    features, masks = checks.fusion_inputs(BOTH)
    scores = fusion(features, masks)["attention_scores"]
    for query in BOTH:
        total = sum(np.asarray(scores[f"{query}_to_{key}"]).sum(-1) for key in BOTH)
        np.testing.assert_allclose(total, 1.0, atol=1e-5)
        for key in BOTH:
            hidden = np.asarray(scores[f"{query}_to_{key}"])[0][..., ~masks[key][0]]
            assert (hidden == 0.0).all()


def test_the_modality_of_a_token_counts():
    """The same tokens under the other name: only the embeddings tell them apart."""
    fusion = fusions.get("merged_attention", num_heads=4)
    tokens = np.random.default_rng(0).normal(size=(2, 3, 4, 16)).astype("float32")
    masks = {m: np.ones((3, 4), bool) for m in BOTH}
    there = fusion({"images": tokens[0], "text": tokens[1]}, masks)["fused_features"]
    back = fusion({"images": tokens[1], "text": tokens[0]}, masks)["fused_features"]
    assert np.abs(np.asarray(there - back)).max() > 1e-4
    fusion.modality_embeddings.assign(np.zeros((2, 16)))
    there = fusion({"images": tokens[0], "text": tokens[1]}, masks)["fused_features"]
    back = fusion({"images": tokens[1], "text": tokens[0]}, masks)["fused_features"]
    np.testing.assert_allclose(there, back, atol=1e-5)


def test_no_layer_is_refused():
    with pytest.raises(ValueError, match=r"`num_layers` must be positive\. Received: num_layers=0"):
        fusions.get("merged_attention", num_layers=0)
