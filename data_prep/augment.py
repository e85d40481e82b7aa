"""Seeded, stateless augmentation: `(example, seed) -> example`, for training examples only.

Each function gets its own int32 seed `(2,)` and keeps dtypes and ranks, so the same
(seed, epoch, step) always gives the same batch. An example without the modality, or with an absent
value of it (an image of zero pixels, an empty text or waveform), stays as it is.

The augmentations of images are here, those of text and audio in `augment_text` and `augment_audio`.
"""

import math

import numpy as np
import tensorflow as tf

from data_prep import features, names
from data_prep.augment_audio import audio_noise, audio_shift, spec_augment
from data_prep.augment_text import drop_words, swap_words

_SEED_STEP = 0x9E3779B1  # a large odd number, so that neighbouring seeds do not meet
SMALLEST_CROP = 0.8  # of each side

# Words that a mirror image would make wrong. `\b` also finds "left" in "left-hand".
_DIRECTION = (
    r"(?i)\b(?:(?:left|right)(?:most|ward|wards|hand|handed|hander|side)?"
    r"|(?:counter|anti|contra)?clockwise)\b"
)


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
    if "images" not in example:
        return example
    # The text of an absent image fits as it is.
    heads = (tf.random.stateless_uniform((), seed) < 0.5) & _is_present(example)
    mirrored = _mirror(example, heads)
    if "text" in example:
        text = example["text"]
        mirrored["text"] = tf.cond(heads, lambda: _swap_sides(text), lambda: text)
    return mirrored


def flip_undirected(example, seed):
    """Mirrors the image with probability 1/2, unless the text speaks of left or right.

    The safe choice where directions matter: no text is ever changed. The words are left and right,
    also as part of leftmost, rightwards or left-hand, and clockwise with its opposites, in any case.

    Example:

    >>> import tensorflow as tf
    >>> image = tf.constant([[[0, 1, 2], [3, 4, 5]]], tf.uint8)
    >>> for text in ("a bright dog", "the rightmost dog"):
    ...     example = {"images": image, "text": tf.constant(text)}
    ...     print(flip_undirected(example, seed=(0, 1))["images"][0, 0].numpy().tolist())
    [3, 4, 5]
    [0, 1, 2]
    """
    if "images" not in example:
        return example
    heads = tf.random.stateless_uniform((), seed) < 0.5
    if "text" in example:
        text = example["text"]
        # Not a full match, which bytes that are no UTF-8 would prevent.
        heads &= tf.strings.regex_replace(text, _DIRECTION, "") == text
    return _mirror(example, heads)


def crop(example, seed, smallest_fraction=SMALLEST_CROP):
    """Cuts out a random window of at least `smallest_fraction` of each side."""
    if "images" not in example:
        return example
    shape = tf.shape(example["images"])
    draws = tf.random.stateless_uniform((4,), seed)
    sides = tf.cast(shape[:2], tf.float32)
    window = sides * (smallest_fraction + (1 - smallest_fraction) * draws[:2])
    window = tf.minimum(tf.maximum(tf.cast(tf.math.ceil(window), tf.int32), 1), shape[:2])
    start = tf.cast(tf.cast(shape[:2] - window + 1, tf.float32) * draws[2:], tf.int32)
    images = tf.slice(example["images"], [start[0], start[1], 0], [window[0], window[1], 3])
    images.set_shape((None, None, 3))
    return {**example, "images": images}


def color(example, seed, strength=0.2):
    """Changes brightness and contrast by up to `strength` (a fraction)."""
    if "images" not in example:
        return example
    draws = tf.random.stateless_uniform((2,), seed, -strength, strength)
    images = tf.cast(example["images"], tf.float32)
    mean = _mean(example["images"], axis=None)
    return _with_images(example, (images - mean) * (1 + draws[0]) + mean * (1 + draws[1]))


def erase(example, seed, probability=0.5, area=(0.02, 0.2), aspect=(0.3, 3.3)):
    """Paints a random box in the mean color of the image, with `probability`.

    Unlike in the paper, the aspect ratio is log-uniform, so that tall and wide boxes are
    equally likely, and relative to that of the image, so that every box fits. It is the ratio in
    the square image that the model gets.

    Args:
        example: dict with the image.
        seed: int32 `(2,)`.
        probability: float.
        area: two floats. The smallest and the largest area of the box, as fractions of the image.
        aspect: two floats. The smallest and the largest ratio of height to width.

    Reference:
        Zhong et al. 2020, "Random erasing data augmentation", algorithm 1.
    """
    if "images" not in example:
        return example
    images = example["images"]
    draws = tf.random.stateless_uniform((5,), seed)

    def erased():
        fraction = area[0] + (area[1] - area[0]) * draws[1]
        ratio = tf.exp(math.log(aspect[0]) + math.log(aspect[1] / aspect[0]) * draws[2])
        sides = tf.shape(images)[:2]
        box = tf.sqrt(tf.stack([fraction * ratio, fraction / ratio])) * tf.cast(sides, tf.float32)
        box = tf.clip_by_value(tf.cast(tf.round(box), tf.int32), 1, sides)
        start = tf.cast(tf.cast(sides - box + 1, tf.float32) * draws[3:], tf.int32)
        rows, columns = tf.range(sides[0])[:, None], tf.range(sides[1])
        is_inside = (rows >= start[0]) & (rows < start[0] + box[0])
        is_inside &= (columns >= start[1]) & (columns < start[1] + box[1])
        mean = tf.cast(tf.round(_mean(images, axis=(0, 1))), tf.uint8)
        return tf.where(is_inside[..., None], mean, images)

    heads = (draws[0] < probability) & _is_present(example)
    return _with_images(example, tf.cond(heads, erased, lambda: images))


def blur(example, seed, probability=0.5, smallest_sigma=0.1, largest_sigma=2.0):
    """Blurs with a Gaussian of random width, with `probability`.

    Args:
        example: dict with the image.
        seed: int32 `(2,)`.
        probability: float.
        smallest_sigma: float. In pixels of the image as it is, whatever its size.
        largest_sigma: float. Likewise. The kernel ends at three of it.
    """
    if "images" not in example:
        return example
    images = example["images"]
    draws = tf.random.stateless_uniform((2,), seed)

    def blurred():
        sigma = smallest_sigma + (largest_sigma - smallest_sigma) * draws[1]
        radius = math.ceil(3 * largest_sigma)
        # tf.square, not `** 2`, which differs in the last bit between eager and graph.
        weights = tf.exp(-0.5 * tf.square(tf.range(-radius, radius + 1.0) / sigma))
        weights /= tf.reduce_sum(weights)
        smooth = tf.cast(images, tf.float32)[None]
        for axis in (1, 2):
            smooth = tf.gather(smooth, _reflect(tf.shape(smooth)[axis], radius), axis=axis)
        column = tf.tile(weights[:, None, None, None], (1, 1, 3, 1))
        for kernel in (column, tf.transpose(column, (1, 0, 2, 3))):  # a Gaussian is separable
            smooth = tf.nn.depthwise_conv2d(smooth, kernel, (1, 1, 1, 1), "VALID")
        return _to_uint8(smooth[0])

    heads = (draws[0] < probability) & _is_present(example)
    return _with_images(example, tf.cond(heads, blurred, lambda: images))


def noise(example, seed, largest_sd=0.05 * 255):
    """Adds Gaussian noise of a random standard deviation up to `largest_sd`, to each channel."""
    if "images" not in example:
        return example
    images = tf.cast(example["images"], tf.float32)
    strength, values = tf.unstack(tf.random.split(seed))
    sd = tf.random.stateless_uniform((), strength, 0.0, largest_sd)
    return _with_images(example, images + sd * tf.random.stateless_normal(tf.shape(images), values))


AUGMENTATIONS = {
    "flip": flip,
    "flip_undirected": flip_undirected,
    "crop": crop,
    "color": color,
    "erase": erase,
    "blur": blur,
    "noise": noise,
    "drop_words": drop_words,
    "swap_words": swap_words,
    "audio_noise": audio_noise,
    "audio_shift": audio_shift,
    "spec_augment": spec_augment,
}


# What an augmentation reads or changes. `flip_undirected` reads the text before it mirrors.
_TOUCHED = {
    "crop": {"images"},
    "color": {"images"},
    "erase": {"images"},
    "blur": {"images"},
    "noise": {"images"},
    "mixup": {"images"},
    "cutmix": {"images"},
    "flip": {"images", "text"},
    "flip_undirected": {"images", "text"},
    "drop_words": {"text"},
    "swap_words": {"text"},
    "audio_noise": {"audio"},
    "audio_shift": {"audio"},
    "spec_augment": {"audio"},
}


def touched_modalities(augmentations):
    """The modalities that augmentations read or change.

    Args:
        augmentations: names or functions; where it is not known, as of a function, it is all.

    Returns:
        A set of str.

    Example:

    >>> sorted(touched_modalities(["crop", "drop_words"]))
    ['images', 'text']
    """
    everything = set(features.MODALITIES)
    return set().union(*(_TOUCHED.get(augmentation, everything) for augmentation in augmentations))


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
        seed = tf.convert_to_tensor(seed)
        for i, function in enumerate(functions):
            # Any other seed will do, and adding is a tenth of the work of fold_in.
            step = np.array([i * _SEED_STEP, i]).astype(seed.dtype.as_numpy_dtype)
            example = function(example, seed + tf.constant(step))
        return example

    return augment


def _is_present(example):
    return tf.size(example["images"]) > 0


def _mirror(example, condition):
    images = example["images"]  # a slice [:, ::-1] takes fifty times as long as tf.reverse
    return _with_images(
        example, tf.cond(condition, lambda: tf.reverse(images, [1]), lambda: images)
    )


# A call: the parts of a plain branch would cost time for every example.
@tf.function(
    input_signature=[tf.TensorSpec((), tf.string)],
    autograph=False,
    experimental_attributes={"_noinline": True},
)
def _swap_sides(text):
    for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
        text = tf.strings.regex_replace(text, rf"\b{left}\b", "\x01")
        text = tf.strings.regex_replace(text, rf"\b{right}\b", left)
        text = tf.strings.regex_replace(text, "\x01", right)
    return text


def _mean(images, axis):
    """The mean, float32. Whole numbers add up exactly in float64, in any order of any threads."""
    return tf.cast(tf.reduce_mean(tf.cast(images, tf.float64), axis), tf.float32)


def _reflect(size, margin):
    """Indices that extend an axis by its mirror image on both sides, as often as needed."""
    # An axis of no length never gets here, but its shape does where it is known in advance.
    size = tf.maximum(size, 1)
    period = tf.maximum(2 * (size - 1), 1)
    positions = tf.math.floormod(tf.range(-margin, size + margin), period)
    return tf.minimum(positions, period - positions)


def _to_uint8(images):
    return tf.cast(tf.clip_by_value(tf.round(images), 0, 255), tf.uint8)


def _with_images(example, images):
    """The example with these images; the static shape, which branches forget, is the old one."""
    images = images if images.dtype == tf.uint8 else _to_uint8(images)
    return {**example, "images": tf.ensure_shape(images, example["images"].shape)}
