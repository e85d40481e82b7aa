"""Every text encoder by name: its sizes, inputs, masks, blocks and weights, on small ones."""

import dataclasses

import keras
import keras_hub
import numpy as np
import pytest

from mmlearn import encoders
from mmlearn.encoders import text_networks, text_tokenizers
from mmlearn.encoders.text_networks import NETWORKS
from tests import checks

LENGTH, VOCABULARY_SIZE = 6, 40
SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8}
# One per kind of network, small.
KINDS = {
    "bert_tiny": SMALL,
    "distil_bert_base_en_uncased": SMALL,
    "roberta_base_en": SMALL,
    "xlm_roberta_base_multi": SMALL,
    "lstm": {"num_layers": 2, "hidden_dim": 8, "embedding_dim": 6},
    "words": {"hidden_dim": 8},
    "weighted_words": {"hidden_dim": 8},
}


LARGE = [pytest.param(name, marks=pytest.mark.large) for name in ("roberta_base_en", "lstm")]


def small(name, **options):
    """A small encoder of that kind."""
    options = {"vocabulary_size": VOCABULARY_SIZE, "weights": "none", **KINDS[name], **options}
    return encoders.get("text", name, **{"sequence_length": LENGTH, **options})


def inputs_of(encoder, length=LENGTH):
    """Two texts, the first with two padded positions."""
    token_ids = np.random.default_rng(0).integers(5, VOCABULARY_SIZE, (2, length))
    padding_mask = np.ones_like(token_ids)
    padding_mask[0, 4:] = 0
    values = {"token_ids": token_ids, "padding_mask": padding_mask, "segment_ids": 0 * token_ids}
    return {name: values[name].astype("int32") for name in encoder.model_inputs("text")}


def parameters(network):
    """The number of weights of a transformer of these sizes, as it follows from the papers."""
    d, f = network.hidden_dim, network.intermediate_dim
    attention, feed_forward, norms = 4 * (d * d + d), d * f + f + f * d + d, 2 * 2 * d
    count = (network.vocabulary_size + 512) * d + 2 * d
    count += network.num_layers * (attention + feed_forward + norms)
    if network.backbone is keras_hub.models.BertBackbone:
        count += 2 * d + d * d + d  # segments, pooler
    return count


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "bert_tiny"])
def test_the_sizes_are_those_of_the_published_weights(name):
    network = NETWORKS[name]
    published = network.backbone.presets[name]["metadata"]["params"]
    assert parameters(network) == published


def test_the_count_of_parameters_is_that_of_keras():
    for name in ("bert_tiny", "roberta_base_en"):
        network = dataclasses.replace(
            NETWORKS[name], vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8
        )
        assert network.build("small").count_params() == parameters(network)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_keeps_the_contract(name):
    encoder = small(name)
    inputs = inputs_of(encoder)
    assert ("segment_ids" in inputs) == (name == "bert_tiny")
    checks.check_encoder(encoder, "text", inputs)
    # Layers after it take the mask that it returns, not one that Keras attaches.
    assert getattr(encoder(inputs)[0], "_keras_mask", None) is None


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_blocks_and_computes_frozen_as_at_inference(name):
    encoder = small(name)
    inputs = inputs_of(encoder)
    assert len(encoder.blocks) == (1 if name.endswith("words") else 3)
    in_blocks = {id(w) for block in encoder.blocks for layer in block for w in layer.weights}
    assert in_blocks == {id(weight) for weight in encoder.weights}
    at_inference, _ = encoder(inputs)
    assert np.abs(np.asarray(encoder(inputs, training=True)[0] - at_inference)).max() > 0
    encoder.trainable = False
    np.testing.assert_array_equal(encoder(inputs, training=True)[0], at_inference)


@pytest.mark.parametrize("name", ["roberta_base_en", pytest.param("lstm", marks=pytest.mark.large)])
def test_hidden_tokens_change_no_real_one_and_shown_ones_do(name):
    encoder = small(name)
    inputs = inputs_of(encoder)
    before, mask = (np.asarray(x) for x in encoder(inputs))
    token_ids = inputs["token_ids"].copy()
    token_ids[0, 4:] = 9
    after = np.asarray(encoder({**inputs, "token_ids": token_ids})[0])
    np.testing.assert_array_equal(after[mask], before[mask])
    shown = {**inputs, "token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
    assert np.abs(np.asarray(encoder(shown)[0]) - before)[0, :4].max() > 1e-4


@pytest.mark.parametrize("name", ["distil_bert_base_en_uncased", "roberta_base_en"])
def test_projections_are_one_matrix_product_in_every_transformer(name):
    layers = [x for x in small(name)._flatten_layers() if type(x) is keras.layers.EinsumDense]
    assert len(layers) == 2 * 4  # layers; query, key, value, output
    assert all("call" in vars(layer) for layer in layers)


@pytest.mark.parametrize("name", ["distil_bert_base_en_uncased", "roberta_base_en", "lstm"])
def test_weights_of_a_file_are_loaded(name, tmp_path):
    path = str(tmp_path / "x.weights.h5")
    first = small(name)
    first.model.save_weights(path)
    again = small(name, weights=path)
    for one, other in zip(again.model.get_weights(), first.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(
        ValueError, match=r"x\.weights\.h5' do not fit '.*Fix: pass a \.weights"
    ) as e:
        small(name, weights=path, vocabulary_size=VOCABULARY_SIZE + 1)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "name",
    ["roberta_base_en", pytest.param("distil_bert_base_en_uncased", marks=pytest.mark.large)],
)
def test_weights_and_tokenizer_of_a_preset_are_loaded(name, tmp_path):
    folder = str(tmp_path / "preset")
    tokenizer = text_tokenizers.train_tokenizer_for(name, ["a red dog", "a cat"] * 3, 300)
    sizes = {**SMALL, "vocabulary_size": tokenizer.vocabulary_size()}
    model = dataclasses.replace(NETWORKS[name], intermediate_dim=32, **sizes).build(name)
    model.save_to_preset(folder)
    tokenizer.save_to_preset(folder)
    assert text_tokenizers.has_tokenizer(name, folder)
    loaded = text_tokenizers.load_tokenizer(name, folder)
    assert type(loaded) is type(tokenizer)
    assert list(loaded.get_vocabulary()) == list(tokenizer.get_vocabulary())
    encoder = encoders.get("text", name, sequence_length=LENGTH, weights=folder)
    inputs = inputs_of(encoder)
    inputs["token_ids"] %= tokenizer.vocabulary_size()
    np.testing.assert_array_equal(encoder(inputs)[0], model(inputs))


def test_presets_of_the_same_kind_are_known():
    for weights in ("bge_base_en", "all_minilm_l6_v2_en"):
        assert text_networks.preset_of("bert_base_en_uncased", weights) == weights
    with pytest.raises(
        ValueError, match=r"'bge_base_en' is neither .* network of 'roberta_base_en'"
    ):
        encoders.get("text", "roberta_base_en", weights="bge_base_en")


def test_sizes_are_for_random_weights():
    with pytest.raises(
        ValueError, match=r"`num_layers` is for random weights or a file.*Fix: weights none"
    ):
        encoders.get("text", "roberta_base_en", num_layers=2)
    with pytest.raises(ValueError, match=r"divisible by `num_heads`.*hidden_dim=9, num_heads=2"):
        small("bert_tiny", hidden_dim=9)
    with pytest.raises(ValueError, match=r"`hidden_dim` must be even.*hidden_dim=7"):
        small("lstm", hidden_dim=7)


@pytest.mark.parametrize(
    "name", ["roberta_base_en", "xlm_roberta_base_multi", "distil_bert_base_en"]
)
def test_offline_each_kind_names_the_fixes(name, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("No route to host\nand a lot more")

    monkeypatch.setattr(NETWORKS[name].backbone, "from_preset", fail)
    monkeypatch.setattr(text_tokenizers._tokenizer_class(name), "from_preset", fail)
    for load in (
        lambda: encoders.get("text", name),
        lambda: text_tokenizers.load_tokenizer(name),
    ):
        with pytest.raises(
            ValueError, match=rf"Cannot get '{name}' \(No route to host\)\. Fix: "
        ) as e:
            load()
        assert "\n" not in str(e.value)
        assert "--model.text.weights none" in str(e.value)


def test_without_published_weights_only_a_file_is_taken():
    with pytest.raises(ValueError, match=r"no weights file '/no/file'.*'lstm' has no published"):
        encoders.get("text", "lstm", weights="/no/file")


# --- Chunks of long texts --------------------------------------------------------------------------


def chunked(name, pooling, max_chunks=3):
    """An encoder of chunks, and one of a single chunk, with the same weights."""
    one = small(name)
    many = small(name, max_chunks=max_chunks, chunk_pooling=pooling)
    many.model.set_weights(one.model.get_weights())
    return one, many


@pytest.mark.parametrize("pooling", ["mean", "none"])
@pytest.mark.parametrize("name", ["bert_tiny", *LARGE])
def test_encoders_of_chunks_keep_the_contract(name, pooling):
    encoder = small(name, max_chunks=2, chunk_pooling=pooling)
    inputs = inputs_of(encoder, 2 * LENGTH)
    if pooling == "mean":  # else masks would not be as long as inputs
        inputs["padding_mask"][0, LENGTH:-1] = 1
    checks.check_encoder(encoder, "text", inputs)


@pytest.mark.parametrize("name", ["bert_tiny", *LARGE])
def test_a_text_of_one_chunk_has_the_features_that_it_has_without_chunks(name):
    one, many = chunked(name, "none")
    inputs = inputs_of(one)
    longer = {key: np.pad(value, ((0, 0), (0, 2 * LENGTH))) for key, value in inputs.items()}
    expected, mask = (np.asarray(x) for x in one(inputs))
    features, long_mask = (np.asarray(x) for x in many(longer))
    assert features.shape == (2, 3 * LENGTH, 8)
    np.testing.assert_array_equal(long_mask, np.pad(mask, ((0, 0), (0, 2 * LENGTH))))
    np.testing.assert_allclose(features[long_mask], expected[mask], rtol=0, atol=1e-5)
    _, pooling = chunked(name, "mean")
    pooling.model.set_weights(one.model.get_weights())
    pooled, used = (np.asarray(x) for x in pooling(longer))
    other = np.where(longer["padding_mask"] == 1, longer["token_ids"], 9)
    np.testing.assert_array_equal(pooling({**longer, "token_ids": other})[0][:, 0], pooled[:, 0])
    assert pooled.shape == (2, 3, 8)
    assert used.tolist() == [[True, False, False]] * 2
    means = [row[real].mean(axis=0) for row, real in zip(expected, mask, strict=True)]
    np.testing.assert_allclose(pooled[:, 0], means, rtol=0, atol=1e-5)


def test_chunks_know_nothing_of_each_other():
    one, many = chunked("bert_tiny", "none", max_chunks=2)
    inputs = inputs_of(many, 2 * LENGTH)
    inputs["padding_mask"][:] = 1
    features = np.asarray(many(inputs)[0])
    for start in (0, LENGTH):
        part = {name: value[:, start : start + LENGTH] for name, value in inputs.items()}
        np.testing.assert_allclose(
            features[:, start : start + LENGTH], one(part)[0], rtol=0, atol=1e-5
        )


def test_bad_chunks_are_refused():
    with pytest.raises(
        ValueError, match=r"`max_chunks` must be at least 1\. Received: max_chunks=0"
    ):
        small("bert_tiny", max_chunks=0)
    with pytest.raises(ValueError, match=r"chunk_pooling 'men'\. Did you mean 'mean'"):
        small("bert_tiny", chunk_pooling="men")
    with pytest.raises(ValueError, match=r"at most 512.*Fix: --model\.text\.max-chunks N"):
        small("roberta_base_en", sequence_length=513)
