"""Captions of an image, and where in it each word was found."""

from dataclasses import dataclass

from mmlearn.analysis.attention import caption_maps
from mmlearn.models import ImageCaptioner
from mmlearn.models.presets import find_preset


@dataclass(frozen=True)
class Caption:
    """What a captioner wrote.

    Attributes:
        text: str.
        word_maps: list of `(word, map)`, each map `(grid_height, grid_width)`: where the decoder looked
            when it wrote the word.
    """

    text: str
    word_maps: list


def open_captioner(model):
    """Loads a saved captioner.

    Args:
        model: str. Output folder of a run, or a preset directory.

    Raises:
        ValueError: when there is none, or it is another task.
    """
    return ImageCaptioner.from_preset(find_preset(model, ImageCaptioner))


def write_caption(task, photo, beginning=""):
    """Writes a caption.

    Args:
        task: `ImageCaptioner` with a preprocessor.
        photo: `Photo`, or `None`, of which there is no caption.
        beginning: str, with which it is to begin.

    Returns:
        `Caption`.

    Raises:
        ValueError: in words for whoever asked, when there is no image.
    """
    if photo is None:
        raise ValueError("There is no image to describe. Fix: give one.")
    found = task.explain({"images": [photo.data]}, prompt=(beginning or "").strip())
    return Caption(found["captions"][0], caption_maps(task, found))
