"""Conformance checks that every component gets the same way.

Each takes a component and raises an `AssertionError` that says what is broken, so that a new
encoder or fusion is tested by adding it to its registry.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from mmlearn.fusions.fusion import what_is_combined
from mmlearn.models.signatures import served_names

LENGTHS = {"audio": 3, "images": 4, "text": 5}
BATCH_SIZE, HIDDEN_DIM = 3, 16


def check_layer_config(layer):
    """Saves and rebuilds a layer as `.keras` files do, through JSON; returns the unbuilt copy."""
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(saved)
    assert type(again) is type(layer)
    assert json.dumps(again.get_config()) == json.dumps(layer.get_config())
    assert saved["registered_name"] != type(layer).__name__, "the class is not registered"
    return again


def check_encoder(encoder, modality, inputs):
    """Checks an encoder on a batch of model inputs.

    Args:
        encoder: an encoder.
        modality: str.
        inputs: dict of numpy arrays. If any position is masked, padding is checked too.
    """
    features, mask = encoder(inputs)
    # Its own names, shapes and dtypes.
    declared = encoder.model_inputs(modality)
    assert sorted(declared) == sorted(inputs)
    for name, value in inputs.items():
        assert declared[name].shape == (None, *value.shape[1:]), name
    symbolic_features, symbolic_mask = encoder(declared)
    assert symbolic_features.shape == (None, *features.shape[1:])
    assert symbolic_mask.shape == (None, *mask.shape[1:])
    assert mask.shape == features.shape[:2]
    assert symbolic_features.dtype == _dtype(features) == encoder.compute_dtype
    assert symbolic_mask.dtype == _dtype(mask) == "bool"
    # Rebuilt with the same weights, it computes the same.
    again = check_layer_config(encoder)
    again(inputs)
    again.set_weights(encoder.get_weights())
    np.testing.assert_array_equal(again(inputs)[0], features)
    # What is behind padding changes no real position; more real positions show in the mask.
    mask = np.asarray(mask)
    if not mask.all():
        hidden = {name: _disturb(name, value, mask) for name, value in inputs.items()}
        changed, same_mask = encoder(hidden)
        np.testing.assert_array_equal(same_mask, mask)
        np.testing.assert_array_equal(np.asarray(changed)[mask], np.asarray(features)[mask])
        masks = {name: np.ones_like(value) for name, value in inputs.items() if "mask" in name}
        assert np.asarray(encoder({**inputs, **masks})[1]).all()
    check_gradients(encoder, lambda: encoder(inputs)[0])
    _mixed(again)
    features, _ = again(inputs)
    assert _dtype(features) == "bfloat16"
    assert np.isfinite(_float(features)).all()


def check_fusion(fusion):
    """Checks an unbuilt fusion on one, two and three modalities."""
    for modalities in (("text",), ("images", "text"), ("audio", "images", "text")):
        copy = check_layer_config(fusion)
        features, masks = fusion_inputs(modalities)
        outputs = _numpy(copy(features, masks))
        assert _shapes(_symbolic(copy, modalities), None) == _shapes(outputs, None)
        _check_fusion_shapes(outputs, modalities)
        _check_fusion_masks(copy, features, masks, outputs)
        check_gradients(copy, lambda: _used(copy(features, masks), copy))  # noqa: B023
        low = check_layer_config(fusion)
        _mixed(low)
        fused = low(features, masks, training=True)["fused_features"]
        assert _dtype(fused) == low.compute_dtype == "bfloat16"
        assert np.isfinite(_float(fused)).all()


def check_task(task, x, y, folder):
    """Checks a task from training to serving: one step, preset, SavedModel.

    Args:
        task: a compiled task with a preprocessor, of one head or several.
        x: dict of raw values as an exported model takes them, images as file bytes.
        y: labels.
        folder: path of an empty folder.
    """
    untrained = _predict(task, x)
    history = task.fit(x, y, batch_size=len(y), verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values()), history
    expected = _predict(task, x)
    for name, values in expected.items():
        assert np.abs(values - untrained[name]).max() > 0, f"a step changes nothing in {name}"
    task.save_to_preset(str(folder / "preset"))
    again = type(task).from_preset(str(folder / "preset"))
    for name, values in _predict(again, x).items():
        np.testing.assert_array_equal(values, expected[name])
    task.export(str(folder / "serving"))
    signatures = tf.saved_model.load(str(folder / "serving")).signatures
    inputs = {name: value for name, value in task.preprocessor(x).items() if name in task.input}
    results = [signatures["serve_tensors"](**inputs)]
    if all(c.raw_spec(m) is not None for m, c in task.preprocessor.converters.items()):
        raw = {}
        for modality, values in x.items():
            spec = task.preprocessor.converters[modality].raw_spec(modality)
            columns = {None: (values, spec)}
            if isinstance(spec, dict):
                columns = {name: (values[name], spec[name]) for name in spec}
            raw.update({s.name: tf.constant(v, s.dtype) for v, s in columns.values()})
        results.append(signatures["serving_default"](**raw))
    for result in results:
        for head in task.described.values():
            served = result[served_names(task, head)[0]]
            atol = 1e-5 * max(head.deviations or (1.0,))
            np.testing.assert_allclose(served, expected[head.name], rtol=1e-5, atol=atol)


def _predict(task, x):
    """The predictions of each head, by its name."""
    predicted = task.predict(x, verbose=0)
    return predicted if isinstance(predicted, dict) else {task.main_output: predicted}


def check_gradients(layer, compute):
    """Checks that the gradient of a random projection reaches every trainable weight."""
    with tf.GradientTape() as tape:
        result = compute()
        random = np.random.default_rng(0).normal(size=result.shape)
        loss = tf.reduce_sum(result * tf.cast(random, result.dtype))
    weights = [weight.value for weight in layer.trainable_weights]
    gradients = tape.gradient(loss, weights)
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert gradient is not None, f"no gradient for {weight.path}"
        values = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(values).all(), weight.path
        # A bias of all keys alike shifts no softmax: its gradient is zero but for rounding.
        assert values.any() or weight.path.endswith("key/bias"), f"no gradient for {weight.path}"


def fusion_inputs(modalities, seed=0):
    """Random features and masks; the last position of each modality's first row is padding."""
    random = np.random.default_rng(seed)
    features, masks = {}, {}
    for modality in modalities:
        shape = (BATCH_SIZE, LENGTHS[modality], HIDDEN_DIM)
        features[modality] = random.normal(size=shape).astype("float32")
        masks[modality] = np.ones(shape[:2], bool)
        masks[modality][0, -1] = False
    return features, masks


def _check_fusion_shapes(outputs, modalities):
    assert outputs["fused_features"].shape[0] == BATCH_SIZE
    assert outputs["fused_features"].ndim == 2
    if "modality_weights" in outputs:
        assert outputs["modality_weights"].shape == (BATCH_SIZE, len(modalities))
    for direction, scores in outputs.get("attention_scores", {}).items():
        query, key = direction.split("_to_")
        assert {query, key} <= set(modalities)
        assert scores.ndim == 5
        assert scores.shape[0] == BATCH_SIZE
        assert scores.shape[3:] == (LENGTHS[query], LENGTHS[key])


def _used(outputs, fusion):
    """What a task reads of a fusion's outputs, side by side."""
    names = ["fused_features"]
    if what_is_combined(fusion) != "features":
        names.append("modality_weights")
    return keras.ops.concatenate([outputs[name] for name in names], axis=-1)


def _check_fusion_masks(fusion, features, masks, outputs):
    for modality in features:
        hidden = {**features, modality: features[modality] + 100.0 * ~masks[modality][..., None]}
        for name, values in _numpy(fusion(hidden, masks)).items():
            if name != "attention_scores":  # a padded query may look elsewhere, its result is cut
                np.testing.assert_array_equal(values, outputs[name], f"padding of {modality}")
        for change in (
            fusion(features, {**masks, modality: np.ones_like(masks[modality])}),
            fusion({**features, modality: features[modality][:, ::-1] * 2}, masks),
        ):
            difference = np.abs(change["fused_features"] - outputs["fused_features"])
            assert difference[0].max() > 1e-6, f"{modality} has no effect"


def _symbolic(fusion, modalities):
    features = {m: keras.Input((LENGTHS[m], HIDDEN_DIM)) for m in modalities}
    masks = {m: keras.Input((LENGTHS[m],), dtype="bool") for m in modalities}
    return fusion(features, masks)


def _shapes(outputs, batch_size):
    return keras.tree.map_structure(lambda x: (batch_size, *x.shape[1:]), outputs)


def _numpy(outputs):
    return keras.tree.map_structure(np.asarray, outputs)


def _disturb(name, values, mask):
    """Changes a model input where it is masked; ids stay valid ones."""
    if "mask" in name:
        return values
    other = values + 1 if values.dtype.kind == "f" else (values + 1) % 2
    return np.where(mask.reshape(mask.shape + (1,) * (values.ndim - 2)), values, other)


def _mixed(layer):
    for part in layer._flatten_layers():
        part.dtype_policy = "mixed_bfloat16"


def _dtype(x):
    return keras.backend.standardize_dtype(x.dtype)


def _float(x):
    return np.asarray(keras.ops.cast(x, "float32"))
