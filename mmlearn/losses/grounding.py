"""Words should find their own image among others by where they attend to."""

from keras import ops

_NEVER = -1e9  # logit of what does not take part


def pool_keys(keys, mask):
    """The mean of the keys of an image's regions.

    A word's logit to it is the mean of its logits to the regions, so each region's own logit, by which
    attention finds it, is its share in that: it is highest where most of a thing is seen, and not
    anywhere that some of it is.

    Args:
        keys: float tensor `(batch_size, num_heads, num_regions, head_dim)`.
        mask: bool tensor `(batch_size, num_regions)`, `True` where a region is real.

    Returns:
        float tensor `(batch_size, num_heads, head_dim)`.
    """
    real = ops.cast(mask, keys.dtype)[:, None, :, None]
    return ops.sum(keys * real, axis=2) / ops.maximum(ops.sum(real, axis=2), 1)


def grounding(queries, keys, all_keys, is_true, is_other, is_foreign=None):
    """How hard it is to tell by attention's logits alone which words belong to an image.

    A word's margin is its logit to its own image, less the log of the mean exponential of its logits to
    the other images: how much better its query fits what is there than what is elsewhere. The loss is the
    mean of softplus(-margin) over heads and the words of the image's own text, and of softplus(margin)
    over words that were put in from other texts, which the image most likely does not show; then the mean
    of the two. No box, mask or label is in it.

    Both kinds count the same and the others count as one, so that chance is a margin of 0. Otherwise a
    word would do well to gather all that the words around it name, which says nothing about the word but
    fits its own image.

    Args:
        queries: float tensor `(batch_size, num_heads, num_words, head_dim)`.
        keys: float tensor `(batch_size, num_heads, head_dim)`, see `pool_keys`, of each text's own image.
        all_keys: float tensor `(num_images, num_heads, head_dim)`.
        is_true: bool tensor `(batch_size, num_words)`, which words belong to the image.
        is_other: bool tensor `(batch_size, num_images)`, `False` where an image is the text's own or
            stands for nothing.
        is_foreign: bool tensor `(batch_size, num_words)`, which words are of another text, or `None`.

    Returns:
        float tensor `(batch_size,)`; 0 of a text without words, or of one without other images.

    Example:

    >>> import numpy as np
    >>> word, image, one = np.ones((1, 1, 1, 4)), np.ones((1, 1, 4)), np.ones((1, 1), bool)
    >>> [round(float(value), 4) for value in grounding(word, image, -image, one, one)]
    [0.0181]

    Reference:
        Gupta et al., "Contrastive learning for weakly supervised phrase grounding", 2020, section 3
        (words are contrasted among images through attention, and with words that were put in); Zhou et
        al., "Learning deep features for discriminative localization", 2016, section 2 (what is summed over
        places tells the place).
    """
    scale = float(queries.shape[-1]) ** -0.5
    own = scale * ops.einsum("bhtd,bhd->bht", queries, keys)
    others = scale * ops.einsum("bhtd,ohd->bhto", queries, all_keys)
    others = ops.where(is_other[:, None, None], others, _NEVER)
    count = ops.sum(ops.cast(is_other, own.dtype), axis=1)[:, None, None]
    margins = own - ops.logsumexp(others, axis=-1) + ops.log(ops.maximum(count, 1))
    margins = ops.where(count > 0, margins, 0)
    losses = _mean(ops.softplus(-margins), is_true)
    if is_foreign is not None:
        losses = (losses + _mean(ops.softplus(margins), is_foreign)) / 2
    return losses * ops.cast(count[:, 0, 0] > 0, losses.dtype)


def _mean(losses, is_word):
    """Over heads and the chosen words: `(batch_size,)`."""
    chosen = ops.cast(is_word, losses.dtype)
    total = ops.sum(ops.mean(losses, axis=1) * chosen, axis=1)
    return total / ops.maximum(ops.sum(chosen, axis=1), 1)
