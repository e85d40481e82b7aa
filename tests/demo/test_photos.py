import base64

import cv2
import numpy as np
import pytest
import tensorflow as tf

from mmlearn.demo import photos
from tests.models.test_signatures import HUGE


def write(tmp_path, data):
    path = tmp_path / "sent"
    path.write_bytes(data)
    return str(path)


def test_a_photo_is_read_whole_and_shown_smaller(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 1280, 3), dtype=np.uint8)
    data = tf.io.encode_png(pixels).numpy()
    photo = photos.read_photo(write(tmp_path, data))
    assert photo.data == data
    assert photo.pixels.shape == (30, 640, 3)
    mean = pixels.reshape(30, 2, 640, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(photo.pixels, mean, atol=1)


def test_a_small_photo_is_shown_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    photo = photos.read_photo(write(tmp_path, tf.io.encode_png(pixels).numpy()))
    np.testing.assert_array_equal(photo.pixels, pixels)


@pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8\xff", b"GIF89a" + bytes(50)])
def test_what_is_no_image_is_one_line(tmp_path, data):
    with pytest.raises(ValueError, match=r"^The file is no image .* Fix: a whole JPEG"):
        photos.read_photo(write(tmp_path, data))


def test_what_is_too_large_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"^The image has more than 40 megapixels\. Fix: "):
        photos.read_photo(write(tmp_path, HUGE))
    monkeypatch.setattr(photos, "MAX_BYTES", 2_000_000)
    with pytest.raises(ValueError, match=r"^The image file is larger than 2 MB\. Fix: "):
        photos.read_photo(write(tmp_path, bytes(2_000_001)))


@pytest.mark.parametrize("channels", [3, 4])
def test_a_url_holds_the_pixels(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, channels), dtype=np.uint8)
    start, data = photos.png_url(pixels).split(",")
    assert start == "data:image/png;base64"
    read = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read[..., [2, 1, 0, *range(3, channels)]], pixels)
