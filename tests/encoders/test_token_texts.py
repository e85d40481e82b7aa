"""From token ids back to texts."""

import pytest
import tensorflow as tf

from mmlearn.encoders import TextConverter
from mmlearn.encoders.text_tokenizers import (
    train_byte_pairs,
    train_sentence_pieces,
    train_tokenizer,
)
from mmlearn.encoders.token_texts import token_texts, write_texts

TEXTS = [
    "a man's dog, on the sofa",
    "two giraffes (and a zebra) don't eat: why?",
    "a black-and-white caf\u00e9 sign! they're here",
    "",
] * 4
TRAINERS = {
    "word pieces": train_tokenizer,
    "byte pairs": train_byte_pairs,
    "sentence pieces": lambda texts: train_sentence_pieces(texts, 70),
}


@pytest.mark.parametrize("kind", TRAINERS)
def test_texts_come_back(kind):
    tokenizer = TRAINERS[kind](TEXTS)
    converter = TextConverter(tokenizer, sequence_length=64)

    @tf.function
    def there_and_back(texts):
        token_ids = converter.convert(texts, "text")["token_ids"]
        return write_texts(token_ids, tokenizer)

    found = [text.decode() for text in there_and_back(tf.constant(TEXTS[:4])).numpy()]
    if kind == "word pieces":  # which forget accents, and spaces inside of brackets and words
        assert found[0] == TEXTS[0]
        assert found[1] == "two giraffes ( and a zebra) don't eat: why?"
        assert found[2] == "a black - and - white cafe sign! they're here"
        assert found[3] == ""
    else:
        assert found == TEXTS[:4]


def test_special_tokens_are_no_text():
    tokenizer = train_tokenizer(TEXTS)
    texts = token_texts(tokenizer)
    ids = [tokenizer.token_to_id(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")]
    assert {texts[number] for number in ids} == {b""}
    assert len(texts) == tokenizer.vocabulary_size()
