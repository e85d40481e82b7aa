"""Word vectors from a text file, as GloVe, word2vec and fastText write them."""

import logging
from dataclasses import dataclass

import keras
import numpy as np

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WordVectors:
    """The vectors of the tokens of a vocabulary.

    Attributes:
        known: dict of token id to float32 array `(dim,)`.
        size: int. Tokens of the vocabulary.
        dim: int.
    """

    known: dict
    size: int
    dim: int

    @property
    def share(self):
        """The share of the vocabulary that has a vector."""
        return len(self.known) / self.size

    def table(self, seed):
        """A float32 array `(size, dim)`; tokens without a vector get random ones of the same spread.

        Args:
            seed: int or `keras.random.SeedGenerator`.
        """
        vectors = np.stack(list(self.known.values()))
        table = np.array(
            keras.random.normal((self.size, self.dim), stddev=float(vectors.std()), seed=seed)
        )
        table[list(self.known)] = vectors
        return table


def read(path, vocabulary):
    """Reads the vectors of the tokens of a vocabulary; how many have one is logged.

    Args:
        path: str. A text file, `word number number ...` a line. A first line of two numbers, how many
            words and their size, is left out.
        vocabulary: list of str, the tokens by id.

    Returns:
        `WordVectors`.

    Raises:
        ValueError: naming the line, when the file cannot be read; or when it has none of the words.
    """
    wanted = {token: token_id for token_id, token in enumerate(vocabulary)}
    known, dim = {}, None
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip()
                if number == 1 and len(line.split(" ")) == 2:
                    continue
                if dim is None:
                    dim = line.count(" ")
                # From the right: some words of GloVe hold spaces.
                word, *values = line.rsplit(" ", dim)
                if not word or not values or len(values) < dim:
                    raise ValueError(_message(path, number, f"a word and {dim or 'its'} numbers"))
                if word in wanted:
                    known[wanted[word]] = _numbers(values, path, number)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Cannot read the word vectors {str(path)!r} ({error}). Fix: pass a text file, one word "
            "and its numbers a line."
        ) from None
    if not known:
        raise ValueError(
            f"None of the {len(vocabulary)} tokens of the vocabulary is a word of {str(path)!r}. Fix: "
            "pass vectors of the language of the texts, in lower case where the tokenizer is uncased."
        )
    vectors = WordVectors(known, len(vocabulary), dim)
    logger.info("%s: vectors for %.1f %% of the tokens", path, 100 * vectors.share)
    return vectors


def _numbers(values, path, number):
    try:
        vector = np.array(values, "float32")
    except ValueError:
        vector = np.array([np.nan])
    if not np.isfinite(vector).all():
        raise ValueError(_message(path, number, "finite numbers after the word"))
    return vector


def _message(path, number, expected):
    return (
        f"{str(path)!r}, line {number}, must hold {expected}, with single spaces between them. Fix: "
        "repair or remove the line."
    )
