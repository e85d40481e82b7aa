"""Every fusion keeps the contract; cross-attention does what its options say."""

import keras
import numpy as np
import pytest
from scipy import special

from mmlearn import fusions
from mmlearn.models import MultimodalBackbone
from tests import checks, toys
from tests.fusions import oracles

BOTH = ("images", "text")


@pytest.mark.parametrize("name", fusions.FUSIONS)
def test_every_fusion_keeps_the_contract(name):
    checks.check_fusion(fusions.get(name))


@pytest.mark.parametrize("combine", ["weighted", "concat"])
@pytest.mark.parametrize("num_layers", [0, 1, 2])
def test_cross_attention_options_keep_the_contract(combine, num_layers):
    fusion = fusions.get("cross_attention", num_heads=4, num_layers=num_layers, combine=combine)
    checks.check_fusion(fusion)


@pytest.mark.parametrize("combine", ["weighted", "concat"])
@pytest.mark.parametrize("name", ["cross_attention", "linear_attention"])
def test_sums_and_maxima_keep_the_contract(name, combine):
    checks.check_fusion(fusions.get(name, num_heads=4, combine=combine, pooling="sum_max"))


def test_another_pooling_is_refused():
    with pytest.raises(ValueError, match=r"`pooling` must be one of .*Received: pooling='median'"):
        fusions.get("cross_attention", pooling="median")


@pytest.mark.parametrize("num_layers", [1, 2])
def test_dense_layers_keep_the_contract(num_layers):
    checks.check_fusion(
        fusions.get("cross_attention", num_heads=4, num_layers=num_layers, intermediate_dim=8)
    )


def test_each_token_passes_dense_layers_after_the_attention():
    features, masks = checks.fusion_inputs(BOTH)
    plain, dense = (
        fusions.get("cross_attention", num_heads=4, dropout=0.0, intermediate_dim=size)
        for size in (None, 8)
    )
    for fusion in (plain, dense):
        fusion(features, masks)
    oracles.randomize(dense)
    for name, layer in plain.attentions.items():
        layer.set_weights(dense.attentions[name].get_weights())
    for name, layer in plain.norms.items():
        layer.set_weights(dense.norms[name].get_weights())
    attended, _ = plain.attend(features, masks)
    found, _ = dense.attend(features, masks)
    for modality, tokens in attended.items():
        tokens, name = np.asarray(tokens), f"{modality}_0"
        hidden = oracles.dense(dense.intermediates[name], tokens)
        hidden = hidden * (1 + special.erf(hidden / np.sqrt(2))) / 2  # gelu
        added = oracles.dense(dense.dense_outputs[name], hidden)
        expected = oracles.normalize(tokens + added, dense.norms[f"{name}_dense_norm"])
        np.testing.assert_allclose(found[modality], expected, atol=1e-4)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_attention_scores_of_every_layer_and_head(num_layers):
    fusion = fusions.get("cross_attention", num_heads=4, num_layers=num_layers)
    features, masks = checks.fusion_inputs(BOTH)
    scores = fusion(features, masks)["attention_scores"]
    assert {direction: tuple(x.shape) for direction, x in scores.items()} == {
        "images_to_text": (3, num_layers, 4, 4, 5),
        "text_to_images": (3, num_layers, 4, 5, 4),
    }
    for direction, values in scores.items():
        values = np.asarray(values)
        np.testing.assert_allclose(values.sum(-1), 1.0, atol=1e-5)
        key = direction.split("_to_")[1]
        assert (values[0, ..., ~masks[key][0]] == 0.0).all()


def arrangement_effect(num_layers):
    """How far fused features move when two image tokens swap what they hold."""
    fusion = fusions.get("cross_attention", num_heads=4, num_layers=num_layers, combine="concat")
    features, masks = checks.fusion_inputs(BOTH)
    before = fusion(features, masks)["fused_features"]
    # The mean of the image tokens stays, each single token changes.
    shift = np.random.default_rng(5).normal(size=features["images"][:, 0].shape)
    features["images"][:, 0] += shift
    features["images"][:, 1] -= shift
    return np.abs(np.asarray(fusion(features, masks)["fused_features"] - before)).max()


def test_without_layers_only_the_mean_of_the_image_tokens_counts():
    assert arrangement_effect(0) < 1e-5
    assert arrangement_effect(1) > 1e-3


def test_without_layers_there_are_no_attention_scores():
    outputs = fusions.get("cross_attention", num_layers=0)(*checks.fusion_inputs(BOTH))
    assert sorted(outputs) == ["fused_features", "modality_weights"]


def test_permuting_image_tokens_permutes_scores_and_leaves_the_fusion_unchanged():
    fusion = fusions.get("cross_attention", num_heads=4, num_layers=2)
    features, masks = checks.fusion_inputs(BOTH)
    before = fusion(features, masks)
    order = [2, 3, 0, 1]
    features["images"], masks["images"] = features["images"][:, order], masks["images"][:, order]
    after = fusion(features, masks)
    np.testing.assert_allclose(after["fused_features"], before["fused_features"], atol=1e-5)
    np.testing.assert_allclose(
        after["attention_scores"]["text_to_images"],
        np.asarray(before["attention_scores"]["text_to_images"])[..., order],
        atol=1e-5,
    )


@pytest.mark.parametrize("modalities", [("text",), BOTH])
def test_modality_weights_sum_to_one(modalities):
    outputs = fusions.get("cross_attention")(*checks.fusion_inputs(modalities))
    weights = np.asarray(outputs["modality_weights"])
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
    assert (weights > 0).all()


def test_weighted_fusion_is_the_weighted_sum_of_the_pooled_modalities():
    fusion = fusions.get("cross_attention", num_layers=0)
    features, masks = checks.fusion_inputs(BOTH)
    outputs = fusion(features, masks)
    pooled = [(features[m] * masks[m][..., None]).sum(1) / masks[m].sum(1)[:, None] for m in BOTH]
    weights = np.asarray(outputs["modality_weights"])
    expected = weights[:, :1] * pooled[0] + weights[:, 1:] * pooled[1]
    np.testing.assert_allclose(outputs["fused_features"], expected, atol=1e-5)


def test_concat_is_one_dense_layer_over_the_pooled_modalities():
    fusion = fusions.get("concat")
    features, masks = checks.fusion_inputs(BOTH)
    fused = fusion(features, masks)["fused_features"]
    pooled = [(features[m] * masks[m][..., None]).sum(1) / masks[m].sum(1)[:, None] for m in BOTH]
    kernel, bias = fusion.get_weights()
    expected = np.maximum(np.concatenate(pooled, axis=1) @ kernel + bias, 0)
    np.testing.assert_allclose(fused, expected, atol=1e-5)


def test_get_returns_instances_and_reads_configs():
    fusion = fusions.get("cross_attention", num_heads=2)
    assert fusions.get(fusion) is fusion
    again = fusions.get(keras.saving.serialize_keras_object(fusion))
    assert again.get_config() == fusion.get_config()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cross_atention", {}, r"Unknown fusion 'cross_atention'\. Did you mean 'cross_attention'"),
        ("concat", {"droput": 0.1}, r"option of fusion 'concat' 'droput'\. Did you mean 'dropout'"),
        ("cross_attention", {"combine": "sum"}, r"`combine` must be one of.*combine='sum'"),
        ("cross_attention", {"num_layers": -1}, r"`num_layers` must be 0 or more.*num_layers=-1"),
    ],
)
def test_bad_names_and_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        fusions.get(name, **options)


def test_heads_must_divide_the_hidden_dimension():
    with pytest.raises(ValueError, match=r"divisible by `num_heads`.*hidden_dim=16, num_heads=3"):
        fusions.get("cross_attention", num_heads=3)(*checks.fusion_inputs(BOTH))


@keras.saving.register_keras_serializable(package="tests")
class ProductFusion(keras.layers.Layer):
    """A user's own fusion: the product of the modalities' first tokens."""

    combines = "features"

    def call(self, features, masks):
        first = [features[modality][:, 0] for modality in sorted(features)]
        return {"fused_features": first[0] if len(first) == 1 else first[0] * first[1]}


def test_a_fusion_of_your_own_needs_no_edit_of_the_repository(tmp_path):
    backbone = toys.backbone(fusion=ProductFusion())
    inputs = toys.preprocessor()(toys.examples(2)[0])
    fused = backbone(inputs)["fused_features"]
    features, _ = backbone.encode(inputs)
    expected = np.prod(
        [np.asarray(backbone.projections[m](features[m]))[:, 0] for m in BOTH], axis=0
    )
    np.testing.assert_allclose(fused, expected, atol=1e-5)
    backbone.save(tmp_path / "own.keras")
    again = keras.saving.load_model(tmp_path / "own.keras")
    assert isinstance(again, MultimodalBackbone)
    np.testing.assert_array_equal(again(inputs)["fused_features"], fused)
