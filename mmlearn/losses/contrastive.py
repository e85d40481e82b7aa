"""Contrastive losses: what belongs together should be nearer than everything else in the batch."""

from keras import ops

_NEVER = -1e9  # logit of a key that does not take part


def info_nce(queries, keys, is_positive, is_candidate, scale):
    """Cross-entropy of finding each query's own key among the keys of a batch.

    Args:
        queries: float tensor `(batch_size, dim)`, L2-normalised.
        keys: float tensor `(num_keys, dim)`, L2-normalised.
        is_positive: bool tensor `(batch_size, num_keys)`, `True` at the one key of each query.
        is_candidate: bool tensor `(batch_size, num_keys)`, which keys take part: the positive and the
            negatives.
        scale: float or scalar tensor. Cosines are multiplied by it; the inverse of a temperature.

    Returns:
        float tensor `(batch_size,)`.

    Example:

    >>> import numpy as np
    >>> same = np.eye(2, dtype="float32")
    >>> loss = info_nce(same, same, same > 0, np.ones((2, 2), bool), scale=1.0)
    >>> [round(float(value), 4) for value in loss]
    [0.3133, 0.3133]

    Reference:
        Oord et al. 2018, "Representation learning with contrastive predictive coding", equation 4.
    """
    logits = scale * ops.matmul(queries, ops.transpose(keys))
    own = ops.sum(ops.where(is_positive, logits, 0.0), axis=-1)
    return ops.logsumexp(ops.where(is_candidate, logits, _NEVER), axis=-1) - own


def pairs(ids, groups, key_ids, key_groups, key_present):
    """Says which keys are the positive of a query, and which are its negatives.

    Another key of the same group is neither: a second caption of a photo describes it, too. A key
    that comes twice, as a row that was lent to an empty replica, counts once.

    Args:
        ids: int tensor `(batch_size,)`, unique among the queries.
        groups: int tensor `(batch_size,)`, equal for examples of one image.
        key_ids: int tensor `(num_keys,)`.
        key_groups: int tensor `(num_keys,)`.
        key_present: bool tensor `(num_keys,)`, `False` for keys that stand for nothing.

    Returns:
        `is_positive` and `is_candidate`, bool tensors `(batch_size, num_keys)`; see `info_nce`.
    """
    same_key = ops.equal(key_ids[:, None], key_ids[None, :])
    # The number of equal keys up to each one.
    is_first = ops.equal(ops.sum(ops.triu(ops.cast(same_key, "int32")), axis=0), 1)
    is_positive = ops.logical_and(ops.equal(ids[:, None], key_ids[None, :]), is_first[None, :])
    is_negative = ops.not_equal(groups[:, None], key_groups[None, :])
    is_negative = ops.logical_and(is_negative, ops.logical_and(is_first, key_present)[None, :])
    return is_positive, ops.logical_or(is_positive, is_negative)


def image_text_contrast(images, texts, rows, all_images, all_texts, all_rows, scale):
    """How hard it is to find the text of each image in a batch, and the image of each text.

    The first arguments are the examples whose loss is wanted; the `all_` ones those they are compared
    with, themselves among them: on several replicas, the whole batch.

    Args:
        images: float tensor `(batch_size, dim)`, L2-normalised image embeddings.
        texts: float tensor `(batch_size, dim)`, L2-normalised text embeddings.
        rows: tuple of `ids`, `groups` and `present`, tensors `(batch_size,)`; see `pairs`.
        all_images: float tensor `(num_keys, dim)`.
        all_texts: float tensor `(num_keys, dim)`.
        all_rows: tuple like `rows`, `(num_keys,)`.
        scale: float or scalar tensor.

    Returns:
        float tensor `(batch_size,)`: the mean of both directions.

    Reference:
        Radford et al. 2021, "Learning transferable visual models from natural language
        supervision", figure 3.
    """
    is_positive, is_candidate = pairs(*rows[:2], *all_rows)
    to_text = info_nce(images, all_texts, is_positive, is_candidate, scale)
    to_image = info_nce(texts, all_images, is_positive, is_candidate, scale)
    return (to_text + to_image) / 2


def image_text_sigmoid(images, texts, rows, all_images, all_texts, all_rows, scale, bias=0.0):
    """How hard it is to say of each image and each text of a batch whether they are a pair.

    Args:
        images: see `image_text_contrast`, likewise the others.
        texts: likewise.
        rows: likewise.
        all_images: likewise.
        all_texts: likewise.
        all_rows: likewise.
        scale: likewise.
        bias: float or scalar tensor, added to the scaled cosines; below 0, since most are no pair.

    Returns:
        float tensor `(batch_size,)`: the sum of the cross-entropies of its pairs, the mean of both
        directions.

    Reference:
        Zhai et al. 2023, "Sigmoid loss for language image pre-training", equation 1.
    """
    is_positive, is_candidate = pairs(*rows[:2], *all_rows)
    sign = ops.where(is_positive, 1.0, -1.0)
    losses = []
    for queries, keys in ((images, all_texts), (texts, all_images)):
        logits = scale * ops.matmul(queries, ops.transpose(keys)) + bias
        losses.append(ops.sum(ops.where(is_candidate, ops.softplus(-sign * logits), 0.0), axis=-1))
    return (losses[0] + losses[1]) / 2


def image_text_triplet(images, texts, rows, all_images, all_texts, all_rows, scale=1.0, margin=0.2):
    """How far the own text of an image is from being nearer than the nearest other one, by a margin.

    Args:
        images: see `image_text_contrast`, likewise the others.
        texts: likewise.
        rows: likewise.
        all_images: likewise.
        all_texts: likewise.
        all_rows: likewise.
        scale: float or scalar tensor, of the loss.
        margin: float. By how much the cosine of the own pair should be the higher one.

    Returns:
        float tensor `(batch_size,)`: the sum of both directions.

    Reference:
        Faghri et al. 2018, "VSE++: improving visual-semantic embeddings with hard negatives",
        equation 6.
    """
    is_positive, is_candidate = pairs(*rows[:2], *all_rows)
    is_negative = ops.logical_and(is_candidate, ops.logical_not(is_positive))
    losses = []
    for queries, keys in ((images, all_texts), (texts, all_images)):
        cosines = ops.matmul(queries, ops.transpose(keys))
        own = ops.sum(ops.where(is_positive, cosines, 0.0), axis=-1)
        hardest = ops.max(ops.where(is_negative, cosines, _NEVER), axis=-1)
        losses.append(ops.relu(margin + hardest - own))
    return scale * (losses[0] + losses[1])


def view_contrast(first, second, rows, all_first, all_second, all_rows, scale):
    """How hard it is to find the other view of each image among all views of a batch.

    Args:
        first: float tensor `(batch_size, dim)`, L2-normalised embeddings of one view.
        second: float tensor `(batch_size, dim)`, of the other view.
        rows: tuple of `ids`, `groups` and `present`, tensors `(batch_size,)`; see `pairs`.
        all_first: float tensor `(num_keys, dim)`; see `image_text_contrast`.
        all_second: float tensor `(num_keys, dim)`.
        all_rows: tuple like `rows`, `(num_keys,)`.
        scale: float or scalar tensor.

    Returns:
        float tensor `(batch_size,)`: the mean over both views.

    Reference:
        Chen et al. 2020, "A simple framework for contrastive learning of visual representations",
        equation 1 (NT-Xent).
    """
    is_positive, is_candidate = pairs(*rows[:2], *all_rows)
    # Among the views of its own kind, the only one of its group is the query itself.
    is_negative = ops.logical_and(is_candidate, ops.logical_not(is_positive))
    is_positive = ops.concatenate([is_positive, ops.zeros_like(is_positive)], axis=1)
    is_candidate = ops.concatenate([is_candidate, is_negative], axis=1)
    losses = [
        info_nce(query, ops.concatenate(keys, axis=0), is_positive, is_candidate, scale)
        for query, *keys in ((first, all_second, all_first), (second, all_first, all_second))
    ]
    return (losses[0] + losses[1]) / 2
