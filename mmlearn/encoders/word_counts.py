"""How often the tokens of a vocabulary occur."""

import numpy as np
import tensorflow as tf

BATCH_SIZE = 1024  # texts that are tokenized at a time


def inverse_document_frequencies(texts, converter):
    """How telling each token is: log(number of texts / number of texts that hold it).

    Args:
        texts: list of str.
        converter: `TextConverter` that turns them into tokens.

    Returns:
        float32 array `(vocabulary_size,)`; 0 for a token of every text, such as the special ones. A
        token of no text counts like one of a single text.

    Reference:
        Sparck Jones, "A statistical interpretation of term specificity and its application in
        retrieval", 1972.

    Example:

    >>> from mmlearn.encoders import TextConverter, text_tokenizers
    >>> tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog"]
    >>> converter = TextConverter(text_tokenizers.make_tokenizer(tokens), sequence_length=6)
    >>> found = inverse_document_frequencies(["a dog", "a"], converter)
    >>> [round(float(value), 3) for value in found[5:]]
    [0.0, 0.693]
    """
    counts = np.zeros(converter.tokenizer.vocabulary_size(), np.int64)
    convert = tf.function(lambda values: converter.convert(values, "text"))
    for start in range(0, len(texts), BATCH_SIZE):
        inputs = convert(tf.constant(texts[start : start + BATCH_SIZE]))
        token_ids, is_real = inputs["token_ids"].numpy(), inputs["padding_mask"].numpy() > 0
        for row, real in zip(token_ids, is_real, strict=True):
            counts[np.unique(row[real])] += 1
    return np.log(len(texts) / np.maximum(counts, 1)).astype(np.float32)
