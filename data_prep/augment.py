"""Seeded, stateless augmentation: `(example, seed) -> example`, for training examples only.

Each function gets its own int32 seed `(2,)` and keeps dtypes and ranks, so the same
(seed, epoch, step) always gives the same batch.
"""

import tensorflow as tf

from data_prep import names


def flip(example, seed):
    """Mirrors image and caption with probability 1/2.

    `left` and `right` in the caption change places, or the text would no longer fit the image.

    Example:

    >>> import tensorflow as tf
    >>> image = tf.constant([[[0, 1, 2], [3, 4, 5]]], tf.uint8)
    >>> example = {"images": image, "text": tf.constant("a dog left of a cat")}
    >>> mirrored = flip(example, seed=(0, 1))
    >>> mirrored["text"].numpy(), mirrored["images"][0, 0].numpy().tolist()
    (b'a dog right of a cat', [3, 4, 5])
    """

    def mirrored():
        text = example["text"]
        for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
            text = tf.strings.regex_replace(text, rf"\b{left}\b", "\x01")
            text = tf.strings.regex_replace(text, rf"\b{right}\b", left)
            text = tf.strings.regex_replace(text, "\x01", right)
        return example["images"][:, ::-1], text

    heads = tf.random.stateless_uniform((), seed) < 0.5
    images, text = tf.cond(heads, mirrored, lambda: (example["images"], example["text"]))
    return {**example, "images": images, "text": text}


def crop(example, seed, smallest_fraction=0.8):
    """Cuts out a random window of at least `smallest_fraction` of each side."""
    shape = tf.shape(example["images"])
    draws = tf.random.stateless_uniform((4,), seed)
    sides = tf.cast(shape[:2], tf.float32)
    window = sides * (smallest_fraction + (1 - smallest_fraction) * draws[:2])
    window = tf.maximum(tf.cast(tf.math.ceil(window), tf.int32), 1)
    start = tf.cast(tf.cast(shape[:2] - window + 1, tf.float32) * draws[2:], tf.int32)
    images = tf.slice(example["images"], [start[0], start[1], 0], [window[0], window[1], 3])
    images.set_shape((None, None, 3))
    return {**example, "images": images}


def color(example, seed, strength=0.2):
    """Changes brightness and contrast by up to `strength` (a fraction)."""
    draws = tf.random.stateless_uniform((2,), seed, -strength, strength)
    images = tf.cast(example["images"], tf.float32)
    mean = tf.reduce_mean(images)
    images = (images - mean) * (1 + draws[0]) + mean * (1 + draws[1])
    images = tf.cast(tf.clip_by_value(tf.round(images), 0, 255), tf.uint8)
    return {**example, "images": images}


AUGMENTATIONS = {"flip": flip, "crop": crop, "color": color}


def get(identifier):
    """Returns an augmentation by name, or the callable itself."""
    return (
        identifier
        if callable(identifier)
        else names.find(identifier, AUGMENTATIONS, "augmentation")
    )


def compose(augmentations):
    """Joins augmentations (names or callables) into one function, each with a seed of its own."""
    functions = [get(augmentation) for augmentation in augmentations]

    def augment(example, seed):
        for i, function in enumerate(functions):
            example = function(example, tf.random.fold_in(seed, i))
        return example

    return augment
