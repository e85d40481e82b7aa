"""Word vectors of a file: what is read, what is told, what is refused."""

import logging

import numpy as np
import pytest

from mmlearn import encoders
from mmlearn.encoders import word_vectors

VOCABULARY = ["[PAD]", "[UNK]", "dog", "red", "##s", "new york"]
GLOVE = "dog 1 -2.5 3e-1\nthe 0 0 0\nnew york 4 5 6\n"


def write(tmp_path, content):
    path = tmp_path / "glove.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_known_words_get_their_vectors_and_the_share_is_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "mmlearn.encoders.word_vectors"):
        vectors = word_vectors.read(write(tmp_path, GLOVE), VOCABULARY)
    assert (vectors.dim, vectors.share) == (3, 2 / 6)
    assert "vectors for 33.3 % of the tokens" in caplog.text
    table = vectors.table(seed=0)
    assert (table.shape, table.dtype) == ((6, 3), np.dtype("float32"))
    np.testing.assert_array_equal(table[2], np.float32([1, -2.5, 0.3]))
    np.testing.assert_array_equal(table[5], [4, 5, 6])  # a word of two words
    others = vectors.table(seed=1)
    assert np.abs(table - others).max(axis=1).astype(bool).tolist() == [1, 1, 0, 1, 1, 0]


def test_the_first_line_of_word2vec_is_left_out(tmp_path):
    vectors = word_vectors.read(write(tmp_path, "2 3\ndog 1 2 3\ncat 1 2 3 \n"), VOCABULARY)
    assert vectors.dim == 3
    assert list(vectors.known) == [2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "dog 1 2\nred 1\n",
            r"glove\.txt', line 2, must hold a word and 2 numbers.*Fix: repair or",
        ),
        ("dog 1 2\n\nred 1 2\n", r"line 2, must hold a word and 2 numbers"),
        ("dog 1 2\nred 1 x\n", r"line 2, must hold finite numbers after the word"),
        ("dog 1 2\nred 1 nan\n", r"line 2, must hold finite numbers after the word"),
        ("dog\n", r"line 1, must hold a word and its numbers"),
        ("cat 1 2\n", r"None of the 6 tokens of the vocabulary is a word of .*Fix: pass vectors"),
        ("", r"None of the 6 tokens of the vocabulary is a word"),
        (b"\xff\xfe\x00", r"Cannot read the word vectors .*Fix: pass a text file, one word"),
    ],
)
def test_bad_files_are_refused_in_one_line(content, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        word_vectors.read(write(tmp_path, content), VOCABULARY)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"Cannot read the word vectors '/no/file'.*Fix:"):
        word_vectors.read("/no/file", VOCABULARY)


def test_the_lstm_starts_from_them(tmp_path):
    path = write(tmp_path, GLOVE)
    options = {"sequence_length": 4, "hidden_dim": 4, "embeddings": path}
    encoder = encoders.get("text", "lstm", **options, vocabulary=VOCABULARY)
    table = encoder.model.get_layer("token_embedding").get_weights()[0]
    np.testing.assert_array_equal(table[2], np.float32([1, -2.5, 0.3]))
    assert encoder.model.get_layer("token_embedding").trainable
    with pytest.raises(ValueError, match=r"`embeddings` needs the `vocabulary`"):
        encoders.get("text", "lstm", **options)
