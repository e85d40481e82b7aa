"""Every image network keeps the contract, and gives the regions it says it gives."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras.src.utils import file_utils

from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
from mmlearn.encoders import image_presets
from mmlearn.encoders.image_networks import EFFICIENTNET_SIZES
from tests import checks


def random_images(count=2, size=32):
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")


def block_names(encoder):
    return [[layer.name for layer in block] for block in encoder.blocks]


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Local copies of KerasHub presets, tiny ones: a folder with `vit` and `resnet`."""
    folder = tmp_path_factory.mktemp("presets")
    vit = keras_hub.models.ViTBackbone(
        (32, 32, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    vit.save_to_preset(folder / "vit")
    converter = keras_hub.layers.ViTImageConverter(scale=1 / 127.5, offset=-1)
    converter.save_to_preset(folder / "vit")
    resnet = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )
    resnet.save_to_preset(folder / "resnet")
    converter = keras_hub.layers.ResNetImageConverter(scale=[0.1, 0.2, 0.3], offset=[1, 2, 3])
    converter.save_to_preset(folder / "resnet")
    return folder


# --- Contract ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "grids", "dim"),
    [
        ("resnet_tiny", {"stages": [3, 4]}, ((4, 4), (2, 2)), 256),
        ("resnet_tiny", {"stages": [3]}, ((4, 4),), 64),
        ("resnet_tiny", {"spatial_attention": True}, ((2, 2),), 128),
        ("resnet_tiny", {"stages": [4, 3], "spatial_attention": True}, ((2, 2), (4, 4)), 256),
        ("resnet_tiny", {"pooled": True, "spatial_attention": True}, ((1, 1),), 128),
        ("cnn", {}, ((2, 2),), 128),
        ("cnn", {"flatten": True}, ((1, 1),), 512),
        ("patches", {"patch_size": 8, "dim": 16}, ((4, 4),), 16),
    ],
)
def test_small_networks_keep_the_contract(name, options, grids, dim):
    encoder = encoders.get("images", name, image_size=32, weights="none", **options)
    checks.check_encoder(encoder, "images", {"images": random_images()})
    assert (encoder.grids, encoder.dim) == (grids, dim)
    features, _ = encoder({"images": random_images()})
    assert features.shape == (2, sum(h * w for h, w in grids), dim)
    assert encoder.grid == max(grids)


@pytest.mark.large
@pytest.mark.parametrize(
    ("name", "size", "options", "grids", "dim"),
    [
        ("resnet50", 64, {"stages": [4, 5]}, ((4, 4), (2, 2)), 256),
        ("resnet101", 64, {}, ((2, 2),), 2048),
        ("efficientnet_b0", 64, {}, ((2, 2),), 1280),
        ("efficientnet_b4", 64, {"spatial_attention": True}, ((2, 2),), 1792),
        ("vit_base", 64, {}, ((4, 4),), 768),
        ("vit_base", 64, {"pooled": True}, ((1, 1),), 768),
    ],
)
def test_large_networks_keep_the_contract(name, size, options, grids, dim):
    encoder = encoders.get("images", name, image_size=size, weights="none", **options)
    checks.check_encoder(encoder, "images", {"images": random_images(size=size)})
    assert (encoder.grids, encoder.dim) == (grids, dim)


def test_presets_keep_the_contract(presets):
    for name, folder, normalization in (
        ("vit_base_patch16_224_imagenet", "vit", {"scale": 1 / 127.5, "offset": -1.0}),
        ("resnet_18_imagenet", "resnet", {"scale": [0.1, 0.2, 0.3], "offset": [1.0, 2.0, 3.0]}),
    ):
        encoder = encoders.get("images", name, image_size=32, weights=str(presets / folder))
        checks.check_encoder(encoder, "images", {"images": random_images()})
        assert encoder.grid == (4, 4)
        assert encoder.normalization == normalization


# --- Features ------------------------------------------------------------------------------------


def without_positions(encoder, images):
    return np.asarray(encoder({"images": images})[0] - encoder.positions)


def test_the_class_token_is_left_out(presets):
    encoder = encoders.get("images", "vit_base", image_size=32, weights=str(presets / "vit"))
    images = random_images()
    tokens = np.asarray(encoder.model(images / 127.5 - 1))
    assert tokens.shape == (2, 17, 16)
    np.testing.assert_allclose(without_positions(encoder, images), tokens[:, 1:], rtol=0, atol=1e-5)


def test_stages_follow_one_another():
    encoder = encoders.get("images", "resnet_tiny", image_size=32, stages=[3, 4])
    images = random_images()
    features = without_positions(encoder, images)
    for stage, part in ((0, features[:, :16]), (1, features[:, 16:])):
        x = np.asarray(encoder.model(images / 127.5 - 1)[stage])
        kernel, bias = encoder.laterals[stage].get_weights()
        expected = x.reshape(2, -1, x.shape[-1]) @ kernel[0, 0] + bias
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-4)


def test_pooled_is_the_mean_over_the_grid():
    encoder = encoders.get("images", "resnet_tiny", image_size=32, pooled=True)
    images = random_images()
    features, mask = encoder({"images": images})
    expected = np.asarray(encoder.model(images / 127.5 - 1)).mean(axis=(1, 2))
    np.testing.assert_allclose(np.asarray(features)[:, 0], expected, rtol=0, atol=1e-5)
    assert mask.shape == (2, 1)
    assert encoder.positions is None


def test_patches_are_projected_one_by_one():
    encoder = encoders.get("images", "patches", image_size=32, patch_size=8, dim=5)
    images = random_images()
    features = without_positions(encoder, images)
    kernel, bias = encoder.model.get_weights()
    patch = images[:, 8:16, 24:32] / 127.5 - 1  # second row, fourth column
    expected = patch.reshape(2, -1) @ kernel.reshape(-1, 5) + bias
    np.testing.assert_allclose(features[:, 7], expected, rtol=0, atol=1e-4)


def test_cnn_is_the_network_of_the_report():
    layers = keras.layers
    report = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(128, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
        ]
    )
    encoder = encoders.get("images", "cnn", image_size=32, flatten=True)
    weights = report.get_weights()
    wanted = [weight.shape for weight in encoder.model.get_weights()]
    encoder.model.set_weights([w.reshape(s) for w, s in zip(weights, wanted, strict=True)])
    images = random_images()
    np.testing.assert_allclose(
        without_positions(encoder, images)[:, 0], report(images / 255), rtol=0, atol=1e-5
    )
    assert encoders.get("images", "cnn").grid == (14, 14)


@pytest.mark.large
def test_published_weights_of_efficientnet_see_what_they_were_trained_with(tmp_path, monkeypatch):
    """As downloaded or from a file, the network computes what that of Keras computes."""
    untrained = keras.applications.EfficientNetB0(False, None, input_shape=(64, 64, 3))
    # As in the published file; its "variances" are standard deviations.
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    untrained.get_layer("normalization").set_weights([mean, deviation, np.array(1)])
    path = str(tmp_path / "efficientnetb0.weights.h5")
    untrained.save_weights(path)
    monkeypatch.setattr(file_utils, "get_file", lambda *args, **kwargs: path)
    published = keras.applications.EfficientNetB0(False, "imagenet", input_shape=(64, 64, 3))
    images = random_images(size=64)
    expected = np.asarray(published(images)).reshape(2, 4, 1280)
    plain = np.asarray(untrained(images)).reshape(2, 4, 1280)
    assert np.abs(expected - plain).max() > 0.01 * np.abs(expected).max()
    for weights in ("default", path):
        encoder = encoders.get("images", "efficientnet_b0", image_size=64, weights=weights)
        features = np.asarray(encoder.model(encoder._normalize(images))).reshape(2, 4, 1280)
        np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.large
def test_weights_of_a_vit_file_are_loaded(tmp_path):
    first = encoders.get("images", "vit_base", image_size=32, weights="none")
    first.model.save_weights(tmp_path / "vit.weights.h5")
    path = str(tmp_path / "vit.weights.h5")
    again = encoders.get("images", "vit_base", image_size=32, weights=path)
    for one, other in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# --- Blocks --------------------------------------------------------------------------------------


def test_blocks_inside_of_a_layer_are_found(presets):
    encoder = encoders.get("images", "vit_base", image_size=32, weights=str(presets / "vit"))
    assert block_names(encoder) == [
        ["vit_patching_and_embedding"],
        ["transformer_block_1"],
        ["transformer_block_2", "ln"],
    ]


def test_blocks_inside_of_a_model_are_found(presets):
    encoder = encoders.get(
        "images", "resnet_18_imagenet", image_size=32, weights=str(presets / "resnet")
    )
    names = block_names(encoder)
    assert names[0] == ["conv1_conv", "conv1_bn"]
    assert [name[0][:13] for name in names[1:]] == ["stack0_block0", "stack1_block0"]


@pytest.mark.parametrize(
    ("name", "count"), [("cnn", 3), pytest.param("efficientnet_b0", 17, marks=pytest.mark.large)]
)
def test_every_weight_is_in_one_block(name, count):
    encoder = encoders.get("images", name, image_size=32, weights="none")
    assert len(encoder.blocks) == count
    found = [weight.path for block in encoder.blocks for layer in block for weight in layer.weights]
    assert found == [weight.path for weight in encoder.model.weights]


def test_the_top_block_of_a_vit_learns_alone(presets):
    encoder = encoders.get("images", "vit_base", image_size=32, weights=str(presets / "vit"))
    task = MultimodalClassifier(
        MultimodalBackbone({"images": encoder}, fusions.get("concat"), hidden_dim=8), 3
    )
    task.set_trainable(["head"], blocks=1)
    stem, lower, upper = encoder.blocks
    assert not any(layer.trainable_weights for layer in (*stem, *lower))
    assert all(layer.trainable_weights for layer in upper)
    assert encoder.positions.trainable


def test_a_frozen_network_computes_as_at_inference():
    encoder = encoders.get("images", "cnn", image_size=32, flatten=True)
    inputs = {"images": random_images()}
    expected, _ = encoder(inputs, training=False)
    assert np.abs(np.asarray(encoder(inputs, training=True)[0] - expected)).max() > 0
    encoder.trainable = False
    np.testing.assert_array_equal(encoder(inputs, training=True)[0], expected)


# --- Files ---------------------------------------------------------------------------------------


def test_a_keras_file_is_an_encoder(tmp_path):
    layers = keras.layers
    network = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Normalization(), layers.Conv2D(4, 8, 8)]
    )
    images = random_images(4)
    network.layers[0].adapt(images)
    path = str(tmp_path / "network.keras")
    network.save(path)
    encoder = encoders.get("images", path, image_size=32)
    checks.check_encoder(encoder, "images", {"images": images})
    expected = np.asarray(network(images)).reshape(4, 16, 4)
    np.testing.assert_allclose(without_positions(encoder, images), expected, rtol=0, atol=1e-5)


def test_a_keras_file_may_give_tokens(tmp_path):
    layers = keras.layers
    network = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(4, 8, 8)])
    network.add(layers.Reshape((16, 4)))
    path = str(tmp_path / "network.keras")
    network.save(path)
    encoder = encoders.get("images", path, image_size=32, grid=[3, 5], extra_tokens=1)
    checks.check_encoder(encoder, "images", {"images": random_images()})
    assert encoder.grid == (3, 5)
    with pytest.raises(ValueError, match=r"`grid` must hold the 16 tokens.*grid=None.*Fix: pass"):
        encoders.get("images", path, image_size=32)
    with pytest.raises(ValueError, match=r"takes images of 32x32 px\. Received: image_size=224"):
        encoders.get("images", path)
    with pytest.raises(ValueError, match=r"weights of .* are in that file\. Received: .*'none'"):
        encoders.get("images", path, image_size=32, weights="none")


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_broken_keras_file_is_refused(content, tmp_path):
    path = tmp_path / "network.keras"
    with pytest.raises(ValueError, match=r"Cannot load the model .*network\.keras.* Fix: pass"):
        encoders.get("images", str(path))
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"network\.keras' cannot be read \(File is not a zip file\)"
    ):
        encoders.get("images", str(path))


def test_a_keras_file_of_something_else_is_refused(tmp_path):
    path = str(tmp_path / "network.keras")
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]).save(path)
    with pytest.raises(ValueError, match=r"must take one batch of images .*\(None, 5\)\. Fix:"):
        encoders.get("images", path)


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vit_base", {"image_size": 100}, r"multiple of 16 px\. Received: 100"),
        ("vit_base", {"image_size": 384}, r"positions of 224 px\. Received: 384\. Fix: .*384_imag"),
        ("vit_base", {"weights": "/no/file.h5"}, r"no weights file '/no/file\.h5'\. Fix:"),
        ("patches", {"image_size": 30}, r"multiple of `patch_size`\. .*=30, patch_size=16"),
        ("cnn", {"image_size": 21}, r"22 px or more\. Received: 21"),
        ("efficientnet_b0", {"image_size": 31}, r"32 px or more\. Received: 31"),
        ("resnet_tiny", {"stages": 4}, r"list of different ones of \[3, 4\].*Received: stages=4"),
        ("resnet_tiny", {"stages": [4, 5]}, r"ones of \[3, 4\].*Received: stages=\[4, 5\]"),
        ("resnet_tiny", {"stages": [4, 4]}, r"list of different .*Received: stages=\[4, 4\]"),
        (
            "resnet_tiny",
            {"stages": [3, 4], "pooled": True},
            r"`pooled` is of one feature map\. Received: 2 stages",
        ),
        ("vit_base", {"spatial_attention": True}, r"option of encoder 'vit_base'"),
    ],
)
def test_what_a_network_cannot_do_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        encoders.get("images", name, **options)


def network(*layers):
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 8, 8), *layers])


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        ((), {"grid": (4, 4)}, r"`grid` and `extra_tokens` are of tokens.*grid=\(4, 4\)"),
        ((), {"normalization": {"scale": 1}}, r"dict of `scale` and `offset`\. Received"),
        (
            (keras.layers.Reshape((16, 4)),),
            {"grid": (4, 4), "spatial_attention": True},
            r"`spatial_attention` is of feature maps",
        ),
    ],
)
def test_what_an_encoder_cannot_do_is_refused(layers, options, message):
    with pytest.raises(ValueError, match=message):
        encoders.ImageEncoder(network(*layers), **options)


def fail(*args, **kwargs):
    raise OSError("No route to host\nand a lot more")


@pytest.mark.parametrize("name", ["vit_base", "resnet_50_imagenet", "efficientnet_b4"])
def test_offline_the_message_names_the_fixes(name, monkeypatch):
    monkeypatch.setattr(keras_hub.models.ViTBackbone, "from_preset", fail)
    monkeypatch.setattr(keras_hub.models.ResNetBackbone, "from_preset", fail)
    monkeypatch.setattr(keras.applications, "EfficientNetB4", fail)
    with pytest.raises(ValueError, match=r"Cannot get .*\(No route to host\)\. Fix: go") as error:
        encoders.get("images", name)
    assert "\n" not in str(error.value)
    assert "--model.images.weights" in str(error.value)


def test_image_presets_have_names_of_their_own():
    assert len(image_presets.PRESETS) > 50
    assert not set(image_presets.PRESETS) & set(encoders.ENCODERS["images"])
    assert {"resnet_50_imagenet", image_presets.VIT_BASE} <= set(image_presets.PRESETS)
    assert len(EFFICIENTNET_SIZES) == 8


def test_weights_of_a_preset_are_a_preset():
    with pytest.raises(
        ValueError, match=r"'hf://someone/model' is neither a preset directory.* Fix:"
    ):
        encoders.get("images", "resnet_18_imagenet", weights="hf://someone/model")


def test_local_regions_see_44_pixels_and_as_far_to_all_sides():
    encoder = encoders.get("images", "resnet_tiny", image_size=96, local=True)
    assert encoder.grid == (6, 6)
    pixels = tf.random.stateless_uniform((1, 96, 96, 3), (0, 0))
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        features = encoder.model(pixels, training=False)
        region = tf.reduce_sum(features[:, 3, 3] ** 2)  # its middle is at 56
    seen = np.abs(tape.gradient(region, pixels).numpy()).sum(axis=(0, 2, 3))
    first, last = np.flatnonzero(seen)[[0, -1]]
    assert (first, last) == (56 - 22, 56 + 22 - 1)
