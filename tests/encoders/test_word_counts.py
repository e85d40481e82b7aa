"""How telling tokens are: counts by hand."""

import numpy as np

from mmlearn.encoders import TextConverter, text_tokenizers
from mmlearn.encoders.word_counts import BATCH_SIZE, inverse_document_frequencies
from mmlearn.experiments.config import TextConfig
from mmlearn.experiments.modalities import build_text
from tests.examples_source import ExamplesSource, examples

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat", "owl"]


def test_a_text_counts_once_whatever_its_words_and_batches():
    converter = TextConverter(text_tokenizers.make_tokenizer(TOKENS), sequence_length=8)
    texts = ["a dog a dog", "a cat", "a bird"] * BATCH_SIZE
    found = inverse_document_frequencies(texts, converter)
    assert found.shape == (9,) and found.dtype == np.float32
    n = len(texts)
    expected = {
        "[CLS]": n,
        "[SEP]": n,
        "a": n,
        "dog": n / 3,
        "cat": n / 3,
        "[UNK]": n / 3,
        "owl": 1,
    }
    for token, count in expected.items():
        assert found[TOKENS.index(token)] == np.float32(np.log(n / count)), token


def test_weighted_words_start_from_those_of_the_training_captions():
    captions = [["a dog", "a cat"], ["a dog in a tub"], []]
    train = examples([0, 1, 2], captions=captions, images=["", "", ""])
    source = ExamplesSource({"train": train})
    options = {"hidden_dim": 4}
    encoder, converter = build_text(TextConfig("weighted_words", options=options), source)
    weights = encoder.model.get_layer("token_weights").get_weights()[0]
    vocabulary = converter.tokenizer.get_vocabulary()
    assert weights[vocabulary.index("a")] == 0
    every = ["a dog", "a cat", "a dog in a tub"]
    expected = inverse_document_frequencies(every, converter)
    np.testing.assert_array_equal(weights, expected)
    assert expected.max() == np.float32(np.log(3))
