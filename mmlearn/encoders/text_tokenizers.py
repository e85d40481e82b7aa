"""The tokenizers of the text encoders: with published weights, from files, or trained on texts."""

import io
import json
import os

import keras_hub
import sentencepiece  # comes with KerasHub, as does `tokenizers`
import tensorflow as tf
import tokenizers
from keras_hub.models import (
    BertTokenizer,
    DistilBertTokenizer,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from mmlearn.encoders.encoder import first_line
from mmlearn.encoders.text_networks import (
    NETWORKS,
    UNTRAINED,
    BertBackbone,
    DistilBertBackbone,
    RobertaBackbone,
    XLMRobertaBackbone,
    from_preset,
    preset_of,
)

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BYTE_PAIR_SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_TOKENIZERS = {
    BertBackbone: BertTokenizer,
    DistilBertBackbone: DistilBertTokenizer,
    RobertaBackbone: RobertaTokenizer,
    XLMRobertaBackbone: XLMRobertaTokenizer,
}


def has_tokenizer(name, weights="default"):
    """Whether a tokenizer belongs to weights: not to random ones or a bare file."""
    if name not in NETWORKS:
        return False
    if weights == "default":
        return name not in UNTRAINED
    return weights != "none" and not os.path.isfile(weights)


def load_tokenizer(name, weights="default"):
    """Loads the tokenizer that belongs to the weights of a text encoder.

    Args:
        name: str. One of `NETWORKS` with published weights.
        weights: `"default"`, a preset directory, or another preset of KerasHub.

    Raises:
        ValueError: when it cannot be had.
    """
    return from_preset(_tokenizer_class(name), preset_of(name, weights))


def is_uncased(name):
    """Whether the text encoder of that name reads lower case without accents."""
    return name in UNTRAINED or name.endswith("uncased")


def read_tokenizer(name, path):
    """Makes the tokenizer of a text encoder from the file or folder of its vocabulary.

    Args:
        name: str. A text encoder.
        path: str. For RoBERTa a folder, see `read_byte_pairs`; for XLM-RoBERTa a file, see
            `read_sentence_pieces`; for all others a file, see `read_vocabulary`.

    Raises:
        ValueError: when it cannot be read.
    """
    cls = _tokenizer_class(name)
    if cls is RobertaTokenizer:
        return read_byte_pairs(path)
    if cls is XLMRobertaTokenizer:
        return read_sentence_pieces(path)
    return read_vocabulary(path, is_uncased(name), cls)


def train_tokenizer_for(name, texts, vocabulary_size=8192):
    """Trains the tokenizer of a text encoder on texts.

    Args:
        name: str. A text encoder.
        texts: list of str.
        vocabulary_size: int. Most tokens that the vocabulary may have.
    """
    cls = _tokenizer_class(name)
    if cls is RobertaTokenizer:
        return train_byte_pairs(texts, vocabulary_size)
    if cls is XLMRobertaTokenizer:
        return train_sentence_pieces(texts, vocabulary_size)
    return train_tokenizer(texts, vocabulary_size, is_uncased(name), cls)


def _tokenizer_class(name):
    return _TOKENIZERS[NETWORKS[name].backbone] if name in NETWORKS else BertTokenizer


# --- WordPiece: BERT, DistilBERT, and encoders without a vocabulary of their own -------------------


def read_vocabulary(path, uncased=True, cls=BertTokenizer):
    """Makes a WordPiece tokenizer from a vocabulary file.

    Args:
        path: str. A text file, one token a line, with `[PAD] [UNK] [CLS] [SEP] [MASK]`.
        uncased: bool. Whether text is lower-cased and stripped of accents first.
        cls: class of the tokenizer.

    Raises:
        ValueError: when the file is missing, not text, or lacks a special token.
    """
    try:
        with open(path, encoding="utf-8") as file:
            vocabulary = [line.rstrip("\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Cannot read the vocabulary {str(path)!r} ({error}). Fix: pass a text file with one "
            "token a line."
        ) from None
    return make_tokenizer(vocabulary, f"The vocabulary {str(path)!r}", uncased, cls)


def train_tokenizer(texts, vocabulary_size=8192, uncased=True, cls=BertTokenizer):
    """Trains a WordPiece vocabulary on texts and makes the tokenizer of it.

    Args:
        texts: list of str.
        vocabulary_size: int. Most tokens that the vocabulary may have.
        uncased: bool. Whether text is lower-cased and stripped of accents first.
        cls: class of the tokenizer.
    """
    dataset = tf.data.Dataset.from_tensor_slices(list(texts)).batch(1024)
    vocabulary = keras_hub.tokenizers.compute_word_piece_vocabulary(
        dataset,
        vocabulary_size,
        lowercase=uncased,
        strip_accents=uncased,
        reserved_tokens=SPECIAL_TOKENS,
    )
    return make_tokenizer(vocabulary, "The trained vocabulary", uncased, cls)


def make_tokenizer(vocabulary, what="The vocabulary", uncased=True, cls=BertTokenizer):
    """Makes a WordPiece tokenizer that normalises as the original BERT does, uncased or cased."""
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise ValueError(f"{what} lacks {missing[0]}. Fix: use a BERT WordPiece vocabulary.")
    return cls(vocabulary, lowercase=uncased, strip_accents=uncased)


# --- Byte pairs: RoBERTa ---------------------------------------------------------------------------


def read_byte_pairs(folder):
    """Makes the tokenizer of RoBERTa from its two files.

    Args:
        folder: str. Holds `vocabulary.json` (tokens to ids) and `merges.txt` (two tokens a line).

    Raises:
        ValueError: when a file is missing or is no such file, or a token is missing.
    """
    what = f"The byte-pair vocabulary {str(folder)!r}"
    try:
        with open(os.path.join(folder, "vocabulary.json"), encoding="utf-8") as file:
            vocabulary = json.load(file)
        with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as file:
            merges = [line.rstrip("\n") for line in file]
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{what} cannot be read ({error}). Fix: pass a folder with vocabulary.json and merges.txt."
        ) from None
    merges = [merge for merge in merges if merge and not merge.startswith("#version")]
    return _make_byte_pairs(vocabulary, merges, what)


def train_byte_pairs(texts, vocabulary_size=8192):
    """Trains a byte-pair vocabulary on texts and makes the tokenizer of RoBERTa of it.

    Args:
        texts: list of str.
        vocabulary_size: int. Most tokens that the vocabulary may have, 261 at least: one per byte,
            and the special ones.
    """
    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=BYTE_PAIR_SPECIAL_TOKENS,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    model = json.loads(learner.to_str())["model"]
    merges = [" ".join(merge) for merge in model["merges"]]
    return _make_byte_pairs(model["vocab"], merges, "The trained vocabulary")


def _make_byte_pairs(vocabulary, merges, what):
    if not isinstance(vocabulary, dict) or sorted(vocabulary.values()) != [*range(len(vocabulary))]:
        raise ValueError(
            f"{what} must give tokens the ids 0, 1, 2, ... Fix: repair vocabulary.json."
        )
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    pairs = [merge.split(" ") for merge in merges]
    for pair in pairs:
        if len(pair) != 2:
            raise ValueError(
                f"{what} must have two tokens a line in merges.txt. Received: {' '.join(pair)!r}. Fix: "
                "repair the line."
            )
    needed = (*BYTE_PAIR_SPECIAL_TOKENS[:3], "<mask>", *letters)
    for token in (*needed, *(t for pair in pairs for t in (*pair, "".join(pair)))):
        if token not in vocabulary:
            raise ValueError(
                f"{what} lacks the token {token!r}. Fix: use the vocabulary and merges of one RoBERTa."
            )
    return RobertaTokenizer(vocabulary, merges)


# --- SentencePiece: XLM-RoBERTa --------------------------------------------------------------------


def read_sentence_pieces(path):
    """Makes the tokenizer of XLM-RoBERTa from the file of a SentencePiece model.

    Args:
        path: str. A `.model` or `.spm` file, with the ids 0 (unknown), 1 (start) and 2 (end).

    Raises:
        ValueError: when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            proto = file.read()
        model = sentencepiece.SentencePieceProcessor(model_proto=proto)
        ids = (model.unk_id(), model.bos_id(), model.eos_id())
    except Exception as error:  # the library raises several kinds
        raise ValueError(
            f"Cannot read the vocabulary {str(path)!r} ({first_line(error)}). Fix: pass the file of a "
            "SentencePiece model, .model or .spm."
        ) from None
    if ids != (0, 1, 2):
        raise ValueError(
            f"The vocabulary {str(path)!r} must have 0, 1, 2 as the ids of the unknown token, start and "
            f"end. Received: {ids}. Fix: use that of XLM-RoBERTa, or train one with these."
        )
    return XLMRobertaTokenizer(proto)


def train_sentence_pieces(texts, vocabulary_size=8192):
    """Trains a SentencePiece unigram model on texts and makes the tokenizer of XLM-RoBERTa of it.

    Args:
        texts: list of str.
        vocabulary_size: int. Most tokens that the vocabulary may have.

    Raises:
        ValueError: when the texts have more characters than that, or none.
    """
    proto = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=proto,
            vocab_size=vocabulary_size - 2,  # the tokenizer adds <pad> and <mask>
            hard_vocab_limit=False,  # a few texts have fewer pieces
            character_coverage=1.0,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            f"SentencePiece cannot train a vocabulary of {vocabulary_size} tokens from these texts "
            f"({first_line(error)}). Fix: a larger --model.text.vocabulary-size."
        ) from None
    return XLMRobertaTokenizer(proto.getvalue())
