"""The retriever: what it embeds, matches and learns from; saving; a batch in parts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmlearn import ImageTextRetriever, MultimodalBackbone, encoders, fusions
from mmlearn.models import gradient_cache
from tests import toys

GROUPS = np.array([0, 1, 1, 2, 3, 4, 5, 6])


def examples():
    x, _ = toys.examples(8)
    return {**x, "group": GROUPS}


@pytest.fixture(scope="module")
def task():
    keras.utils.set_random_seed(0)
    return toys.retriever()


def on_features(dropout=0.0, **options):
    """A retriever of stored image features and of texts, without batch normalisation."""
    keras.utils.set_random_seed(1)
    backbone = MultimodalBackbone(
        {"images": encoders.Features(3, 6, name="images_encoder"), "text": toys.encoder("text")},
        fusions.get("concat"),
        hidden_dim=16,
        dropout=dropout,
        modality_dropout=0.0,
    )
    task = ImageTextRetriever(backbone, None, 8, hidden_dim=8, dropout=dropout, **options)
    for layer in task._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = dropout
    return task


def feature_inputs(count=7):
    random = np.random.default_rng(0)
    text = toys.preprocessor(["text"])({"text": toys.examples(count)[0]["text"]})
    return {
        **{name: np.asarray(values) for name, values in text.items()},
        "images_features": random.normal(size=(count, 3, 6)).astype("float32"),
        "images_mask": np.ones((count, 3), "int32"),
        "images_present": np.array([1] * (count - 1) + [0], "int32"),
        "group": np.array([0, 1, 1, 2, 3, 4, 5])[:count],
    }


def compile_contrast(task, optimizer, parts=1):
    """Embeddings alone, as a phase trains them."""
    task.set_trainable(["encoders", "head"])
    task.compile(optimizer, loss_weights={"contrast": 1.0}, micro_batches=parts)


@pytest.mark.parametrize("loss", ["info_nce", "sigmoid", "triplet"])
def test_every_loss_trains(loss):
    task, x = on_features(loss=loss), feature_inputs()
    compile_contrast(task, keras.optimizers.Adam(0.02))
    history = task.fit(x, batch_size=7, epochs=6, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert "matching_loss" not in history  # one without a weight is not computed
    learned = {v.path.split("/")[-1] for v in task.heads["contrast"].trainable_variables}
    expected = {"info_nce": {"logit_scale"}, "sigmoid": {"logit_scale", "logit_bias"}}
    assert learned == expected.get(loss, set())


def test_learns_to_tell_pairs_from_mismatched_ones():
    task, x = on_features(), feature_inputs()
    task.compile(keras.optimizers.Adam(0.02))
    history = task.fit(x, batch_size=7, epochs=40, shuffle=False, verbose=0).history
    assert history["matching_loss"][-1] < 0.92 * history["matching_loss"][0]


def test_what_it_predicts(task):
    x = examples()
    outputs = task.predict_outputs(x, verbose=0)
    assert outputs["match"].shape == (8,)
    assert ((outputs["match"] > 0) & (outputs["match"] < 1)).all()
    for modality, name in (("images", "image_embedding"), ("text", "text_embedding")):
        alone = task.embed({modality: x[modality]}, batch_size=3)
        np.testing.assert_allclose(alone, outputs[name], atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(task.predict(x, verbose=0), outputs["match"])


def test_matches_what_was_encoded_apart(task):
    x = examples()
    inputs = task.read_inputs(x)
    images, texts = (task.encode_inputs(inputs, m) for m in ("images", "text"))
    halves = [(each["features"], each["mask"]) for each in (images, texts)]
    logits = np.asarray(task.match_encoded(*halves))
    expected = task.predict(x, verbose=0)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=1e-5)


def test_examples_of_a_group_are_never_mismatched(task):
    draw = task.heads["mismatched"]
    same = np.ones((8, 2), "float32")  # all are equally near
    present = np.array([1, 1, 1, 1, 1, 1, 1, 0], bool)
    drawn = set()
    for _ in range(30):
        texts, images, is_there = draw(same, same, GROUPS, present, training=True)
        for rows in (np.asarray(texts), np.asarray(images)):
            assert (GROUPS[rows] != GROUPS)[:7].all()
            assert (rows[:7] != 7).all()
            drawn.add(tuple(rows))
        assert np.asarray(is_there).tolist() == [1.0] * 7 + [0.0]
    assert len(drawn) > 10
    # Without training, the nearest.
    near = np.eye(8, dtype="float32") + 0.5 * np.eye(8, k=3, dtype="float32")
    texts, _, _ = draw(near, np.eye(8, dtype="float32"), GROUPS, present, training=False)
    assert np.asarray(texts)[:4].tolist() == [3, 4, 5, 6]


def test_a_batch_of_one_group_has_nothing_mismatched(task):
    x = {**examples(), "group": np.zeros(8, int)}
    outputs = task.predict_outputs(x, verbose=0)
    np.testing.assert_allclose(outputs["matching"], -np.log(outputs["match"]) / 2, rtol=1e-4)


def test_rows_are_groups_of_their_own_by_default(task):
    x = {name: values for name, values in examples().items() if name != "group"}
    assert task.read_inputs(x)["group"].tolist() == list(range(8))


@pytest.mark.parametrize(
    "parts",  # also more than rows
    [2, *(pytest.param(count, marks=pytest.mark.large) for count in (3, 9))],
)
def test_parts_of_a_batch_are_compared_with_the_whole(parts):
    x = feature_inputs()
    found = {}
    for count in (1, parts):
        task = on_features()
        compile_contrast(task, keras.optimizers.SGD(0.02), count)
        history = task.fit(x, batch_size=7, epochs=2, shuffle=False, verbose=0).history
        found[count] = history["loss"], task.get_weights()
    np.testing.assert_allclose(found[1][0], found[parts][0], atol=1e-6)
    for whole, cut in zip(found[1][1], found[parts][1], strict=True):
        np.testing.assert_allclose(whole, cut, atol=1e-6)


@pytest.mark.large
def test_both_passes_over_a_part_draw_the_same_dropout():
    # One part is the whole batch: a plain step, if and only if they do.
    found = []
    for train_step in (keras.Model.train_step, gradient_cache.train_step):
        task = on_features(dropout=0.3)
        compile_contrast(task, keras.optimizers.SGD(0.5))
        task._make_variables(optimizer=True)
        x, y, weights = task.preprocess_samples(feature_inputs())
        data = ({name: tf.constant(values) for name, values in x.items()}, y, weights)
        tf.function(lambda task=task, run=train_step, data=data: run(task, data))()
        found.append(task.get_weights())
    for plain, cached in zip(*found, strict=True):
        np.testing.assert_allclose(plain, cached, atol=1e-6)


def test_parts_to_freeze(task):
    assert sorted(task.parts) == ["fusion", "head", "images_encoder", "match", "text_encoder"]
    names = [sorted(layer.name for layer in task.parts[part]) for part in ("head", "match")]
    assert "images_embedding" in names[0]
    assert names[1] == ["match_hidden", "match_output"]


def test_saved_files_give_the_same(task, tmp_path):
    x = examples()
    expected = task.predict_outputs(x, verbose=0)
    task.save(tmp_path / "retriever.keras")
    task.save_to_preset(str(tmp_path / "preset"))
    for other in (
        keras.models.load_model(tmp_path / "retriever.keras"),
        ImageTextRetriever.from_preset(str(tmp_path / "preset")),
    ):
        assert other.preprocessor.with_group
        for name, values in other.predict_outputs(x, verbose=0).items():
            np.testing.assert_array_equal(values, expected[name])


@pytest.mark.large
def test_another_precision_has_the_same_weights(task):
    x = examples()
    mixed = task.with_dtype("mixed_bfloat16")
    outputs = mixed.predict_outputs(x, verbose=0)
    assert outputs["image_embedding"].dtype == outputs["match"].dtype == np.float32
    expected = task.predict_outputs(x, verbose=0)
    np.testing.assert_allclose(outputs["match"], expected["match"], atol=0.05)
    back = mixed.with_dtype("float32").predict_outputs(x, verbose=0)
    for name, values in expected.items():
        np.testing.assert_allclose(back[name], values, atol=1e-6, err_msg=name)


def test_another_modality_is_refused():
    backbone = toys.backbone(["text"], fusion="concat")
    with pytest.raises(ValueError, match=r"needs images and text.*Received: a backbone of text"):
        ImageTextRetriever(backbone)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"'infonce'.*Did you mean 'info_nce'"):
        toys.retriever(loss="infonce")
    with pytest.raises(ValueError, match="'median'"):
        toys.retriever(pooling="median")


def test_an_empty_query_is_refused(task):
    with pytest.raises(ValueError, match="row 0 without any"):
        task.embed({"text": [""]})
