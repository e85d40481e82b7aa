"""Each kind of tokenizer, from its files or trained; what is wrong with a file is one line."""

import json
import random

import keras_hub
import pytest
import sentencepiece
import tensorflow as tf

from mmlearn.encoders import text_tokenizers
from mmlearn.encoders.text import _tokenize

TEXTS = ["a red dog on the sofa", "two cats, left of the dog!", "a red dog"] * 2
BYTE_PAIRS, SENTENCE_PIECES = "roberta_base_en", "xlm_roberta_base_multi"
HARD = ["a dog's  red\tcaf\u00e9 \u72ac!", "", "  dog ", "x", "12345 don't", b"\xff\xfe dog"]


def tokenize(tokenizer, texts):
    """Token ids per text, from the graph, as everywhere in the package."""
    tokens = tf.function(lambda x: _tokenize(tokenizer, x))(tf.constant(texts))
    return tokens.to_list()


def write_byte_pairs(folder, **changes):
    """Writes the files of a small byte-pair vocabulary; returns the folder."""
    tokenizer = text_tokenizers.train_byte_pairs(TEXTS, 280)
    files = {"vocabulary.json": json.dumps(tokenizer.vocabulary)}
    files["merges.txt"] = "\n".join(["#version: 0.2", *tokenizer.merges, ""])
    for name, content in {**files, **changes}.items():
        (folder / name).write_text(content, encoding="utf-8")
    return str(folder)


def write_sentence_pieces(path, **options):
    """Trains a small SentencePiece model to a file; returns its path."""
    options = {"unk_id": 0, "bos_id": 1, "eos_id": 2, **options}
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS),
            model_writer=file,
            vocab_size=60,
            hard_vocab_limit=False,
            minloglevel=2,
            **options,
        )
    return str(path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("bert_base_en", "BertTokenizer", marks=pytest.mark.large),
        pytest.param("distil_bert_base_multi", "DistilBertTokenizer", marks=pytest.mark.large),
        pytest.param(BYTE_PAIRS, "RobertaTokenizer", marks=pytest.mark.large),
        (SENTENCE_PIECES, "XLMRobertaTokenizer"),
        pytest.param("words", "BertTokenizer", marks=pytest.mark.large),
    ],
)
def test_every_kind_is_trained_on_texts(name, kind):
    tokenizer = text_tokenizers.train_tokenizer_for(name, TEXTS, 300)
    assert type(tokenizer) is getattr(keras_hub.models, kind)
    assert tokenizer.vocabulary_size() <= 300
    again = text_tokenizers.train_tokenizer_for(name, TEXTS, 300)
    assert list(again.get_vocabulary()) == list(tokenizer.get_vocabulary())
    *rows, upper, lower = tokenize(tokenizer, [*TEXTS, "Dog", "dog"])
    assert tokenizer.detokenize(rows)[0].strip() == TEXTS[0]  # so none is unknown
    assert (upper != lower) == (name != "words")


@pytest.mark.large
def test_byte_pairs_are_those_of_kerashub():
    tokenizer = text_tokenizers.train_byte_pairs(TEXTS, 300)
    draws = random.Random(0)
    texts = ["".join(draws.choices("dogsred \u00e9'\u72ac,.12\n", k=30)) for _ in range(50)]
    texts += [*TEXTS, *HARD]
    theirs = tf.function(lambda x: tokenizer(x))(tf.constant(texts))
    assert tokenize(tokenizer, texts) == theirs.to_list()
    assert tokenize(tokenizer, [""]) == [[]]


@pytest.mark.large
def test_names_of_special_tokens_in_a_text_are_words():
    for name in (BYTE_PAIRS, SENTENCE_PIECES):
        tokenizer = text_tokenizers.train_tokenizer_for(name, TEXTS, 300)
        special = {tokenizer.pad_token_id, tokenizer.start_token_id, tokenizer.end_token_id}
        text = f"{tokenizer.pad_token} {tokenizer.start_token} {tokenizer.end_token}"
        assert not special & set(tokenize(tokenizer, [text])[0])


def test_byte_pairs_of_files_are_those_that_were_trained(tmp_path):
    tokenizer = text_tokenizers.read_tokenizer(BYTE_PAIRS, write_byte_pairs(tmp_path))
    trained = text_tokenizers.train_byte_pairs(TEXTS, 280)
    assert tokenizer.vocabulary == trained.vocabulary
    assert tokenizer.merges == trained.merges


def test_sentence_pieces_of_a_file_have_the_ids_of_xlm_roberta(tmp_path):
    path = write_sentence_pieces(tmp_path / "x.model")
    tokenizer = text_tokenizers.read_tokenizer(SENTENCE_PIECES, path)
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    *rows, unknown = tokenize(tokenizer, [*TEXTS, "\u72ac"])
    # One up, as fairseq has them.
    assert rows == [[token_id + 1 for token_id in model.encode(text)] for text in TEXTS]
    assert unknown[-1] == tokenizer.token_to_id("<unk>") == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary.json": "{"}, r"cannot be read \(.*\)\. Fix: pass a folder with vocabulary"),
        ({"vocabulary.json": "[]"}, r"must give tokens the ids 0, 1, 2"),
        ({"vocabulary.json": '{"<s>": 7}'}, r"must give tokens the ids 0, 1, 2"),
        ({"vocabulary.json": '{"<s>": 0}'}, r"lacks the token '<pad>'\. Fix:"),
        ({"merges.txt": "d o g\n"}, r"two tokens a line in merges\.txt\. Received: 'd o g'"),
        ({"merges.txt": "x y\n"}, r"lacks the token 'xy'\. Fix: use the vocabulary and merges"),
    ],
)
def test_bad_byte_pairs_are_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        text_tokenizers.read_byte_pairs(write_byte_pairs(tmp_path, **changes))
    assert "\n" not in str(error.value)


def test_byte_pairs_need_a_folder(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match=r"cannot be read .*Fix: pass a folder with vocab"):
            text_tokenizers.read_byte_pairs(folder)


def test_bad_sentence_pieces_are_refused(tmp_path):
    (tmp_path / "x.spm").write_bytes(b"no model")
    for path in (tmp_path / "x.spm", tmp_path / "none.spm", tmp_path):
        with pytest.raises(
            ValueError, match=r"Cannot read the vocabulary .*Fix: pass the file"
        ) as e:
            text_tokenizers.read_sentence_pieces(path)
        assert "\n" not in str(e.value)
    path = write_sentence_pieces(tmp_path / "t5.spm", unk_id=2, bos_id=0, eos_id=1)
    with pytest.raises(ValueError, match=r"0, 1, 2 as the ids .*Received: \(2, 0, 1\)\. Fix:"):
        text_tokenizers.read_sentence_pieces(path)


def test_encoders_without_published_weights_have_no_tokenizer():
    for weights in ("default", "none", "/no/file"):
        assert not text_tokenizers.has_tokenizer("lstm", weights)
    assert text_tokenizers.has_tokenizer(BYTE_PAIRS)
