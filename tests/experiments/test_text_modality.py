"""How the part of a config that is about text becomes an encoder and a converter."""

import types

import numpy as np
import pytest
import tensorflow as tf

from mmlearn.experiments.config import TextConfig
from mmlearn.experiments.modalities import build_text

SMALL = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8}


def source():
    """A source of captions."""
    captions = [["a red dog", "the dog on the sofa"], ["two cats"]]
    examples = types.SimpleNamespace(captions=captions)
    return types.SimpleNamespace(examples=lambda split: examples)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("roberta_base_en", SMALL),
        pytest.param("xlm_roberta_base_multi", SMALL, marks=pytest.mark.large),
        pytest.param("distil_bert_base_en", SMALL, marks=pytest.mark.large),
        pytest.param("words", {"hidden_dim": 8}, marks=pytest.mark.large),
    ],
)
def test_a_tokenizer_is_trained_and_gives_what_the_encoder_takes(name, options):
    config = TextConfig(name, "none", 8, max_chunks=2, vocabulary_size=300, options=options)
    encoder, converter = build_text(config, source())
    inputs = encoder.model_inputs("text")
    absent = tf.function(converter.convert)(None, "text", 2)
    assert set(absent) == {*inputs, "text_present"}
    assert {inputs[n].shape[1:] for n in inputs} == {absent[n].shape[1:] for n in inputs} == {(16,)}
    features, mask = encoder({name: absent[name] for name in inputs})
    assert features.shape == (2, 2, 8)
    assert np.asarray(mask).tolist() == [[True, False]] * 2


def test_word_vectors_are_those_of_the_vocabulary(tmp_path):
    vocabulary, vectors = tmp_path / "vocabulary.txt", tmp_path / "glove.txt"
    vocabulary.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\ndog\n")
    vectors.write_text("dog 1 2 3\n")
    options = {"embeddings": str(vectors), "hidden_dim": 4}
    config = TextConfig("lstm", sequence_length=8, vocabulary=str(vocabulary), options=options)
    encoder, converter = build_text(config, source())
    assert set(encoder.model_inputs("text")) == {"token_ids", "padding_mask"}
    assert not converter.segment_ids
    (table,) = encoder.model.get_layer("token_embedding").get_weights()
    np.testing.assert_array_equal(table[6], [1, 2, 3])
    assert table.shape == (7, 3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TextConfig("roberta"), r"Unknown text encoder 'roberta'\. Did you mean 'roberta_base_en'"),
        (TextConfig("lstm", "/no/file"), r"There is no weights file '/no/file'"),
        (TextConfig("roberta_base_en", "/no/preset"), r"'/no/preset' is neither .*Fix: pass one"),
        (
            TextConfig("roberta_base_en", "none", vocabulary=__file__),
            r"byte-pair vocabulary .* cannot be read .*Fix: pass a folder with vocabulary\.json",
        ),
        (
            TextConfig("words", options={"embeddings": "glove.txt"}),
            r"Unknown option of encoder 'words' 'embeddings'",
        ),
        (TextConfig("lstm", __file__), r"need the vocabulary they were trained with\. Fix: pass"),
    ],
)
def test_what_does_not_fit_is_one_error(config, message):
    with pytest.raises(ValueError, match=message) as error:
        build_text(config, source())
    assert "\n" not in str(error.value)


def test_an_option_that_a_flag_says_is_refused():
    config = TextConfig(name="bert_tiny", weights="none", options={"max_chunks": 2})
    with pytest.raises(
        ValueError, match=r"`max_chunks` is no option of an encoder here.*max_chunks=2"
    ):
        build_text(config, source())


def test_features_are_for_python():
    with pytest.raises(ValueError, match=r"--model\.text\.name features .* Fix: another encoder"):
        build_text(TextConfig(name="features"), source())


@pytest.mark.parametrize("name", ["bert_tiny", "xlm_roberta_base_multi"])
def test_empty_texts_train_no_vocabulary(name):
    nothing = types.SimpleNamespace(captions=[[" "], []])
    empty = types.SimpleNamespace(examples=lambda split: nothing, root="data.csv")
    with pytest.raises(ValueError, match=r"The texts of 'data\.csv' are all empty"):
        build_text(TextConfig(name=name, weights="none"), empty)


def test_a_vocabulary_smaller_than_the_characters_is_one_error():
    config = TextConfig(name="xlm_roberta_base_multi", weights="none", vocabulary_size=8)
    with pytest.raises(
        ValueError, match=r"cannot train a vocabulary of 8 tokens.*Fix: a larger"
    ) as e:
        build_text(config, source())
    assert "\n" not in str(e.value)
