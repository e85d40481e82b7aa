"""A split as a retriever sees it: every image once, and every caption."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

NUM_CAPTIONS = 5  # of an image, in the protocols that papers report; COCO has a few with more
BATCH_SIZE = 256  # of texts, and of pairs that are matched


@dataclass(frozen=True)
class Embedded:
    """Embeddings of images, or of texts.

    Attributes:
        groups: int64 `(count,)`, that of the image each is of.
        embeddings: float32 `(count, embedding_dim)`, L2-normalised.
        features: float16 `(count, length, dim)`, what the encoder says, for matching.
        masks: bool `(count, length)`.
    """

    groups: np.ndarray
    embeddings: np.ndarray
    features: np.ndarray
    masks: np.ndarray


def embed_split(task, source, split, dataset, num_captions=NUM_CAPTIONS):
    """Embeds all images of a split and up to five captions of each.

    Args:
        task: `ImageTextRetriever` with a preprocessor.
        source: a source.
        split: str.
        dataset: batches `(x, ...)` of the split, in the order of the source.
        num_captions: int. The first ones of each image count.

    Returns:
        A pair of `Embedded`, of images and of texts. An image without a caption, and a caption without
        an image, are left out.
    """
    examples = source.examples(split)
    groups = np.asarray(examples.groups)
    is_there = np.array([bool(path) for path in examples.images])
    is_there &= np.array([bool(captions) for captions in examples.captions])
    images = _embed(task, "images", dataset.map(lambda x, *_: x))
    images = [values[is_there] for values in images]
    texts, of_text = [], []
    for row in np.flatnonzero(is_there):
        own = examples.captions[row][:num_captions]
        texts += own
        of_text += [groups[row]] * len(own)
    return (
        Embedded(groups[is_there], *images),
        Embedded(np.array(of_text), *embed_texts(task, text_batches(task, texts))),
    )


def text_batches(task, texts):
    """Batches of texts as model inputs.

    Args:
        task: `ImageTextRetriever` with a preprocessor.
        texts: list of str.

    Returns:
        A `tf.data.Dataset`.
    """
    converter = task.preprocessor.converters["text"]
    batches = tf.data.Dataset.from_tensor_slices(texts).batch(BATCH_SIZE)
    return batches.map(lambda batch: converter.convert(batch, "text"))


def embed_texts(task, batches):
    """Embeddings, features and masks of texts, see `Embedded`: three arrays.

    Args:
        task: `ImageTextRetriever`.
        batches: what `text_batches` returns, or an iterable of the same.
    """
    return _embed(task, "text", batches)


def _embed(task, modality, batches):
    found = [task.encode_inputs(x, modality) for x in batches]
    types = {"embedding": np.float32, "features": np.float16, "mask": bool}
    return [
        np.concatenate([np.asarray(each[name]).astype(kind) for each in found])
        for name, kind in types.items()
    ]


def matcher(task, images, texts):
    """Returns a function of rows of images and rows of texts, which gives the logits of these pairs.

    Args:
        task: `ImageTextRetriever`.
        images: `Embedded`.
        texts: `Embedded`.

    Returns:
        Function of two int arrays `(num_pairs,)` that returns float32 `(num_pairs,)`.
    """

    def match(image_rows, text_rows):
        found = []
        for start in range(0, len(image_rows), BATCH_SIZE):
            pair = [
                (own.features[rows].astype(np.float32), own.masks[rows])
                for own, rows in (
                    (images, image_rows[start : start + BATCH_SIZE]),
                    (texts, text_rows[start : start + BATCH_SIZE]),
                )
            ]
            found.append(np.asarray(task.match_encoded(*pair)))
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    return match
