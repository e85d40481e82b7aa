"""Damage to images, at five severities, to measure what a model withstands. For evaluation alone.

Each function takes an image, uint8 `(height, width, 3)`, RGB, a severity from 1 to 5 and a
`numpy.random.Generator`, and returns an image of the same shape. What is drawn at random does not
depend on the severity: a photo is turned the same way, only further. Lengths are fractions of the
shorter side, so that a severity means the same at every size.

The kinds follow Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions
and perturbations", 2019, section 3; how they are made, and the strengths, are our own, so figures cannot
be compared with those of ImageNet-C.
"""

import zlib

import cv2
import numpy as np

from data_prep.names import find

SEVERITIES = (1, 2, 3, 4, 5)


def gaussian_noise(image, severity, random):
    """Adds noise of equal strength everywhere, as a warm sensor does."""
    deviation = _pick(severity, 10, 20, 32, 48, 70)
    return _to_uint8(image + deviation * random.standard_normal(image.shape))


def shot_noise(image, severity, random):
    """Counts a few photons per pixel, so that bright places are the noisiest."""
    photons = _pick(severity, 60, 25, 12, 6, 3)
    return _to_uint8(random.poisson(image / 255.0 * photons) / photons * 255.0)


def impulse_noise(image, severity, random):
    """Makes single pixels black or white."""
    share = _pick(severity, 0.01, 0.03, 0.06, 0.12, 0.2)
    draws = random.random((*image.shape[:2], 1))
    damaged = np.where(draws < share / 2, 0, image)
    return np.where(draws > 1 - share / 2, 255, damaged).astype(np.uint8)


def defocus_blur(image, severity, random):
    """Spreads each point over a disc."""
    radius = _length(image, _pick(severity, 0.012, 0.02, 0.03, 0.045, 0.065))
    return _filter(image, _disc(radius))


def motion_blur(image, severity, random):
    """Spreads each point along a line of random direction."""
    half = _length(image, _pick(severity, 0.04, 0.07, 0.11, 0.16, 0.22)) / 2
    angle = random.uniform(0, np.pi)
    size = 2 * int(np.ceil(half)) + 1
    kernel = np.zeros((size, size), np.float32)
    for place in np.linspace(-half, half, 4 * size):
        x, y = size // 2 + place * np.cos(angle), size // 2 + place * np.sin(angle)
        column, row = int(x), int(y)
        for d, e in ((0, 0), (0, 1), (1, 0), (1, 1)):
            if row + d < size and column + e < size:
                kernel[row + d, column + e] += (1 - abs(row + d - y)) * (1 - abs(column + e - x))
    return _filter(image, kernel)


def zoom_blur(image, severity, random):
    """Averages the image at several enlargements, as when the lens moves."""
    largest = _pick(severity, 1.06, 1.12, 1.2, 1.3, 1.45)
    scales = np.linspace(1, largest, 9)
    return _to_uint8(np.mean([_warp(image, scale=s).astype(np.float32) for s in scales], axis=0))


def fog(image, severity, random):
    """Lays an uneven light grey over the image."""
    strength = _pick(severity, 0.25, 0.4, 0.55, 0.68, 0.8)
    height, width = image.shape[:2]
    clouds = np.zeros((height, width), np.float32)
    for cells, weight in ((2, 0.5), (4, 0.3), (8, 0.2)):
        field = random.random((cells, cells), np.float32)
        clouds += weight * cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    opacity = np.clip(strength * (0.7 + 0.6 * clouds), 0, 0.95)[..., None]
    return _to_uint8((1 - opacity) * image + opacity * 225)


def brightness(image, severity, random):
    """Overexposes."""
    return _to_uint8(image.astype(np.float32) + _pick(severity, 25, 50, 75, 100, 130))


def darkness(image, severity, random):
    """Underexposes, with the noise of a sensor that sees little."""
    light = _pick(severity, 0.7, 0.5, 0.35, 0.22, 0.13)
    return _to_uint8(image * light + 3 * random.standard_normal(image.shape))


def contrast(image, severity, random):
    """Moves all pixels towards the mean of the image."""
    kept = _pick(severity, 0.65, 0.45, 0.3, 0.18, 0.1)
    return _to_uint8(image.mean() + kept * (image.astype(np.float32) - image.mean()))


def desaturate(image, severity, random):
    """Takes the colours away, at 5 all of them."""
    kept = _pick(severity, 0.6, 0.4, 0.25, 0.1, 0.0)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return _to_uint8(grey + kept * (image - grey))


def pixelate(image, severity, random):
    """Shrinks the image and enlarges it again, in squares: 64 to 14 along the shorter side."""
    height, width = image.shape[:2]
    share = min(1.0, _pick(severity, 64, 44, 30, 21, 14) / min(height, width))
    small = (max(1, round(width * share)), max(1, round(height * share)))
    image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)


def jpeg(image, severity, random):
    """Stores the image as a JPEG of low quality."""
    quality = _pick(severity, 35, 20, 12, 7, 4)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def occlusion(image, severity, random):
    """Covers a box of the image's shape, at a random place, with grey."""
    share = np.sqrt(_pick(severity, 0.05, 0.1, 0.2, 0.3, 0.45))
    sides = np.maximum(np.round(share * np.array(image.shape[:2])), 1).astype(int)
    top, left = (random.random(2) * (np.array(image.shape[:2]) - sides + 1)).astype(int)
    covered = image.copy()
    covered[top : top + sides[0], left : left + sides[1]] = 127
    return covered


def rotation(image, severity, random):
    """Turns the image to either side; what comes in at the corners is mirrored."""
    angle = _pick(severity, 5, 10, 15, 22, 30)
    return _warp(image, angle=angle if random.random() < 0.5 else -angle)


def elastic(image, severity, random):
    """Shifts places smoothly, as if the image were printed on rubber."""
    height, width = image.shape[:2]
    reach = _length(image, _pick(severity, 0.015, 0.025, 0.04, 0.055, 0.075))
    shifts = random.uniform(-1, 1, (2, 7, 7)).astype(np.float32)
    dx, dy = (cv2.resize(s, (width, height), interpolation=cv2.INTER_CUBIC) for s in shifts)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        image, x + reach * dx, y + reach * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


CORRUPTIONS = {
    corruption.__name__: corruption
    for corruption in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        motion_blur,
        zoom_blur,
        fog,
        brightness,
        darkness,
        contrast,
        desaturate,
        pixelate,
        jpeg,
        occlusion,
        rotation,
        elastic,
    )
}


def corrupt(image, name, severity, seed=(0, 0)):
    """Damages one image.

    Args:
        image: uint8 `(height, width, 3)`, RGB.
        name: str, of `CORRUPTIONS`.
        severity: int from 1 to 5.
        seed: ints, such as one of the whole and the row of the example. The same seed gives the same
            image, and another name another draw.

    Returns:
        uint8 array of the same shape.

    Raises:
        ValueError: when the name or the severity is unknown.

    Example:

    >>> image = np.full((8, 8, 3), 100, np.uint8)
    >>> [int(corrupt(image, "brightness", severity).max()) for severity in (1, 5)]
    [125, 230]
    """
    corruption = find(name, CORRUPTIONS, "corruption")
    check_severity(severity)
    return corruption(image, severity, np.random.default_rng([zlib.crc32(name.encode()), *seed]))


def check_severity(severity):
    """Checks that a severity is a whole number from 1 to 5.

    Args:
        severity: what to check.

    Raises:
        ValueError: when it is not.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"`severity` must be an int from 1 to 5. Received: severity={severity!r}.")


def _pick(severity, *strengths):
    return strengths[severity - 1]


def _length(image, fraction):
    return fraction * min(image.shape[:2])


def _to_uint8(image):
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _filter(image, kernel):
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def _disc(radius):
    """A disc of any radius, with a soft edge of a pixel."""
    reach = int(np.ceil(radius + 0.5))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)


def _warp(image, angle=0.0, scale=1.0):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
    return cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
