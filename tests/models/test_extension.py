"""A trained task takes one more modality, and predicts as before until it is trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import (
    Head,
    MultimodalBackbone,
    MultimodalClassifier,
    MultimodalMultiTask,
    MultimodalPreprocessor,
    encoders,
)
from mmlearn.fusions import FUSIONS
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import check_phases
from tests import checks, toys

LENGTH, DIM = 3, 4
CONVERTER = encoders.FeaturesConverter(length=LENGTH, dim=DIM)


def features_task(fusion, modalities=("images", "text"), seed=0):
    """A task on features made elsewhere, with weights that are no fresh ones."""
    backbone = MultimodalBackbone(
        {m: encoders.Features(LENGTH, DIM, name=f"{m}_encoder") for m in modalities},
        toys.get_fusion(fusion),
        hidden_dim=16,
    )
    preprocessor = MultimodalPreprocessor(dict.fromkeys(modalities, CONVERTER))
    task = MultimodalClassifier(backbone, 3, preprocessor, hidden_dim=8)
    random = np.random.default_rng(seed)
    for weight in task.trainable_weights:
        weight.assign(weight + random.normal(0, 0.3, weight.shape))
    return task


def features_examples(modalities, count=6, seed=1):
    random = np.random.default_rng(seed)
    x = {m: random.normal(size=(count, LENGTH, DIM)).astype("float32") for m in modalities}
    return x, random.integers(0, 2, (count, 3))


def outputs_of(task, x):
    """All outputs as arrays, by one call; raw values or model inputs."""
    prepared = task.preprocessor(x)
    outputs = task.explain_inputs({name: prepared[name] for name in task.input})
    return keras.tree.map_structure(np.asarray, outputs)


@pytest.fixture(scope="module", params=FUSIONS)
def pair(request):
    """An old task and its extension by series, of each fusion."""
    keras.utils.set_random_seed(1)
    old = features_task(request.param)
    encoder = encoders.Features(LENGTH, DIM, name="series_encoder")
    return old, old.with_modality("series", encoder, CONVERTER)


def test_nothing_that_was_predicted_changes(pair):
    old, new = pair
    x, _ = features_examples(("images", "series", "text"))
    parts = [
        {"images": x["images"], "text": x["text"]},
        {"images": x["images"]},
        {"text": x["text"]},
    ]
    for known in parts:
        before = outputs_of(old, known)
        for given in (known, {**known, "series": x["series"]}):
            after = outputs_of(new, given)
            for name in ("classes", "images_classes", "text_classes"):
                np.testing.assert_array_equal(after[name], before[name], name)
            if "modality_weights" in before:  # images, series, text
                weights = after["modality_weights"]
                np.testing.assert_array_equal(weights[:, [0, 2]], before["modality_weights"])
                assert not weights[:, 1].any()
    assert set(new.output) == {*old.output, "series_classes"}
    assert type(new) is type(old)


def test_the_old_task_keeps_weights_of_its_own(pair):
    old, new = pair
    both = {id(w) for w in old.weights} & {id(w) for w in new.weights}
    assert not both


def _tier(fusion):
    return pytest.mark.large if fusion in ("cross_attention", "late") else pytest.mark.full


@pytest.mark.parametrize(
    "pair", [pytest.param(name, marks=_tier(name)) for name in FUSIONS], indirect=True
)
def test_training_what_is_new_makes_it_count_and_leaves_the_rest(pair, tmp_path):
    _, new = pair
    task = new.with_dtype("float32")  # a copy
    modalities = ("images", "series", "text")
    x, y = features_examples(modalities, 32)
    task.set_trainable(["series"])
    task.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    trained = {w.path for w in task.trainable_weights}
    before = {w.path: np.array(w) for w in task.weights}
    unseen, _ = features_examples(modalities)
    first = outputs_of(task, unseen)
    task.fit(x, y, batch_size=16, epochs=3, verbose=0)
    moved = {w.path for w in task.weights if (np.array(w) != before[w.path]).any()}
    assert moved <= trained
    assert any("series" in path for path in moved)
    after = outputs_of(task, unseen)
    np.testing.assert_array_equal(after["images_classes"], first["images_classes"])
    assert np.abs(after["classes"] - first["classes"]).max() > 1e-4
    # Now it is looked at.
    other = {**unseen, "series": unseen["series"][::-1]}
    assert np.abs(outputs_of(task, other)["classes"] - after["classes"]).max() > 1e-4
    task.set_trainable(["all"])
    task.save_to_preset(str(tmp_path / "preset"))
    again = MultimodalClassifier.from_preset(str(tmp_path / "preset"))
    np.testing.assert_array_equal(outputs_of(again, unseen)["classes"], after["classes"])
    assert set(again.parts) == set(task.parts)


def test_parts_hold_every_weight_once(pair):
    old, new = pair
    held = [id(w) for layers in new.parts.values() for layer in layers for w in layer.weights]
    assert len(held) == len(set(held))
    assert set(held) == {id(w) for w in new.weights}
    assert set(new.parts) == {*old.parts, "series_encoder", "series_fusion", "series_head"}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["series"], {"series_encoder", "series_fusion", "series_head"}),
        (["fusion"], {"fusion", "series_fusion"}),
        (["auxiliary_heads"], {"auxiliary_heads", "series_head"}),
        (["series_fusion", "head"], {"series_fusion", "head"}),
    ],
)
def test_parts_by_name(names, chosen):
    task = features_task("concat").with_modality(
        "series", encoders.Features(LENGTH, DIM, name="series_encoder")
    )
    task.set_trainable(names)
    trainable = {
        part
        for part, layers in task.parts.items()
        if any(layer.trainable_weights for layer in layers)
    }
    assert trainable == chosen - {"series_encoder"}  # made elsewhere: it has no weights


@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_modality_becomes_two(fusion):
    old = features_task(fusion, ("text",))
    x, _ = features_examples(("images", "text"))
    encoder = encoders.Features(LENGTH, DIM, name="images_encoder")
    new = old.with_modality("images", encoder, CONVERTER)
    before = outputs_of(old, {"text": x["text"]})["classes"]
    for given in (x, {"text": x["text"]}):
        np.testing.assert_array_equal(outputs_of(new, given)["classes"], before)
    assert set(new.output) == {"classes", "images_classes", "text_classes", "consistency"}
    assert set(new.parts["head"]) == {new.heads[name] for name in old.heads}


@pytest.mark.parametrize("fusion", [pytest.param(name, marks=_tier(name)) for name in FUSIONS])
@pytest.mark.parametrize("modality", ["images", "text"])
def test_every_fusion_of_one_modality_becomes_one_of_two(fusion, modality, tmp_path):
    other = {"images": "text", "text": "images"}[modality]
    old = toys.classifier((modality,), fusion)
    x, y = toys.examples(4)
    new = old.with_modality(
        other, toys.encoder(other), toys.preprocessor((other,)).converters[other]
    )
    np.testing.assert_array_equal(
        outputs_of(new, x)["classes"], outputs_of(old, {modality: x[modality]})["classes"]
    )
    served = {**x, "images": [tf.io.encode_png(image).numpy() for image in x["images"]]}
    checks.check_task(new, served, y, tmp_path)


def test_it_can_be_extended_twice_and_in_lower_precision(tmp_path):
    old = features_task("cross_attention").with_dtype("mixed_bfloat16")
    new = old
    for modality in ("series", "audio"):
        encoder = encoders.Features(LENGTH, DIM, name=f"{modality}_encoder")
        new = new.with_modality(modality, encoder, CONVERTER)
    assert new.backbone.modalities == ("audio", "images", "series", "text")
    x, _ = features_examples(new.backbone.modalities)
    before = outputs_of(old, {m: x[m] for m in ("images", "text")})
    np.testing.assert_array_equal(outputs_of(new, x)["classes"], before["classes"])
    new.save_to_preset(str(tmp_path / "preset"))
    again = MultimodalClassifier.from_preset(str(tmp_path / "preset"))
    np.testing.assert_array_equal(outputs_of(again, x)["classes"], before["classes"])
    assert {"audio_fusion", "series_fusion", "audio_head"} <= set(again.parts)


def test_what_does_not_fit_is_refused():
    task = features_task("concat")
    encoder = encoders.Features(LENGTH, DIM, name="text_encoder")
    for modality, message in (
        ("text", r"has 'text' already, beside images, text\. Fix: another modality"),
        ("sound", r"Unknown modality 'sound'"),
        (
            "audio",
            r"audio and that of text have the same name, 'text_encoder'\. Fix: pass name='audio_",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            task.with_modality(modality, encoder)


def test_without_a_converter_it_takes_model_inputs():
    task = features_task("concat")
    new = task.with_modality("audio", encoders.Features(LENGTH, DIM, name="audio_encoder"))
    assert new.preprocessor is None
    with pytest.raises(ValueError, match="Raw examples need a preprocessor"):
        new.predict({"text": np.zeros((1, LENGTH, DIM))})


def learned_weights_task(modalities):
    task = features_task("concat", modalities)
    task.compile(loss_weights="uncertainty", run_eagerly=True)
    layer = task.heads["loss_weights"]
    layer.log_variances.assign(np.arange(1.0, 1 + len(layer.names)))
    return task


@pytest.mark.parametrize("modalities", [("text",), ("images", "text")], ids=len)
def test_learned_weights_of_losses_go_along_by_name(modalities):
    task = learned_weights_task(modalities)
    encoder = encoders.Features(LENGTH, DIM, name="series_encoder")
    new = task.with_modality("series", encoder, CONVERTER).heads["loss_weights"]
    old = task.heads["loss_weights"]
    known = dict(zip(old.names, np.array(old.log_variances), strict=True))
    found = dict(zip(new.names, np.array(new.log_variances), strict=True))
    assert found == {name: known.get(name, 0.0) for name in new.names}
    assert "series_classes" in found


def test_of_one_modality_both_heads_are_new():
    encoder = encoders.Features(LENGTH, DIM, name="series_encoder")
    new = features_task("concat", ("text",)).with_modality("series", encoder, CONVERTER)
    new.set_trainable(["series"])
    trained = {w.path.split("/")[0] for w in new.trainable_weights}
    assert {"text_classes_output", "series_classes_output"} <= trained
    assert "text_projection" not in trained


def test_an_added_modality_learns_through_low_rank_updates():
    check_phases([TrainingPhase("new", 1, ("series",), lora_rank=2)])
    with pytest.raises(ValueError, match="needs encoders that are trained as a whole"):
        check_phases([TrainingPhase("new", 1, ("series_fusion",), lora_rank=2)])


@pytest.mark.parametrize("fusion", ["concat", "late", "hybrid"])
def test_numbers_and_several_heads_are_extended_too(fusion):
    heads = [
        Head("scene", "multi_class", ("in", "out")),
        Head("price", "regression", ("euros",), means=(20.0,), deviations=(10.0,)),
    ]
    backbone = features_task(fusion).backbone
    preprocessor = MultimodalPreprocessor(dict.fromkeys(("images", "text"), CONVERTER))
    old = MultimodalMultiTask(backbone, heads, preprocessor)
    encoder = encoders.Features(LENGTH, DIM, name="series_encoder")
    new = old.with_modality("series", encoder, CONVERTER)
    x, _ = features_examples(("images", "series", "text"))
    known = {m: x[m] for m in ("images", "text")}
    before, after = outputs_of(old, known), outputs_of(new, x)
    for name in ("scene", "price", "images_scene", "text_price"):
        np.testing.assert_array_equal(after[name], before[name], name)
    assert {"series_scene", "series_price"} <= set(after)
