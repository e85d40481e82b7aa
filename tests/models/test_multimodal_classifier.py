"""The task: raw data in, probabilities out, saved and loaded without a difference."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import MultimodalClassifier, encoders
from mmlearn.models import steps
from tests import toys

BOTH = ("images", "text")
OUTPUTS = {"classes", "images_classes", "text_classes"}


@pytest.fixture(scope="module")
def classifier():
    """Trained a little on raw examples, with a split of its own for validation."""
    keras.utils.set_random_seed(2)
    classifier = toys.classifier()
    x, y = toys.examples(8)
    weights = np.linspace(0.5, 1.5, 8)
    history = classifier.fit(
        x, y, batch_size=4, sample_weight=weights, validation_split=0.25, verbose=0
    )
    classifier.first_history = history.history
    return classifier


@pytest.fixture(scope="module")
def inputs():
    """Model inputs, as arrays; row 1 has no image, row 2 no text."""
    x, _ = toys.examples(4)
    x["text"][2] = ""
    inputs = {name: np.array(value) for name, value in toys.preprocessor()(x).items()}
    inputs["images_present"][1] = 0
    return inputs


def without_dropout(model):
    """Switches off every dropout inside, that of BERT too."""
    for layer in model._flatten_layers():
        if hasattr(layer, "rate"):
            layer.rate = 0.0
    return model


def eager(classifier, **kwargs):
    """Compiles so that nothing has to be traced, which is faster for a few steps."""
    classifier.compile(run_eagerly=True, **kwargs)
    return classifier


# --- Raw data in ---------------------------------------------------------------------------------


def test_fit_reports_a_loss_and_a_map_per_output_and_split(classifier):
    names = {f"{name}_{what}" for name in OUTPUTS for what in ("loss", "map")}
    names |= {"loss", "consistency_loss"}
    assert set(classifier.first_history) == names | {f"val_{name}" for name in names}
    for values in classifier.first_history.values():
        assert np.isfinite(values).all()


def test_fit_takes_lists_of_differently_sized_images_and_validation_arrays(classifier):
    x, y = toys.examples(4)
    x["images"] = [image[: 20 + row] for row, image in enumerate(x["images"])]
    before = classifier.heads["classes"].get_weights()[0]
    validation_data = toys.examples(4, seed=1)
    history = classifier.fit(x, y, batch_size=4, validation_data=validation_data, verbose=0)
    assert "val_loss" in history.history
    assert (classifier.heads["classes"].get_weights()[0] != before).any()


@pytest.mark.parametrize("prepared", [False, True])
def test_fit_takes_a_dataset_of_raw_examples_or_model_inputs(prepared):
    classifier = eager(toys.classifier(("text",)))
    x, y = toys.examples(8)
    dataset = tf.data.Dataset.from_tensor_slices(({"text": x["text"]}, y)).batch(4)
    if prepared:
        dataset = dataset.map(lambda x, y: (classifier.preprocessor(x), y))
    history = classifier.fit(dataset, validation_data=dataset, epochs=2, verbose=0)
    assert len(history.history["val_loss"]) == 2
    assert classifier.optimizer.iterations == 4


def test_arrays_are_shuffled_anew_on_each_epoch_unless_told_not_to():
    seen = []

    class Spy(MultimodalClassifier):
        def train_step(self, data):
            seen.append(data[1]["classes"].numpy()[:, 0].tolist())
            return super().train_step(data)

    spy = Spy(toys.backbone(("text",)), 1, toys.preprocessor(("text",)))
    eager(spy)
    x, y = {"text": ["a dog"] * 16}, np.arange(16.0)[:, None]
    spy.fit(x, y, batch_size=16, epochs=2, verbose=0)
    first, second = seen
    assert sorted(first) == sorted(second) == list(range(16))
    assert first != second
    assert first != list(range(16))
    seen.clear()
    spy.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    assert seen == [list(range(16))]


def test_predict_on_raw_examples_equals_predict_on_model_inputs(classifier):
    x, _ = toys.examples(5)
    raw = classifier.predict(x, batch_size=2, verbose=0)
    assert raw.shape == (5, 3)
    assert raw.dtype == np.float32
    assert ((raw > 0) & (raw < 1)).all()
    prepared = classifier.predict(classifier.preprocessor(x), verbose=0)
    np.testing.assert_allclose(raw, prepared, rtol=0, atol=1e-6)
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(5)
    np.testing.assert_allclose(classifier.predict(dataset, verbose=0), raw, rtol=0, atol=1e-6)


@pytest.mark.parametrize("modality", BOTH)
def test_predicts_from_one_modality_alone(classifier, modality):
    x, _ = toys.examples(3)
    alone = classifier.predict({modality: x[modality]}, verbose=0)
    other = "text" if modality == "images" else "images"
    empty = classifier.predict({modality: x[modality], other: [""] * 3}, verbose=0)
    np.testing.assert_allclose(alone, empty, rtol=0, atol=1e-6)
    both = classifier.predict(x, verbose=0)
    assert alone.shape == both.shape == (3, 3)
    assert np.abs(alone - both).max() > 1e-5


def test_predict_outputs_names_all_outputs(classifier):
    x, _ = toys.examples(3)
    outputs = classifier.predict_outputs(x, verbose=0)
    assert set(outputs) == {*OUTPUTS, "consistency"}
    np.testing.assert_allclose(
        outputs["consistency"],
        np.mean((outputs["images_classes"] - outputs["text_classes"]) ** 2, axis=1),
        atol=1e-6,
    )
    np.testing.assert_allclose(outputs["classes"], classifier.predict(x, verbose=0), atol=1e-6)


def test_evaluate_on_raw_examples_equals_evaluate_on_a_dataset(classifier):
    x, y = toys.examples(6)
    scores = classifier.evaluate(x, y, batch_size=3, return_dict=True, verbose=0)
    assert set(scores) == {name.removeprefix("val_") for name in classifier.first_history}
    assert 0 <= scores["classes_map"] <= 1
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(3)
    again = classifier.evaluate(dataset, return_dict=True, verbose=0)
    assert again == pytest.approx(scores, abs=1e-5)


def test_the_loss_is_the_weighted_sum_of_the_named_losses(classifier):
    x, y = toys.examples(6)
    scores = classifier.evaluate(x, y, return_dict=True, verbose=0)
    outputs = classifier.predict_outputs(x, verbose=0)

    def cross_entropy(p):
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    expected = {f"{name}_loss": cross_entropy(outputs[name]) for name in OUTPUTS}
    expected["consistency_loss"] = outputs["consistency"].mean()
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-5)
    total = expected["classes_loss"] + 0.1 * expected["consistency_loss"]
    total += 0.5 * (expected["images_classes_loss"] + expected["text_classes_loss"])
    assert scores["loss"] == pytest.approx(total, abs=1e-5)


def test_explain_adds_attention_and_weights_to_the_outputs(classifier):
    x, _ = toys.examples(3)
    explained = classifier.explain(x)
    assert keras.tree.map_structure(lambda value: value.shape, explained) == {
        "attention_scores": {"images_to_text": (3, 1, 2, 4, 8), "text_to_images": (3, 1, 2, 8, 4)},
        "classes": (3, 3),
        "consistency": (3,),
        "images_classes": (3, 3),
        "modality_weights": (3, 2),
        "text_classes": (3, 3),
    }
    assert isinstance(explained["classes"], np.ndarray)
    np.testing.assert_allclose(explained["classes"], classifier.predict(x, verbose=0), atol=1e-6)
    np.testing.assert_allclose(explained["modality_weights"].sum(1), 1.0, atol=1e-6)


def test_explain_takes_model_inputs(classifier, inputs):
    explained = classifier.explain(inputs)
    np.testing.assert_allclose(
        explained["classes"], classifier.predict(inputs, verbose=0), atol=1e-6
    )


def test_raw_examples_without_a_preprocessor_are_refused():
    classifier = MultimodalClassifier(toys.backbone(("text",)), 3)
    with pytest.raises(ValueError, match=r"Raw examples need a preprocessor\. Fix: pass"):
        classifier.predict({"text": ["a dog"]})


def test_everything_learns_again_after_a_few_blocks():
    classifier = toys.classifier()
    classifier.set_trainable(["head"], blocks=1)
    stem = classifier.backbone.encoders["images"].blocks[0][0]
    assert not stem.trainable
    classifier.set_trainable(["all"])
    assert all(layer.trainable for layer in classifier._flatten_layers())
    assert all(variable.trainable for variable in stem.trainable_variables)


def test_each_validation_sees_the_whole_dataset_once():
    classifier = toys.classifier(("text",), fusion="concat")
    classifier.compile(keras.optimizers.SGD(0.0))  # nothing changes from epoch to epoch
    x, y = toys.examples(5)
    dataset = tf.data.Dataset.from_tensor_slices(({"text": x["text"]}, y)).batch(2)  # then one row
    history = classifier.fit(dataset, epochs=3, validation_data=dataset, verbose=0).history
    expected = classifier.evaluate(dataset, verbose=0, return_dict=True)
    for name, value in expected.items():
        np.testing.assert_allclose(history[f"val_{name}"], [value] * 3, rtol=1e-6)


def test_a_validation_split_that_leaves_nothing_is_refused():
    classifier = toys.classifier(("text",))
    with pytest.raises(ValueError, match=r"leaves no examples.*validation_split=0\.9 for 1"):
        classifier.fit({"text": ["a dog"]}, np.ones((1, 3)), validation_split=0.9)


# --- Losses and weights --------------------------------------------------------------------------


def test_weights_of_outputs_are_sample_weights_times_presence(classifier, inputs):
    sample_weight = np.array([1.0, 2.0, 3.0, 4.0], "float32")
    _, targets, weights = classifier.preprocess_samples(inputs, np.ones((4, 3)), sample_weight)
    assert {name: weight.numpy().tolist() for name, weight in weights.items()} == {
        "classes": [1, 2, 3, 4],
        "images_classes": [1, 0, 3, 4],  # row 1 has no image
        "text_classes": [1, 2, 0, 4],  # row 2 has no text
        "consistency": [1, 0, 0, 4],
    }
    assert set(targets) == set(weights)


def test_an_absent_modality_teaches_its_own_head_nothing(inputs):
    classifier = toys.classifier()
    classifier.compile(loss_weights={"auxiliary": 1.0})
    labels = np.random.default_rng(0).integers(0, 2, (4, 3))

    def gradient(labels, head):
        x, y, weight = classifier.preprocess_samples(inputs, labels)
        kernel = classifier.heads[head].kernel.value
        with tf.GradientTape() as tape:
            loss = classifier.compute_loss(x, y, classifier(x), weight)
        return tape.gradient(loss, kernel).numpy()

    for head, row in (("images_classes", 1), ("text_classes", 2)):
        before = gradient(labels, head)
        absent, present = labels.copy(), labels.copy()
        absent[row], present[0] = 1 - labels[row], 1 - labels[0]
        np.testing.assert_array_equal(gradient(absent, head), before)
        assert np.abs(gradient(present, head) - before).max() > 1e-4


def test_outputs_without_a_weight_have_no_loss():
    classifier = eager(toys.classifier(), loss_weights={"auxiliary": 1.0})
    scores = classifier.evaluate(*toys.examples(2), return_dict=True, verbose=0)
    names = ("images_classes", "text_classes")
    assert set(scores) == {"loss", *(f"{n}_{what}" for n in names for what in ("loss", "map"))}
    total = scores["images_classes_loss"] + scores["text_classes_loss"]
    assert scores["loss"] == pytest.approx(total, abs=1e-5)


def test_an_output_of_its_own_name_wins_over_auxiliary(classifier):
    weights = classifier._expand({"auxiliary": 0.5, "text_classes": 0.25, "classes": 0.0})
    assert weights == {"images_classes": 0.5, "text_classes": 0.25}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"clases": 1.0}, r"Unknown output with a loss weight 'clases'\. Did you mean 'classes'"),
        ({"auxilary": 1.0}, r"Did you mean 'auxiliary'"),
    ],
)
def test_unknown_outputs_are_refused(classifier, weights, message):
    with pytest.raises(ValueError, match=message):
        classifier.compile(loss_weights=weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_names": ["dog"]}, r"one name per class\. Received: 1 names, num_classes=3"),
        ({"activation": "relu"}, r"'sigmoid' or 'softmax'\. Received: activation='relu'"),
    ],
)
def test_bad_options_are_refused(classifier, options, message):
    with pytest.raises(ValueError, match=message):
        MultimodalClassifier(classifier.backbone, 3, **options)


def test_label_names_are_numbers_by_default():
    assert MultimodalClassifier(toys.backbone(("text",)), 2).label_names == ["0", "1"]


def test_softmax_learns_one_label_of_many():
    classifier = MultimodalClassifier(
        toys.backbone(("text",)), 3, toys.preprocessor(("text",)), activation="softmax"
    )
    eager(classifier)
    x, _ = toys.examples(6)
    y = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    scores = classifier.evaluate({"text": x["text"]}, y, return_dict=True, verbose=0)
    probabilities = classifier.predict({"text": x["text"]}, verbose=0)
    np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-5)
    expected = -np.log(probabilities[y == 1]).mean()
    assert scores["loss"] == pytest.approx(expected, abs=1e-5)
    history = classifier.fit({"text": x["text"]}, y, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_one_modality_has_one_output():
    assert set(toys.classifier(("text",)).output) == {"classes"}


# --- Parts ---------------------------------------------------------------------------------------


def test_parts_hold_every_weight_once(classifier):
    held = [id(w) for layers in classifier.parts.values() for x in layers for w in x.weights]
    assert sorted(held) == sorted(id(weight) for weight in classifier.weights)
    assert set(classifier.parts) == {
        *("images_encoder", "text_encoder", "fusion", "head", "auxiliary_heads"),
    }


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["head"], {"head"}),
        (["encoders"], {"images_encoder", "text_encoder"}),
        (["fusion", "auxiliary_heads"], {"fusion", "auxiliary_heads"}),
        (["all"], {"images_encoder", "text_encoder", "fusion", "head", "auxiliary_heads"}),
        ([], set()),
    ],
)
def test_exactly_the_named_parts_are_trainable(names, chosen):
    classifier = toys.classifier()
    classifier.set_trainable(names)
    trainable = {id(weight) for weight in classifier.trainable_weights}
    for part, layers in classifier.parts.items():
        weights = [weight for layer in layers for weight in layer.weights if weight.trainable]
        assert bool(weights) == (part in chosen), part
        assert all((id(weight) in trainable) == (part in chosen) for weight in weights)
    assert bool(trainable) == bool(chosen)


def test_an_unknown_part_is_refused(classifier):
    with pytest.raises(ValueError, match=r"Unknown part 'image_encoder'\. Did you mean 'images_en"):
        classifier.set_trainable(["image_encoder"])


# --- Another backbone ----------------------------------------------------------------------------


def test_with_backbone_shares_the_heads(classifier, inputs):
    features = {"images": encoders.Features(4, 128), "text": encoders.Features(8, 16)}
    cached = classifier.with_backbone(classifier.backbone.with_encoders(features))
    assert cached.preprocessor is None
    assert all(cached.heads[name] is layer for name, layer in classifier.heads.items())
    made, masks = classifier.backbone.encode(
        {name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}
    )
    x = {f"{m}_features": np.asarray(made[m]) for m in BOTH}
    x |= {f"{m}_mask": np.asarray(masks[m]).astype("int32") for m in BOTH}
    x |= {f"{m}_present": inputs[f"{m}_present"] for m in BOTH}
    expected = classifier.predict(inputs, verbose=0)
    np.testing.assert_allclose(cached.predict(x, verbose=0), expected, rtol=0, atol=1e-6)


# --- Saving --------------------------------------------------------------------------------------


def compare_predictions(first, second):
    """Checks that two tasks say bit for bit the same, attention included; returns what they say."""
    x, _ = toys.examples(4)
    first, second = first.explain(x), second.explain(x)
    keras.tree.assert_same_structure(first, second)
    keras.tree.map_structure(np.testing.assert_array_equal, first, second)
    return second


def test_keras_file_keeps_predictions_and_names(classifier, tmp_path):
    classifier.save(tmp_path / "classifier.keras")
    again = keras.saving.load_model(tmp_path / "classifier.keras")
    compare_predictions(classifier, again)
    assert again.label_names == classifier.label_names == ["dog", "cat", "sofa"]
    assert set(again.parts) == set(classifier.parts)


def test_keras_file_keeps_the_optimizer_so_that_training_goes_on(tmp_path):
    classifier = without_dropout(toys.classifier(dropout=0.0, modality_dropout=0.0))
    x, y = toys.examples(8)
    eager(classifier)
    classifier.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    classifier.save(tmp_path / "classifier.keras")
    again = without_dropout(keras.saving.load_model(tmp_path / "classifier.keras"))
    assert again.optimizer.iterations == 2
    variables = classifier.optimizer.variables
    assert len(variables) > 2 * len(classifier.trainable_weights)
    for first, second in zip(variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(second.numpy(), first.numpy(), first.path)
    again.run_eagerly = True
    for task in (classifier, again):
        task.fit({name: values[:4] for name, values in x.items()}, y[:4], verbose=0)
    for first, second in zip(classifier.weights, again.weights, strict=True):
        np.testing.assert_allclose(second.numpy(), first.numpy(), 0, 1e-6, err_msg=first.path)


def test_keras_file_of_an_untrained_task_keeps_how_it_was_compiled(tmp_path):
    classifier = toys.classifier()
    classifier.compile(keras.optimizers.SGD(0.25), loss_weights={"classes": 2.0, "auxiliary": 0.5})
    classifier.save(tmp_path / "classifier.keras")
    again = keras.saving.load_model(tmp_path / "classifier.keras")
    assert isinstance(again.optimizer, keras.optimizers.SGD)
    assert again.optimizer.learning_rate == 0.25
    compiled = again.get_compile_config()
    assert compiled["loss_weights"] == {"classes": 2.0, "images_classes": 0.5, "text_classes": 0.5}
    assert compiled == classifier.get_compile_config()


@pytest.mark.parametrize("compiled", [True, False])
def test_preset_round_trip(classifier, tmp_path, compiled):
    if not compiled:
        classifier = toys.classifier()
    classifier.save_to_preset(tmp_path / "preset")
    again = MultimodalClassifier.from_preset(str(tmp_path / "preset"))
    compare_predictions(classifier, again)
    assert again.label_names == classifier.label_names
    assert len(again.trainable_weights) == len(classifier.trainable_weights)


def test_preset_keeps_mixed_precision_and_gives_float32(tmp_path):
    classifier = toys.classifier(dtype="mixed_bfloat16")
    classifier.save_to_preset(tmp_path / "preset")
    again = MultimodalClassifier.from_preset(str(tmp_path / "preset"))
    explained = compare_predictions(classifier, again)
    assert {explained[name].dtype.name for name in again.output} == {"float32"}
    for layer in (again.backbone.fusion, *again.backbone.encoders.values()):
        assert layer.compute_dtype == "bfloat16"
        assert layer.variable_dtype == "float32"


def test_train_and_test_on_batch_take_raw_examples():
    task = toys.classifier()
    x, y = toys.examples(4)
    first = task.train_on_batch(x, y, return_dict=True)["loss"]
    for _ in range(5):
        last = task.train_on_batch(x, y, return_dict=True)["loss"]
    assert np.isfinite(last)
    assert first != last
    assert np.isfinite(task.test_on_batch(x, y, return_dict=True)["loss"])


@pytest.mark.parametrize("step", ["train_step", "test_step"])
def test_a_step_is_traced_once(step, monkeypatch):
    traced = []
    inner = getattr(steps, step)
    monkeypatch.setattr(steps, step, lambda *args: traced.append(1) or inner(*args))
    classifier = toys.classifier(("text",), fusion="concat")
    x, y = toys.examples(4)
    run = {"train_step": classifier.fit, "test_step": classifier.evaluate}[step]
    run({"text": x["text"]}, y, batch_size=2, verbose=0)
    assert len(traced) == 1


def test_export_refuses_another_format(tmp_path):
    with pytest.raises(ValueError, match="Unknown export format 'coreml'"):
        toys.classifier().export(str(tmp_path / "model"), format="coreml")
