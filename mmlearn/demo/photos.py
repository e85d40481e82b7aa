"""Images that come from outside: read, checked, and made ready to be shown."""

import base64
import os
from dataclasses import dataclass

import cv2
import numpy as np
import tensorflow as tf

from data_prep import images

MAX_BYTES = 30_000_000  # of a file
SHOWN_SIDE = 640  # pixels of the longer side of what is shown
_MEGAPIXELS = images.MAX_PIXELS // 1_000_000


@dataclass(frozen=True)
class Photo:
    """An image.

    Attributes:
        data: bytes of the file, which models read.
        pixels: uint8 array `(height, width, 3)`, upright and RGB, to be shown: `SHOWN_SIDE` at most.
    """

    data: bytes
    pixels: np.ndarray


def read_photo(path):
    """Reads an image file that somebody has sent.

    Args:
        path: str.

    Returns:
        `Photo`.

    Raises:
        ValueError: in words for whoever sent it, when the file is too large, or no whole image, or has
            too many pixels.
    """
    if os.path.getsize(path) > MAX_BYTES:
        raise ValueError(
            f"The image file is larger than {MAX_BYTES // 1_000_000} MB. Fix: a smaller one."
        )
    with open(path, "rb") as file:
        data = file.read() or b"\0"  # an empty file is unreadable, not absent
    (status,) = images.read_statuses(tf.constant([data])).numpy()
    if status == images.TOO_LARGE:
        raise ValueError(f"The image has more than {_MEGAPIXELS} megapixels. Fix: a smaller one.")
    if status != images.OK:
        raise ValueError(
            "The file is no image that can be read. Fix: a whole JPEG, PNG or BMP file."
        )
    return Photo(data, shrink(images.decode(tf.constant(data), SHOWN_SIDE).numpy(), SHOWN_SIDE))


def shrink(pixels, side):
    """Makes an image as small as is shown; a smaller one is left as it is.

    Args:
        pixels: uint8 array `(height, width, 3)`.
        side: int. The most pixels of its longer side.

    Returns:
        uint8 array `(height, width, 3)`.
    """
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def png_url(pixels):
    """Writes an image as a URL that needs no request.

    Args:
        pixels: uint8 array `(height, width, 3)` of RGB, or `(height, width, 4)` of RGBA.

    Returns:
        str, `data:image/png;base64,...`.
    """
    order = cv2.COLOR_RGBA2BGRA if pixels.shape[-1] == 4 else cv2.COLOR_RGB2BGR
    _, data = cv2.imencode(".png", cv2.cvtColor(pixels, order))
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
