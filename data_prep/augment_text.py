"""Augmentations of the text of an example, see `data_prep.augment`.

Words are what is between white space. A result is joined with single spaces. An absent text stays
absent.
"""

import tensorflow as tf


def drop_words(example, seed, probability=0.1):
    """Drops each word with `probability`, but never all of them.

    Reference:
        Wei and Zou 2019, "EDA: Easy data augmentation techniques", section 2, random deletion.

    Example:

    >>> drop_words({"text": tf.constant("a red dog on a sofa")}, seed=(0, 5))["text"].numpy()
    b'a red dog a sofa'
    """
    if "text" not in example:
        return example
    words = tf.strings.split(example["text"])
    draws = tf.random.stateless_uniform(tf.shape(words), seed)
    # The word with the highest draw always stays.
    is_kept = draws >= tf.minimum(probability, tf.reduce_max(draws))
    words = tf.boolean_mask(words, is_kept)
    return {**example, "text": tf.strings.reduce_join(words, separator=" ")}


def swap_words(example, seed, probability=0.1):
    """Lets neighbouring words change places.

    The text is cut into pairs of words, from the first or from the second word on. Each pair
    changes places with `probability`. At most one third of the words move, so a text of fewer than
    six words stays as it is.

    Reference:
        After Wei and Zou 2019, "EDA: Easy data augmentation techniques", section 2, random swap,
        where the two words may be any.

    Example:

    >>> swap_words({"text": tf.constant("a red dog on a sofa")}, seed=(0, 12))["text"].numpy()
    b'red a dog on a sofa'
    """
    if "text" not in example:
        return example
    words = tf.strings.split(example["text"])
    count = tf.size(words)
    pairing, choice = tf.unstack(tf.random.split(seed))
    first = tf.random.stateless_uniform((), pairing, 0, 2, tf.int32)
    starts = tf.range(first, tf.maximum(count - 1, first), 2)
    draws = tf.random.stateless_uniform(tf.shape(starts), choice)
    # Where too many pairs would move, those with the lowest draws do.
    ranks = tf.argsort(tf.argsort(draws))
    starts = tf.boolean_mask(starts, (draws < probability) & (ranks < count // 6))
    order = tf.tensor_scatter_nd_update(
        tf.range(count),
        tf.concat([starts, starts + 1], 0)[:, None],
        tf.concat([starts + 1, starts], 0),
    )
    return {**example, "text": tf.strings.reduce_join(tf.gather(words, order), separator=" ")}
