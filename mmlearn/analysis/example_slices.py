"""What is known of each example without the model: its objects, its caption, its image.

The slices of it are named after what the documents call the common failures.
"""

import re

import cv2
import numpy as np

from data_prep.errors import DataError
from data_prep.pipeline import build_dataset
from data_prep.sources.coco import CocoSource
from mmlearn.evaluation.category_words import find_categories
from mmlearn.evaluation.slices import Slice, slice_by

COMPLEX = "complex scenes with multiple objects"
ABSTRACT = "abstract or metaphorical text"
LOW_QUALITY = "low-quality or ambiguous images"
LONG = "long text sequences"
_SIDE = 256  # pixels, the longer side at which images are compared

WORDS = re.compile(r"\w+")


def slice_examples(source, split):
    """Slices a split by the number and size of objects, the caption, and the quality of the image.

    Args:
        source: a source. Boxes are read where it is in COCO's format.
        split: str.

    Returns:
        A list of `Slice`, of what the data have.
    """
    index = source.examples(split)
    slices = []
    if index.labels.shape[1] and source.label_kind != "regression":
        labels = index.labels.toarray() if hasattr(index.labels, "toarray") else index.labels
        counts = (np.asarray(labels) > 0).sum(axis=1)
        slices += slice_by(counts, "fewest labels", "most labels", "", COMPLEX, "labels")
    objects = find_objects(source, split)
    if objects is not None:
        slices += _object_slices(objects)
    if index.captions is not None and any(index.captions):
        slices += _caption_slices(source, split, objects)
    if index.images is not None and any(index.images):
        slices += _image_slices(source, split)
    return slices


def find_objects(source, split):
    """The objects of each example of a split, if its data set is in COCO's format.

    Args:
        source: a source, or what selects from or joins one.
        split: str.

    Returns:
        A list of lists of `data_prep.sources.coco.PlacedObject`, or `None`.
    """
    groups = [int(group) for group in source.examples(split).groups]
    try:
        coco = CocoSource(source.root)
        for name in sorted(coco.splits, key=lambda name: name != split):
            found = coco.objects(name)
            if found.keys() >= set(groups):
                return [found[group] for group in groups]
    except (DataError, TypeError):  # no folder in this format
        return None
    return None


def _object_slices(objects):
    counts = np.array([len(own) for own in objects], float)
    areas = [[_area(item.box) for item in own] for own in objects]
    smallest = np.array([min(own) if own else np.nan for own in areas])
    slices = slice_by(counts, "fewest objects", "most objects", "", COMPLEX, "objects")
    slices += slice_by(
        smallest,
        "smallest objects, share of the image",
        "largest objects, share of the image",
        LOW_QUALITY,
    )
    faint = np.array([any(item.is_faint for item in own) for own in objects])
    if faint.any():
        slices.append(Slice("has a faint object", faint, np.ones(len(faint), bool), LOW_QUALITY))
    return slices


def _area(box):
    left, top, right, bottom = box
    return max(right - left, 0) * max(bottom - top, 0)


def _caption_slices(source, split, objects):
    index = source.examples(split)
    words = [WORDS.findall(own[0].lower()) if own else [] for own in index.captions]
    there = np.array([bool(own) for own in words])
    length = np.array([len(own) if own else np.nan for own in words], float)
    slices = slice_by(length, "shortest captions, words", "longest captions, words", "", LONG)
    rarity = _rarity(source, split, words)
    slices += slice_by(rarity, "most usual words, nats", "most unusual words, nats", "", ABSTRACT)
    if not len(source.label_names) or source.label_kind == "regression":
        return slices
    named = [{name for *_, name in find_categories(own, source.label_names)} for own in words]
    labels = index.labels.toarray() if hasattr(index.labels, "toarray") else index.labels
    true = [{source.label_names[c] for c in np.flatnonzero(row > 0)} for row in np.asarray(labels)]
    has_labels = there & np.array([bool(own) for own in true])
    none = np.array([not own & said for own, said in zip(true, named, strict=True)])
    some = np.array([bool(own - said) for own, said in zip(true, named, strict=True)])
    slices.append(Slice("caption names no label", none & has_labels, has_labels, ABSTRACT))
    slices.append(Slice("caption leaves a label out", some & has_labels, has_labels))
    other = np.array([bool(said - own) for own, said in zip(true, named, strict=True)])
    slices.append(Slice("caption names what is no label", other & there, there))
    if objects is not None and any(item.is_faint for own in objects for item in own):
        visible = [{item.category for item in own if not item.is_faint} for own in objects]
        lost = [
            bool(own - said - seen) for own, said, seen in zip(true, named, visible, strict=True)
        ]
        slices.append(
            Slice("a label is neither visible nor named", np.array(lost), has_labels, LOW_QUALITY)
        )
    return slices


def _rarity(source, split, words):
    """The mean information of a caption's words: minus the log of their share in the training split."""
    name = "train" if "train" in source.splits else split
    counts = {}
    for own in source.examples(name).captions or ():
        for caption in own:
            for word in WORDS.findall(caption.lower()):
                counts[word] = counts.get(word, 0) + 1
    total = sum(counts.values()) + len(counts) + 1
    return np.array(
        [
            -np.mean([np.log((counts.get(word, 0) + 1) / total) for word in own]) if own else np.nan
            for own in words
        ]
    )


def _image_slices(source, split):
    measured = np.array(
        [
            measure_image(example["images"])
            for example in build_dataset(source, split).as_numpy_iterator()
        ]
    )
    sharpness, brightness, contrast = measured.T
    return [
        *slice_by(sharpness, "least sharp images", "sharpest images", LOW_QUALITY),
        *slice_by(brightness, "darkest images", "brightest images", LOW_QUALITY),
        *slice_by(contrast, "least contrast", "most contrast", LOW_QUALITY),
    ]


def measure_image(image):
    """Measures the quality of an image.

    Args:
        image: uint8 `(height, width, 3)`, RGB.

    Returns:
        Three floats, NaN for an image of no pixels: sharpness, the standard deviation of the Laplacian
        divided by that of the grey values (a dull image is not a blurred one); brightness, the mean
        grey value; contrast, its standard deviation.

    Reference:
        Of the Laplacian: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.

    Example:

    >>> stripes = np.zeros((8, 8, 3), np.uint8)
    >>> stripes[:, ::2] = 200
    >>> [round(float(value), 1) for value in measure_image(stripes)]
    [4.0, 100.0, 100.0]
    """
    if not image.size:
        return (np.nan, np.nan, np.nan)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = _SIDE / max(grey.shape)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in grey.shape[::-1]]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    grey = grey.astype(np.float64)
    deviation = grey.std()
    edges = cv2.Laplacian(grey, cv2.CV_64F).std()
    return (edges / deviation if deviation else 0.0, grey.mean(), deviation)
