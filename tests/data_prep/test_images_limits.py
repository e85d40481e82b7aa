"""What an image file says of its size, and files that say too much, too little or nothing."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_prep import images
from tests.pictures import (
    encode,
    gif_of_many_frames,
    jpeg_with_orientation,
    large_jpeg,
    large_png,
    smooth_picture,
    top_down,
    with_large_header,
)

ROOT = pathlib.Path(__file__).parents[2]


def palette_picture(height, width):
    return Image.fromarray(smooth_picture(height, width)).convert("P")


@pytest.fixture(scope="module")
def files():
    """One file of each kind, 40 pixels high and 57 wide."""
    picture = smooth_picture(40, 57)
    thumbnail = b"Exif\0\0" + encode(smooth_picture(8, 9), "JPEG")
    return {
        "JPEG": encode(picture, "JPEG"),
        "progressive JPEG": encode(picture, "JPEG", progressive=True),
        "grey JPEG": encode(palette_picture(40, 57).convert("L"), "JPEG"),
        "JPEG to be turned": jpeg_with_orientation(picture, 6, ">"),
        "JPEG with a thumbnail": encode(picture, "JPEG", exif=thumbnail),
        "PNG": encode(picture, "PNG"),
        "palette PNG": encode(palette_picture(40, 57), "PNG"),
        "BMP": encode(picture, "BMP"),
        "top-down BMP": top_down(encode(picture, "BMP")),
    }


def test_the_size_is_in_the_header(files):
    for kind, data in files.items():
        found = images.size(data)
        assert (found.dtype, found.numpy().tolist()) == (tf.int32, [40, 57]), kind
    dataset = tf.data.Dataset.from_tensor_slices(list(files.values())).map(images.size)
    assert [found.tolist() for found in dataset.as_numpy_iterator()] == [[40, 57]] * len(files)


def test_sizes_of_more_than_one_byte():
    picture = np.zeros((258, 771, 3), np.uint8)
    for kind in ("JPEG", "PNG", "BMP"):
        assert images.size(encode(picture, kind)).numpy().tolist() == [258, 771], kind
    data = with_large_header(encode(picture, "BMP"), "BMP", 20_000)
    assert images.size(data).numpy().tolist() == [20_000, 20_000]
    assert images.size(large_png(16)[:16] + b"\x7f\xff\xff\xff" * 2).numpy().tolist() == [
        2**31 - 1,
        2**31 - 1,
    ]


GIF = encode(palette_picture(40, 57), "GIF")
OTHERS = {
    "nothing": b"",
    "text": b"<html>404 not found</html>",
    "GIF": GIF,
    "truncated GIF": GIF[:-300],
    "GIF of a large header": with_large_header(GIF, "GIF", 20_000),
    "GIF of many frames": gif_of_many_frames(40),
    "WebP": encode(smooth_picture(), "WEBP"),
    "TIFF": encode(smooth_picture(), "TIFF"),
    "the end of a JPEG": b"\xff\xd9\xff\xd8" + bytes(50),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_have_no_size_and_are_not_decoded(kind):
    assert images.size(OTHERS[kind]).numpy().tolist() == [0, 0]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"No JPEG, PNG or BMP\."):
        images.decode(OTHERS[kind])


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(90)])
def test_a_file_that_begins_like_a_jpeg_and_has_no_size(data):
    for read in (images.size, images.decode):
        with pytest.raises(tf.errors.InvalidArgumentError):
            read(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_no_part_of_a_header_is_an_image(files, kind):
    parts = [files[kind][:end] for end in (*range(64), 100, 150)]
    dataset = tf.data.Dataset.from_tensor_slices(parts)
    decoded = dataset.map(lambda data: images.decode(data, 16)).ignore_errors()
    assert list(decoded) == []
    known = list(dataset.map(images.size).ignore_errors().as_numpy_iterator())
    if kind != "JPEG":  # of which only the whole header has a size
        assert len(known) == len(parts)
    assert all((found <= (40, 57)).all() for found in known)
    _, status = images.decode_batch(tf.constant(parts), 16)
    assert status.numpy().tolist() == [images.ABSENT] + [images.UNREADABLE] * (len(parts) - 1)


@pytest.mark.parametrize("image_size", [None, 8])
def test_the_largest_number_of_pixels_is_that_of_the_file(files, image_size):
    for kind, data in files.items():
        assert images.decode(data, image_size, 40 * 57).dtype == tf.uint8, kind
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)too many pixels.*\b2280\b"):
            images.decode(data, image_size, 40 * 57 - 1)


def test_the_rows_of_a_batch_say_what_is_wrong_with_them():
    picture = smooth_picture(30, 30)
    large = encode(smooth_picture(31, 30), "JPEG")
    rows = [
        (encode(picture, "PNG"), images.OK),
        (large, images.TOO_LARGE),
        (b"", images.ABSENT),
        (b"no image", images.UNREADABLE),
        (encode(picture, "WEBP"), images.UNREADABLE),
        (large[:300], images.UNREADABLE),
        (encode(palette_picture(300, 300), "GIF"), images.UNREADABLE),
        (encode(picture, "JPEG")[:-200], images.UNREADABLE),
        (encode(picture, "BMP"), images.OK),
        (large_png(48), images.TOO_LARGE),
    ]
    data = tf.constant([content for content, _ in rows])
    batch, status = images.decode_batch(data, 10, max_pixels=900)
    assert status.numpy().tolist() == [expected for _, expected in rows]
    expected = images.resize(picture, 10).numpy()
    assert np.ptp(expected) > 150
    for image, (_, good) in zip(batch.numpy(), rows, strict=True):
        np.testing.assert_array_equal(image, expected if good == images.OK else 0 * expected)
    # All of them fit into the usual limit.
    assert images.TOO_LARGE not in images.decode_batch(data, 10)[1].numpy()


def test_the_large_files_below_are_whole():
    assert (images.decode(large_jpeg(160)).numpy() == 128).all()
    assert images.decode(large_jpeg(160)).shape == (160, 160, 3)
    np.testing.assert_array_equal(images.decode(large_png(50)), np.zeros((50, 50, 3)))


MEASURE = """
import json, resource, sys
import tensorflow as tf
from data_prep import images

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def read(path):
    with open(path, "rb") as file:
        return file.read()

def decode(data):
    try:
        images.decode(data, 64)
    except tf.errors.InvalidArgumentError as error:
        return "too many pixels" in error.message
    return False

good, *large = map(read, sys.argv[1:])
images.decode(good)
images.decode_batch(tf.constant([good] * len(large)), 64)
decode(b"no image")
before = peak()
refused = [decode(data) for data in large]
after_decode = peak()
_, status = images.decode_batch(tf.constant(large), 64)
grown = {"decode": after_decode - before, "decode_batch": peak() - before}
print(json.dumps({"refused": refused, "status": status.numpy().tolist(), "grown_mb": grown}))
"""


@pytest.mark.large
def test_400_million_pixels_are_refused_before_they_need_memory(tmp_path):
    picture = smooth_picture()
    contents = {
        "good": encode(picture, "PNG"),
        "png": large_png(20_000),
        "jpeg": large_jpeg(20_000),
        "bmp": with_large_header(encode(picture, "BMP"), "BMP", 20_000),
        "top-down": with_large_header(encode(picture, "BMP"), "BMP", -20_000),
    }
    paths = [tmp_path / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    command = [sys.executable, "-c", MEASURE, *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["refused"] == [True] * 4
    assert found["status"] == [images.TOO_LARGE] * 4
    assert max(found["grown_mb"].values()) < 64, found  # decoded, they are 1,200 MB each
