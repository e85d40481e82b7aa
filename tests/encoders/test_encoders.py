"""Every encoder keeps the contract; each refuses what it cannot do and says how to fix it."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras.applications import imagenet_utils

from mmlearn import encoders
from mmlearn.encoders import text_tokenizers
from mmlearn.encoders.text_networks import NETWORKS
from tests import checks, toys

SMALL = {"vocabulary_size": 40, "weights": "none"}


def random_images(count=2, size=toys.IMAGE_SIZE):
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")


def text_inputs():
    """Two texts, the first with three padded positions."""
    token_ids = np.random.default_rng(0).integers(5, 17, (2, toys.SEQUENCE_LENGTH))
    padding_mask = np.ones_like(token_ids)
    token_ids[0, 5:] = padding_mask[0, 5:] = 0
    inputs = {"token_ids": token_ids, "padding_mask": padding_mask, "segment_ids": 0 * token_ids}
    return {name: values.astype("int32") for name, values in inputs.items()}


# --- Contract ------------------------------------------------------------------------------------


def test_image_encoder_keeps_the_contract():
    checks.check_encoder(toys.encoder("images"), "images", {"images": random_images()})


def test_text_encoder_keeps_the_contract():
    checks.check_encoder(toys.encoder("text"), "text", text_inputs())


def test_features_keep_the_contract():
    mask = np.array([[1, 1, 0], [1, 1, 1]], "int32")
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    inputs = {"audio_features": values, "audio_mask": mask}
    encoder = encoders.Features(length=3, dim=4)
    checks.check_encoder(encoder, "audio", inputs)
    features, known = encoder(inputs)
    np.testing.assert_array_equal(features, values)
    np.testing.assert_array_equal(known, mask == 1)


@pytest.mark.parametrize(
    "converter",
    [
        encoders.ImageConverter(48, name="images_converter"),
        encoders.FeaturesConverter(3, 4),
        lambda: encoders.TextConverter(toys.tokenizer(), 8),
        lambda: encoders.TextConverter(toys.tokenizer(), 8, clean=True),
    ],
)
def test_converters_round_trip(converter):
    checks.check_layer_config(converter if isinstance(converter, keras.Layer) else converter())


def test_features_converter_marks_absent_rows():
    converter = encoders.FeaturesConverter(3, 4)
    absent = converter.convert(None, "audio", 2)
    there = converter.convert(np.ones((2, 3, 4)), "audio")
    assert {name: tuple(value.shape) for name, value in absent.items()} == {
        "audio_features": (2, 3, 4),
        "audio_mask": (2, 3),
        "audio_present": (2,),
    }
    assert {name: (x.shape, x.dtype) for name, x in absent.items()} == {
        name: (x.shape, x.dtype) for name, x in there.items()
    }
    assert not any(value.numpy().any() for value in absent.values())
    assert there["audio_mask"].numpy().all()
    assert there["audio_present"].numpy().tolist() == [1, 1]


def test_get_takes_names_configs_and_instances():
    encoder = encoders.get("images", "resnet_tiny", image_size=32)
    assert encoder.grid == (2, 2)
    assert encoders.get("images", encoder) is encoder
    again = encoders.get("images", keras.saving.serialize_keras_object(encoder))
    assert again.grid == (2, 2)
    features = encoders.get("text", "features", length=3, dim=4)
    assert isinstance(features, encoders.Features)


@pytest.mark.parametrize(
    ("modality", "name", "options", "message"),
    [
        ("image", "resnet50", {}, r"Unknown modality 'image'\. Did you mean 'images'"),
        ("images", "resnet5", {}, r"Unknown images encoder 'resnet5'\. Did you mean 'resnet50'"),
        ("text", "bert_tyny", {}, r"Unknown text encoder 'bert_tyny'\. Did you mean 'bert_tiny'"),
        (
            "images",
            "resnet_tiny",
            {"image_sise": 32},
            r"option of encoder 'resnet_tiny' 'image_sise'\. Did you mean 'image_size'",
        ),
        ("text", "features", {"length": 3}, r"needs the option 'dim'"),
        ("images", "resnet_tiny", {"image_size": 8}, r"16 px or more\. Received: 8"),
        ("images", "resnet50", {"image_size": 31}, r"32 px or more\. Received: 31"),
        (
            "images",
            "resnet_tiny",
            {"weights": "/no/file.h5"},
            r"no weights file '/no/file\.h5'\. Fix:",
        ),
        (
            "images",
            "resnet50",
            {"weights": "/no/file.h5"},
            r"no weights file '/no/file\.h5'\. Fix:",
        ),
        (
            "text",
            "bert_tiny",
            {"weights": "/no/preset"},
            r"'/no/preset' is neither .* nor a preset .*Fix",
        ),
        (
            "text",
            "bert_tiny",
            {**SMALL, "sequence_length": 513},
            r"`sequence_length` must be at most 512.*'bert_tiny'.*sequence_length=513",
        ),
    ],
)
def test_bad_names_and_options_are_refused(modality, name, options, message):
    with pytest.raises(ValueError, match=message):
        encoders.get(modality, name, **options)


# --- Images --------------------------------------------------------------------------------------


def passing_on(normalization):
    """An encoder whose network and positions do nothing."""
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Identity()])
    encoder = encoders.ImageEncoder(network, normalization)
    encoder({"images": np.zeros((1, 4, 4, 3))})
    encoder.positions.assign(keras.ops.zeros_like(encoder.positions))
    return encoder


def test_caffe_normalisation_is_that_of_the_published_resnet():
    x = random_images(size=4)
    features, mask = passing_on("caffe")({"images": x})
    expected = keras.applications.resnet50.preprocess_input(x.copy()).reshape(2, 16, 3)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4)
    assert np.asarray(mask).all()


@pytest.mark.parametrize(
    ("normalization", "function"),
    [
        ("symmetric", lambda x: x / 127.5 - 1),
        ("unit", lambda x: x / 255),
        ("none", lambda x: x),
        ("imagenet", lambda x: imagenet_utils.preprocess_input(x.copy(), mode="torch")),
        ({"scale": [0.1, 0.2, 0.3], "offset": 4}, lambda x: x * np.array([0.1, 0.2, 0.3]) + 4),
    ],
)
def test_other_normalisations(normalization, function):
    x = random_images(size=4)
    features, _ = passing_on(normalization)({"images": x})
    np.testing.assert_allclose(features, function(x).reshape(2, 16, 3), rtol=0, atol=1e-4)


def test_regions_come_row_by_row():
    x = np.zeros((1, 4, 4, 3), "float32")
    x[0, 1, 2] = 9.0
    features, _ = passing_on("none")({"images": x})
    assert np.flatnonzero(np.asarray(features)[0, :, 0]).tolist() == [1 * 4 + 2]


def test_positions_tell_equal_regions_apart():
    encoder = toys.encoder("images")
    features, _ = encoder({"images": np.zeros((1, 32, 32, 3), "float32")})
    positions = np.asarray(encoder.positions)
    assert positions.shape == (1, 4, 128)
    assert np.abs(positions[0, 0] - positions[0, 1]).max() > 1e-3
    grid = encoder.model(keras.ops.zeros((1, 32, 32, 3)) - 1)  # black, normalised
    np.testing.assert_allclose(
        features, np.asarray(grid).reshape(1, 4, 128) + positions, rtol=0, atol=1e-5
    )


def test_a_network_without_grid_is_refused():
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match=r"must give a feature map .*\(None, 3\)\. Fix: take"):
        encoders.ImageEncoder(network)


def test_an_unknown_normalisation_is_refused():
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Identity()])
    with pytest.raises(ValueError, match=r"normalization 'cafe'\. Did you mean 'caffe'"):
        encoders.ImageEncoder(network, "cafe")


def test_weights_of_a_file_are_loaded(tmp_path):
    path = str(tmp_path / "tiny.weights.h5")
    first = encoders.get("images", "resnet_tiny", image_size=32)
    first.model.save_weights(path)
    second = encoders.get("images", "resnet_tiny", image_size=32, weights=path)
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_image_size_must_be_positive():
    with pytest.raises(ValueError, match=r"`image_size` must be positive\. Received: image_size=0"):
        encoders.ImageConverter(0)


# --- Text ----------------------------------------------------------------------------------------


def test_the_pooler_of_bert_is_left_out():
    bert = keras_hub.models.BertBackbone(30, 1, 2, 8, 8, max_sequence_length=8)
    assert any("pooled" in weight.path for weight in bert.weights)
    encoder = encoders.TextEncoder(bert, 8)
    assert len(encoder.weights) == len(bert.weights) - 2
    assert not any("pooled" in weight.path for weight in encoder.weights)
    inputs = text_inputs()
    inputs["token_ids"] %= 30
    np.testing.assert_array_equal(encoder(inputs)[0], bert(inputs)["sequence_output"])


def test_padded_token_ids_change_no_real_token():
    encoder, inputs = toys.encoder("text"), text_inputs()
    real = inputs["padding_mask"] == 1
    before, mask = encoder(inputs)
    np.testing.assert_array_equal(mask, real)
    after, _ = encoder({**inputs, "token_ids": np.where(real, inputs["token_ids"], 9)})
    np.testing.assert_array_equal(np.asarray(after)[real], np.asarray(before)[real])
    # Unmasked, they would.
    shown, _ = encoder({**inputs, "padding_mask": np.ones_like(inputs["padding_mask"])})
    assert np.abs(np.asarray(shown - before))[real].max() > 1e-4


def test_weights_of_a_bert_file_and_preset_are_loaded(tmp_path):
    encoder = encoders.get("text", "bert_tiny", sequence_length=8, **SMALL)
    bert = NETWORKS["bert_tiny"].build("bert", 40)
    bert.save_weights(tmp_path / "bert.weights.h5")
    bert.save_to_preset(tmp_path / "preset")
    wanted = bert(text_inputs())["sequence_output"]
    assert np.abs(np.asarray(encoder(text_inputs())[0] - wanted)).max() > 1e-3
    for weights in ("bert.weights.h5", "preset"):
        options = {"weights": str(tmp_path / weights), "vocabulary_size": 40}
        loaded = encoders.get("text", "bert_tiny", sequence_length=8, **options)
        np.testing.assert_array_equal(loaded(text_inputs())[0], wanted)
    with pytest.raises(ValueError, match=r"vocabulary has 41 tokens, but the weights .* know 40"):
        encoders.get("text", "bert_tiny", weights=str(tmp_path / "preset"), vocabulary_size=41)


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("bert_tiny", "default", False),
        ("bert_base_en_uncased", "default", True),
        ("bert_base_en_uncased", "none", False),
        ("bert_base_en_uncased", __file__, False),
        ("bert_tiny", "some_preset", True),
    ],
)
def test_which_weights_come_with_a_tokenizer(name, weights, expected):
    assert text_tokenizers.has_tokenizer(name, weights) is expected


def fail(*args, **kwargs):
    raise OSError("No route to host\nand a lot more")


def check_offline_message(error, flag):
    message = str(error.value)
    assert "\n" not in message
    assert "(No route to host)" in message
    assert "Fix: go online once, or pass" in message
    assert flag in message


def test_offline_the_image_encoder_names_the_fixes(monkeypatch):
    monkeypatch.setattr(keras.applications, "ResNet50", fail)
    with pytest.raises(ValueError, match="Cannot get the weights 'default' of resnet50") as error:
        encoders.get("images", "resnet50")
    check_offline_message(error, "--model.images.weights none")


def test_offline_the_text_encoder_and_tokenizer_name_the_fixes(monkeypatch):
    monkeypatch.setattr(keras_hub.models.BertBackbone, "from_preset", fail)
    monkeypatch.setattr(keras_hub.models.BertTokenizer, "from_preset", fail)
    for load in (
        lambda: encoders.get("text", "bert_base_en_uncased"),
        lambda: text_tokenizers.load_tokenizer("bert_base_en_uncased"),
    ):
        with pytest.raises(ValueError, match="Cannot get 'bert_base_en_uncased'") as error:
            load()
        check_offline_message(error, "--model.text.weights none")


def test_a_vocabulary_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Cannot read the vocabulary '/no/file\.txt'.*Fix:"):
        text_tokenizers.read_vocabulary("/no/file.txt")
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"Cannot read the vocabulary .*Fix: pass a text file"):
        text_tokenizers.read_vocabulary(path)


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path):
    path = tmp_path / "vocabulary.txt"
    path.write_text("[PAD]\n[UNK]\n[SEP]\n[MASK]\ndog\n")
    with pytest.raises(ValueError, match=r"The vocabulary '.*' lacks \[CLS\]\. Fix:"):
        text_tokenizers.read_vocabulary(path)


def tokenize(tokenizer, texts):
    """Token ids per text, from the graph, as everywhere in the package."""
    dataset = tf.data.Dataset.from_tensor_slices(texts).map(tokenizer)
    return [ids.numpy().tolist() for ids in dataset]


def test_a_vocabulary_file_gives_the_uncased_bert_tokenizer(tmp_path):
    path = tmp_path / "vocabulary.txt"
    path.write_text("\n".join([*text_tokenizers.SPECIAL_TOKENS, "cafe", "do", "##g"]) + "\n")
    tokenizer = text_tokenizers.read_vocabulary(path)
    assert tokenize(tokenizer, ["café", "CAFE", "Dog", "zebra"]) == [[5], [5], [6, 7], [1]]


def test_a_trained_tokenizer_knows_its_own_words():
    texts = ["a red dog", "Two cafés, left of the zebra!"]
    tokenizer = text_tokenizers.train_tokenizer(texts, vocabulary_size=100)
    assert tokenizer.vocabulary_size() <= 100
    unknown = tokenizer.token_to_id("[UNK]")
    for row in tokenize(tokenizer, texts):
        assert row
        assert unknown not in row
    assert tokenize(tokenizer, ["Cafés"]) == tokenize(tokenizer, ["cafes"])
    assert unknown in tokenize(tokenizer, ["犬"])[0]


def test_sequences_need_room_for_a_word():
    with pytest.raises(ValueError, match=r"`sequence_length` must be at least 3.*=2"):
        encoders.TextConverter(toys.tokenizer(), sequence_length=2)


def test_a_converter_that_cleans_sees_the_words_alone():
    texts = tf.constant(["a <b>dog</b> https://x.org/y", "#cat &amp; dog"])
    clean = tf.constant(["a dog", "cat & dog"])
    cleaning = encoders.TextConverter(toys.tokenizer(), 8, clean=True).convert(texts, "text")
    plain = encoders.TextConverter(toys.tokenizer(), 8).convert(clean, "text")
    for name, values in plain.items():
        np.testing.assert_array_equal(cleaning[name], values)
