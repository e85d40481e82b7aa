"""From token ids back to texts, in TensorFlow ops alone, so that an exported model can write."""

import keras_hub
import tensorflow as tf
from keras_hub.src.tokenizers import byte_pair_tokenizer

_SPECIAL = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "<pad>", "</s>", "<unk>", "<mask>"}


def token_texts(tokenizer):
    """What each token adds to a text.

    Args:
        tokenizer: tokenizer of KerasHub of one of the kinds that text encoders have.

    Returns:
        A list of bytes by token id: a space before what begins a word, and nothing for special tokens.

    Example:

    >>> from mmlearn.encoders.text_tokenizers import SPECIAL_TOKENS, make_tokenizer
    >>> token_texts(make_tokenizer([*SPECIAL_TOKENS, "gira", "##ffe"]))[4:]
    [b'', b' gira', b'ffe']
    """
    tokens = [tokenizer.id_to_token(number) for number in range(tokenizer.vocabulary_size())]
    if isinstance(tokenizer, keras_hub.tokenizers.BytePairTokenizer):
        known, letters = byte_pair_tokenizer.bytes_to_unicode()
        letters = dict(zip(letters, known, strict=True))
        # A special token may have letters that stand for no byte; it is left out below.
        texts = [b"".join(letters.get(letter, b"") for letter in token) for token in tokens]
    elif isinstance(tokenizer, keras_hub.tokenizers.SentencePieceTokenizer):
        texts = [token.replace("\u2581", " ").encode() for token in tokens]
    else:
        texts = [
            (token[2:] if token.startswith("##") else f" {token}").encode() for token in tokens
        ]
    return [b"" if token in _SPECIAL else text for token, text in zip(tokens, texts, strict=True)]


def write_texts(token_ids, tokenizer):
    """Writes texts, the inverse of tokenizing but for case and spaces around signs.

    Args:
        token_ids: int tensor `(batch_size, length)`; special tokens are left out.
        tokenizer: as above.

    Returns:
        string tensor `(batch_size,)`.

    Example:

    >>> from mmlearn.encoders.text_tokenizers import SPECIAL_TOKENS, make_tokenizer
    >>> tokenizer = make_tokenizer([*SPECIAL_TOKENS, "a", "gira", "##ffe", ","])
    >>> write_texts([[2, 5, 6, 7, 8, 5, 3, 0]], tokenizer).numpy().tolist()
    [b'a giraffe, a']
    """
    pieces = tf.gather(tf.constant(token_texts(tokenizer)), token_ids)
    texts = tf.strings.strip(tf.strings.reduce_join(pieces, axis=1))
    # Word pieces do not say which signs had no space before them.
    texts = tf.strings.regex_replace(texts, r" ([.,:;!?)\]])", r"\1")
    return tf.strings.regex_replace(texts, r" ?' ?(s|t|m|d|re|ve|ll)\b", r"'\1")
