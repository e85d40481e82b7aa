"""What a classifier makes of fusions that combine predictions: averages, absence, training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
from mmlearn.training.continual import with_classes
from mmlearn.training.data import from_dataset
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests.fusions import oracles

BOTH = ("images", "text")
ALL = ("audio", "images", "text")
OPTIONS = {"late": {}, "hybrid": {"num_heads": 2}}
LENGTH, DIM, NUM_CLASSES = 3, 5, 4


def classifier(fusion, modalities=BOTH, activation="sigmoid", **options):
    """A classifier on features made elsewhere, with weights of which none is special."""
    if isinstance(fusion, str):
        fusion = fusions.get(fusion, **OPTIONS[fusion])
    backbone = MultimodalBackbone(
        {m: encoders.Features(LENGTH, DIM) for m in modalities}, fusion, hidden_dim=8, **options
    )
    task = MultimodalClassifier(backbone, NUM_CLASSES, activation=activation, hidden_dim=6)
    return oracles.randomize(task)


def inputs(modalities=BOTH, count=6, seed=0):
    """Model inputs of which everything is present; some positions are padding."""
    random = np.random.default_rng(seed)
    x = {}
    for modality in modalities:
        x[f"{modality}_features"] = random.normal(size=(count, LENGTH, DIM)).astype("float32")
        x[f"{modality}_mask"] = np.ones((count, LENGTH), "int32")
        x[f"{modality}_mask"][0, 1:] = 0
        x[f"{modality}_present"] = np.ones(count, "int32")
    return x


def labels(count=6):
    return np.random.default_rng(1).integers(0, 2, (count, NUM_CLASSES)).astype("float32")


def batches(modalities=BOTH):
    return tf.data.Dataset.from_tensor_slices((inputs(modalities), labels())).batch(3)


def raw_weights(task, x):
    """The weights of the fusion itself, before the backbone looks at what is absent."""
    x = {name: tf.constant(values) for name, values in x.items()}
    backbone = task.backbone
    features, masks = backbone.encode(x)
    tokens, known = {}, {}
    for m in backbone.modalities:
        tokens[m], known[m] = backbone.missing_tokens[m](
            backbone.projections[m](features[m]), masks[m], x[f"{m}_present"] == 1
        )
    return np.asarray(backbone.fusion(tokens, known)["modality_weights"])


def head_alone(task, x, modality):
    """What an auxiliary head predicts, in numpy."""
    mask = x[f"{modality}_mask"][..., None]
    mean = (x[f"{modality}_features"] * mask).sum(1) / mask.sum(1)
    return oracles.sigmoid(oracles.dense(task.heads[f"{modality}_classes"], mean))


def head_fused(task, fused):
    """What the main head predicts, in numpy."""
    hidden = np.maximum(oracles.dense(task.heads["hidden"], fused), 0)
    return oracles.sigmoid(oracles.dense(task.heads["classes"], hidden))


@pytest.mark.parametrize("modalities", [BOTH, ALL])
def test_late_predicts_the_weighted_average_of_the_heads(modalities):
    task, x = classifier("late", modalities), inputs(modalities)
    weights = raw_weights(task, x)
    assert np.ptp(weights) > 0.1
    expected = sum(weights[:, [i]] * head_alone(task, x, m) for i, m in enumerate(modalities))
    np.testing.assert_allclose(task.predict(x, verbose=0), expected, atol=1e-6)
    assert set(task.heads) == {"dropout", *(f"{m}_classes" for m in modalities)}


def test_late_with_fixed_weights_has_nothing_to_learn_and_leaves_out_what_is_absent():
    fixed = {"text": 3, "images": 1, "audio": 2}
    fusion = fusions.get("late", average="logits", modality_weights=fixed)
    task, x = classifier(fusion, ALL), inputs(ALL)
    assert not fusion.weights
    x["images_present"][:3] = 0
    logits = np.stack([head_alone(task, x, m) for m in ALL])
    logits = np.log(logits / (1 - logits))
    audio, images, text = logits
    without_images, with_all = (2 * audio + 3 * text) / 5, (2 * audio + images + 3 * text) / 6
    expected = np.concatenate([without_images[:3], with_all[3:]])
    np.testing.assert_allclose(task.predict(x, verbose=0), oracles.sigmoid(expected), atol=1e-5)


@pytest.mark.parametrize("modalities", [BOTH, ALL])
def test_hybrid_joins_the_head_and_the_average_by_a_share_of_each_example(modalities):
    task, x = classifier("hybrid", modalities), inputs(modalities)
    explained = task.explain(x)
    fused = np.asarray(task.backbone(x)["fused_features"])
    share = oracles.sigmoid(oracles.dense(task.heads["share"], fused))
    assert np.ptp(share) > 0.05
    weights = raw_weights(task, x)
    average = sum(weights[:, [i]] * head_alone(task, x, m) for i, m in enumerate(modalities))
    expected = share * head_fused(task, fused) + (1 - share) * average
    np.testing.assert_allclose(explained["classes"], expected, atol=1e-6)
    np.testing.assert_allclose(explained["fused_share"], share[:, 0], atol=1e-6)
    np.testing.assert_allclose(explained["modality_weights"], weights, atol=1e-6)


def test_hybrid_of_logits_joins_logits_before_and_after_it_is_saved(tmp_path):
    fixed = {"images": 1, "text": 4}
    fusion = fusions.get("hybrid", num_heads=2, average="logits", modality_weights=fixed)
    task, x = classifier(fusion), inputs()
    fused = np.asarray(task.backbone(x)["fused_features"])
    share = oracles.sigmoid(oracles.dense(task.heads["share"], fused))

    def logit(p):
        return np.log(p / (1 - p))

    images, text = (logit(head_alone(task, x, m)) for m in BOTH)
    average = (images + 4 * text) / 5
    joined = share * logit(head_fused(task, fused)) + (1 - share) * average
    predicted = task.predict(x, verbose=0)
    np.testing.assert_allclose(predicted, oracles.sigmoid(joined), atol=1e-5)
    task.save(tmp_path / "task.keras")
    again = keras.saving.load_model(tmp_path / "task.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), predicted)


@pytest.mark.parametrize("modality", BOTH)
def test_late_without_a_modality_predicts_exactly_what_the_other_does(modality):
    task, x = classifier("late"), inputs()
    other = {"images": "text", "text": "images"}[modality]
    x[f"{modality}_present"][::2] = 0
    outputs = task.predict_outputs(x, verbose=0)
    np.testing.assert_array_equal(outputs["classes"][::2], outputs[f"{other}_classes"][::2])
    assert (np.abs(outputs["classes"] - outputs[f"{other}_classes"])[1::2] > 1e-4).any(axis=1).all()


def test_of_three_modalities_the_present_ones_share_what_is_left():
    task, x = classifier("late", ALL), inputs(ALL)
    x["images_present"][:] = 0
    weights = raw_weights(task, x) * [1, 0, 1]
    weights = weights / weights.sum(1, keepdims=True)
    expected = sum(weights[:, [i]] * head_alone(task, x, m) for i, m in enumerate(ALL))
    np.testing.assert_allclose(task.predict(x, verbose=0), expected, atol=1e-6)


def test_without_any_modality_the_weights_stay_what_they_are():
    task, x = classifier("late"), inputs()
    x["images_present"][:], x["text_present"][:] = 0, 0
    weights = task.backbone(x)["modality_weights"]  # a task refuses such rows
    np.testing.assert_allclose(weights, raw_weights(task, x), atol=1e-6)


def test_what_modality_dropout_hides_weighs_nothing_in_training():
    task, x = classifier("late", ALL, modality_dropout=0.5), inputs(ALL, count=100)
    x["audio_present"][:50] = 0
    tensors = {name: tf.constant(values) for name, values in x.items()}
    features, masks = task.backbone.encode(tensors)
    presence = {m: tensors[f"{m}_present"] for m in ALL}
    weights = np.asarray(
        task.backbone.fuse(features, masks, presence, training=True)["modality_weights"]
    )
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    assert (weights[:50, 0] == 0).all()
    hidden = (weights == 0).sum(1)
    assert set(hidden[50:]) == {0, 1, 2}
    assert set(hidden[:50]) == {1, 2}


def test_softmax_probabilities_still_sum_to_one():
    for fusion in OPTIONS:
        probabilities = classifier(fusion, activation="softmax").predict(inputs(), verbose=0)
        np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-6)


@pytest.mark.parametrize("fusion", OPTIONS)
def test_in_16_bits_the_average_is_as_exact_as_the_heads(fusion):
    task, x = classifier(fusion, dtype="mixed_bfloat16"), inputs()
    explained = task.explain(x)
    assert explained["classes"].dtype == explained["modality_weights"].dtype == np.float32
    np.testing.assert_allclose(explained["modality_weights"].sum(1), 1.0, atol=1e-6)
    if fusion == "late":
        weights = explained["modality_weights"]
        expected = sum(weights[:, [i]] * explained[f"{m}_classes"] for i, m in enumerate(BOTH))
        np.testing.assert_allclose(explained["classes"], expected, atol=1e-6)


# --- Training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("modalities", [("text",), BOTH], ids=len)
@pytest.mark.parametrize("fusion", OPTIONS)
def test_every_weight_learns(fusion, modalities):
    """Keras warns of a weight without a gradient, and a warning fails the test."""
    task = classifier(fusion, modalities, modality_dropout=0.0)
    before = {weight.path: weight.numpy() for weight in task.trainable_weights}
    x = inputs(modalities)
    for row, modality in enumerate(modalities if modalities == BOTH else ()):
        x[f"{modality}_present"][row] = 0  # so that the missing tokens learn too
    task.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
    task.fit(x, labels(), batch_size=6, verbose=0)
    same = {w.path for w in task.trainable_weights if (w.numpy() == before[w.path]).all()}
    # A bias of all keys alike shifts no softmax. One modality is never missing. Of two, the one that
    # is there weighs 1, whatever the token of the other.
    same = {path for path in same if not path.endswith("key/bias")}
    tokens = {f"{m}_missing_token/token" for m in BOTH}
    if modalities != BOTH:
        assert same == {"text_missing_token/token"}
    else:
        assert same == (tokens if fusion == "late" else set())


@pytest.mark.parametrize("fusion", OPTIONS)
def test_one_modality_has_the_heads_of_any_fusion(fusion):
    task, x = classifier(fusion, ("text",)), inputs(("text",))
    assert set(task.heads) == {"hidden", "dropout", "classes"}
    assert set(task.output) == {"classes"}
    fused = np.asarray(task.backbone(x)["fused_features"])
    np.testing.assert_allclose(task.predict(x, verbose=0), head_fused(task, fused), atol=1e-6)


LEARNED = {"late": {"fusion"}, "hybrid": {"fusion", "head"}}


def changed_parts(task, train):
    """The parts of which any weight changes in training."""

    def weights():
        return {
            name: [weight for layer in part for weight in layer.get_weights()]
            for name, part in task.parts.items()
        }

    before = weights()
    train()
    return {
        name
        for name, now in weights().items()
        if any((a != b).any() for a, b in zip(now, before[name], strict=True))
    }


@pytest.mark.parametrize("fusion", OPTIONS)
def test_the_loss_of_the_classes_alone_trains_the_fusion_alone(fusion):
    task = classifier(fusion)
    task.set_trainable(("fusion", "head"))
    task.compile(keras.optimizers.SGD(0.1), loss_weights={"classes": 1.0}, run_eagerly=True)
    assert changed_parts(task, lambda: task.fit(inputs(), labels(), verbose=0)) == LEARNED[fusion]


@pytest.mark.large
@pytest.mark.parametrize("fusion", OPTIONS)
def test_phases_train_their_parts(fusion):
    task = classifier(fusion)

    def changed(*args, **options):
        phase = TrainingPhase("phase", 1, *args, **options)
        return changed_parts(task, lambda: run_phases(task, [phase], from_dataset(batches())))

    auxiliary = {"auxiliary_heads"}  # these encoders have no weights
    assert changed(("encoders", *auxiliary), loss_weights={"auxiliary": 1.0}) == auxiliary
    assert changed(("fusion", "head"), loss_weights={"classes": 1.0}) == LEARNED[fusion]
    assert changed() == LEARNED[fusion] | auxiliary


@pytest.mark.parametrize("fusion", OPTIONS)
def test_heads_are_shared_with_another_backbone_and_grow_with_the_classes(fusion):
    task, x = classifier(fusion), inputs()
    expected = task.predict(x, verbose=0)
    encoder = encoders.Features(LENGTH, DIM, name="stored")
    shared = task.with_backbone(task.backbone.with_encoders({"images": encoder}))
    assert all(shared.heads[name] is head for name, head in task.heads.items())
    np.testing.assert_allclose(shared.predict(x, verbose=0), expected, atol=1e-6)
    wider = with_classes(task, [*task.label_names, "new"])
    assert set(wider.heads) == set(task.heads)
    found = wider.predict(x, verbose=0)
    assert found.shape == (6, NUM_CLASSES + 1)
    np.testing.assert_allclose(found[:, :-1], expected, atol=1e-6)


# --- Fusions of one's own ------------------------------------------------------------------------


class Silent(keras.layers.Layer):
    """Says nothing of what it combines."""

    def call(self, features, masks):
        return {"fused_features": features["images"][:, 0] + features["text"][:, 0]}


def test_a_fusion_that_says_nothing_combines_features():
    assert classifier(Silent()).backbone.combines == "features"


def test_predictions_cannot_be_combined_without_weights():
    fusion = Silent()
    fusion.combines = "both"
    with pytest.raises(ValueError, match=r"combines 'both' must return `modality_weights`.*Fix:"):
        classifier(fusion)
