"""Search over an index, by a text or an image; needs the extra `search` (FAISS)."""

from dataclasses import dataclass

import numpy as np

from mmlearn.demo.photos import shrink
from mmlearn.experiments.indexing import are_images, find_nearest, open_search, read_image

THUMBNAIL_SIDE = 192  # pixels


@dataclass(frozen=True)
class Found:
    """One thing that a search found.

    Attributes:
        name: str, its id.
        cosine: float, how near it is.
        pixels: uint8 array `(height, width, 3)`, the image, small; `None` of a caption, and of an image
            that is gone.
        text: str, the caption, or what is wrong with the image.
    """

    name: str
    cosine: float
    pixels: np.ndarray | None
    text: str


class Searcher:
    """A saved retriever with its index.

    Args:
        model: str. Output folder of a run, or a preset directory.
        folder: str, of the index.

    Raises:
        ValueError: when there is no retriever or no index, or the index is another model's.
    """

    def __init__(self, model, folder):
        self._task, self._index = open_search(model, folder)

    def __len__(self):
        return len(self._index)

    def find(self, text="", photo=None, top=12):
        """Finds what is nearest to a text, or to an image.

        Args:
            text: str.
            photo: `Photo`, or `None`.
            top: int.

        Returns:
            A list of `Found`, the nearest first.

        Raises:
            ValueError: in words for whoever searches, when there is no query, or two.
        """
        text = (text or "").strip()
        if not text and photo is None:
            raise ValueError("There is nothing to look for. Fix: type a text, or give an image.")
        if text and photo is not None:
            raise ValueError(
                "A search takes a text or an image. Fix: clear the text, or remove the image."
            )
        query = ("text", text) if text else ("images", photo.data)
        found = find_nearest(self._task, self._index, *query, top)
        read = _read_image if are_images(found) else _read_caption
        return [Found(each["id"], each["cosine"], *read(each["label"])) for each in found]


def _read_image(path):
    try:
        return shrink(read_image(path), THUMBNAIL_SIDE), ""
    except ValueError:
        return None, "The image is gone."


def _read_caption(text):
    return None, text
