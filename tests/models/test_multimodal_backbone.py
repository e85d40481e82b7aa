"""The two halves of the backbone, what they share, and what must not leak through them."""

import keras
import numpy as np
import pytest

from mmlearn import MultimodalBackbone, encoders, fusions
from tests import toys

BOTH = ("images", "text")


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(1)
    return toys.backbone()


@pytest.fixture(scope="module")
def inputs():
    raw, _ = toys.examples(4)
    raw["text"][1] = ""
    raw["text"][2] = "a dog"
    return toys.preprocessor()(raw)


def run(backbone, inputs):
    """Calls a backbone on a dict in which arrays and tensors are mixed."""
    return backbone({name: keras.ops.convert_to_tensor(x) for name, x in inputs.items()})


def features_encoders():
    """Encoders of the same feature sizes that read what another pass has computed."""
    return {
        "images": encoders.Features(4, 128),
        "text": encoders.Features(toys.SEQUENCE_LENGTH, 16),
    }


def features_inputs(backbone, inputs):
    features, masks = backbone.encode(inputs)
    made = {f"{m}_features": features[m] for m in BOTH}
    made |= {f"{m}_mask": keras.ops.cast(masks[m], "int32") for m in BOTH}
    return {**made, **{f"{m}_present": inputs[f"{m}_present"] for m in BOTH}}


def test_inputs_and_outputs(backbone, inputs):
    assert sorted(backbone.input) == sorted(inputs)
    outputs = backbone(inputs)
    shapes = keras.tree.map_structure(lambda x: tuple(x.shape), outputs)
    assert shapes == {
        "attention_scores": {"images_to_text": (4, 1, 2, 4, 8), "text_to_images": (4, 1, 2, 8, 4)},
        "features": {"images": (4, 4, 128), "text": (4, 8, 16)},
        "fused_features": (4, 16),
        "masks": {"images": (4, 4), "text": (4, 8)},
        "modality_weights": (4, 2),
    }
    symbolic = keras.tree.map_structure(lambda x: (4, *x.shape[1:]), backbone.output)
    assert symbolic == shapes
    assert backbone.modalities == BOTH


@pytest.mark.parametrize("modalities", [("images",), ("text",), BOTH, ()])
def test_encodes_any_subset_of_the_modalities(backbone, inputs, modalities):
    names = [name for m in modalities for name in backbone.encoders[m].model_inputs(m)]
    features, masks = backbone.encode({name: inputs[name] for name in names})
    assert tuple(features) == tuple(masks) == modalities
    whole = backbone(inputs)
    for modality in modalities:
        np.testing.assert_allclose(
            features[modality], whole["features"][modality], rtol=0, atol=1e-6
        )
        np.testing.assert_array_equal(masks[modality], whole["masks"][modality])


def test_fuse_after_encode_is_the_functional_model(backbone, inputs):
    features, masks = backbone.encode(inputs)
    presence = {m: inputs[f"{m}_present"] for m in BOTH}
    halves, whole = backbone.fuse(features, masks, presence), backbone(inputs)
    for name in ("fused_features", "modality_weights"):
        np.testing.assert_allclose(halves[name], whole[name], rtol=0, atol=1e-6)
    for direction, scores in whole["attention_scores"].items():
        np.testing.assert_allclose(halves["attention_scores"][direction], scores, atol=1e-6)


def test_other_encoders_share_the_second_half(backbone, inputs):
    cached = backbone.with_encoders(features_encoders())
    made = features_inputs(backbone, inputs)
    np.testing.assert_allclose(
        run(cached, made)["fused_features"], backbone(inputs)["fused_features"], rtol=0, atol=1e-6
    )
    assert cached.fusion is backbone.fusion
    assert all(cached.projections[m] is backbone.projections[m] for m in BOTH)
    weight = backbone.projections["text"].bias
    before = np.asarray(weight)
    weight.assign(before + 1)
    moved = run(cached, made)["fused_features"]
    weight.assign(before)
    assert np.abs(np.asarray(moved - run(cached, made)["fused_features"])).max() > 1e-3


def test_modalities_left_out_keep_their_encoder(backbone):
    cached = backbone.with_encoders({"images": encoders.Features(4, 128)})
    assert cached.encoders["text"] is backbone.encoders["text"]
    assert cached.modalities == BOTH


@pytest.mark.parametrize("modality", BOTH)
@pytest.mark.parametrize("fusion", fusions.FUSIONS)
def test_one_modality_is_legal(modality, fusion):
    backbone = toys.backbone((modality,), fusion)
    raw, _ = toys.examples(2)
    outputs = backbone(toys.preprocessor((modality,))({modality: raw[modality]}))
    assert outputs["fused_features"].shape == (2, 16)
    assert "attention_scores" not in outputs
    if "modality_weights" in outputs:
        np.testing.assert_array_equal(outputs["modality_weights"], [[1.0], [1.0]])


def test_from_encoders_takes_instances_and_names():
    images, text = toys.encoder("images"), toys.encoder("text")
    fusion = fusions.get("cross_attention", num_heads=2)
    backbone = MultimodalBackbone.from_encoders(images, text, fusion, hidden_dim=16)
    assert backbone.encoders == {"images": images, "text": text}
    assert backbone.fusion is fusion
    named = MultimodalBackbone.from_encoders("resnet_tiny", None, "concat", hidden_dim=16)
    assert named.modalities == ("images",)
    assert isinstance(named.fusion, fusions.ConcatFusion)


def test_without_a_fusion_there_are_features_and_masks_alone():
    made = MultimodalBackbone(features_encoders(), fusion=None)
    given = {
        "images_features": np.ones((2, 4, 128), "float32"),
        "images_mask": np.ones((2, 4), "int32"),
        "images_present": np.array([1, 0], "int32"),
        "text_features": np.ones((2, toys.SEQUENCE_LENGTH, 16), "float32"),
        "text_mask": np.eye(2, toys.SEQUENCE_LENGTH, dtype="int32"),
        "text_present": np.array([1, 1], "int32"),
    }
    for backbone in (
        made,
        MultimodalBackbone.from_config(made.get_config()),
        made.with_encoders({"images": encoders.Features(4, 128)}),
    ):
        outputs = run(backbone, given)
        assert set(outputs) == {"features", "masks"}
        np.testing.assert_array_equal(outputs["features"]["text"], given["text_features"])
        assert np.asarray(outputs["masks"]["images"]).tolist() == [[True] * 4, [False] * 4]
        np.testing.assert_array_equal(outputs["masks"]["text"], given["text_mask"] == 1)
    with pytest.raises(ValueError, match=r"has no fusion\. Fix: pass `fusion` to its constructor"):
        made.fuse({}, {}, {})


def test_no_encoder_is_refused():
    with pytest.raises(ValueError, match=r"`encoders` must hold at least one modality"):
        MultimodalBackbone({}, fusions.get("concat"))


def test_padded_token_ids_change_nothing(backbone, inputs):
    padded = np.asarray(inputs["padding_mask"]) == 0
    assert padded.any()
    token_ids = np.where(padded, 7, inputs["token_ids"])
    before, after = run(backbone, inputs), run(backbone, {**inputs, "token_ids": token_ids})
    for name in ("fused_features", "modality_weights"):
        np.testing.assert_array_equal(before[name], after[name])
    scores = [np.asarray(o["attention_scores"]["images_to_text"]) for o in (before, after)]
    np.testing.assert_array_equal(*scores)


def test_a_real_token_changes_the_result(backbone, inputs):
    token_ids = np.array(inputs["token_ids"])
    token_ids[:, 1] = 7
    before = run(backbone, inputs)["fused_features"]
    after = run(backbone, {**inputs, "token_ids": token_ids})["fused_features"]
    assert np.abs(np.asarray(after - before))[0].max() > 1e-4


@pytest.mark.parametrize("modality", BOTH)
def test_the_content_of_an_absent_modality_changes_nothing(backbone, inputs, modality):
    absent = {**inputs, f"{modality}_present": np.zeros(4, "int32")}
    changed = {
        "images": {"images": 255.0 - np.asarray(inputs["images"])},
        "text": {"token_ids": np.asarray(inputs["token_ids"])[::-1]},
    }[modality]
    before = np.asarray(run(backbone, absent)["fused_features"])
    np.testing.assert_array_equal(run(backbone, {**absent, **changed})["fused_features"], before)
    # And it would, were it there.
    shown = (
        run(backbone, {**inputs, **changed})["fused_features"]
        - run(backbone, inputs)["fused_features"]
    )
    assert np.abs(np.asarray(shown)).max() > 1e-4


def test_presence_is_per_example(backbone, inputs):
    mixed = {**inputs, "images_present": np.array([1, 0, 1, 0], "int32")}
    absent = {**inputs, "images_present": np.zeros(4, "int32")}
    fused = [np.asarray(run(backbone, x)["fused_features"]) for x in (mixed, inputs, absent)]
    np.testing.assert_allclose(fused[0][[0, 2]], fused[1][[0, 2]], atol=1e-6)
    np.testing.assert_allclose(fused[0][[1, 3]], fused[2][[1, 3]], atol=1e-6)
    assert np.abs(fused[1][1] - fused[2][1]).max() > 1e-4


def test_modality_dropout_shows_in_training_only():
    backbone = toys.backbone(fusion="concat", modality_dropout=0.9, dropout=0.0)
    inputs = toys.preprocessor()(toys.examples(16)[0])
    features, masks = backbone.encode(inputs)
    presence = {m: inputs[f"{m}_present"] for m in BOTH}
    plain = [backbone.fuse(features, masks, presence)["fused_features"] for _ in range(2)]
    np.testing.assert_array_equal(*plain)
    backbone.fusion.dropout_layer.rate = 0.0
    trained = backbone.fuse(features, masks, presence, training=True)["fused_features"]
    moved = np.abs(np.asarray(trained - plain[0])).max(axis=1) > 1e-4
    assert 0.5 < moved.mean() <= 1


def test_a_dtype_reaches_every_layer():
    backbone = toys.backbone(dtype="mixed_bfloat16")
    outputs = backbone(toys.preprocessor()(toys.examples(2)[0]))
    assert outputs["fused_features"].dtype == "bfloat16"
    assert all(weight.dtype == "float32" for weight in backbone.weights)


def test_recurrent_layers_stay_in_float32():
    encoder = encoders.get("text", "lstm", sequence_length=8, vocabulary_size=50, hidden_dim=16)
    backbone = MultimodalBackbone(
        {"text": encoder}, fusions.get("concat"), hidden_dim=8, dtype="mixed_bfloat16"
    )
    policies = {
        type(layer).__name__: layer.dtype_policy.name for layer in encoder._flatten_layers()
    }
    assert policies["Bidirectional"] == policies["LSTM"] == policies["LSTMCell"] == "float32"
    assert policies["Embedding"] == "mixed_bfloat16"
    assert backbone.compute_dtype == "bfloat16"


def test_keras_file_round_trip(backbone, inputs, tmp_path):
    backbone.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras")
    np.testing.assert_array_equal(
        again(inputs)["fused_features"], run(backbone, inputs)["fused_features"]
    )
    assert again.get_config().keys() == backbone.get_config().keys()
