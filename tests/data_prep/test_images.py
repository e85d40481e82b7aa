import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_prep import images
from tests.pictures import (
    decoded_by_pillow,
    encode,
    jpeg_with_orientation,
    mean_difference,
    smooth_picture,
    top_down,
)


def picture_as(mode):
    return Image.fromarray(smooth_picture()).convert(mode)


def test_lossless_files_are_decoded_as_pillow_does():
    files = {
        "RGB PNG": encode(picture_as("RGB"), "PNG"),
        "grey PNG": encode(picture_as("L"), "PNG"),
        "grey PNG with alpha": encode(picture_as("LA"), "PNG"),
        "RGBA PNG": encode(picture_as("RGBA"), "PNG"),
        "palette PNG": encode(picture_as("P"), "PNG"),
        "black and white PNG": encode(picture_as("1"), "PNG"),
        "RGB BMP": encode(picture_as("RGB"), "BMP"),
    }
    for kind, data in files.items():
        decoded = images.decode(data)
        assert decoded.dtype == tf.uint8, kind
        np.testing.assert_array_equal(decoded, decoded_by_pillow(data), err_msg=kind)


def test_jpegs_are_decoded_as_pillow_does_up_to_rounding():
    for mode in ("RGB", "L", "CMYK"):
        data = encode(picture_as(mode), "JPEG", quality=95)
        decoded = images.decode(data)
        assert decoded.dtype == tf.uint8, mode
        assert mean_difference(decoded, decoded_by_pillow(data)) < 2, mode


def test_a_16_bit_png_becomes_8_bit():
    grey = np.linspace(0, 65535, 40 * 56).reshape(40, 56).astype(np.uint16)
    decoded = images.decode(encode(grey, "PNG")).numpy()
    assert decoded.dtype == np.uint8
    expected = np.repeat(grey[..., None] / 257, 3, axis=-1)
    assert np.abs(decoded - expected).max() <= 1


def test_an_alpha_channel_is_dropped_not_blended():
    pixels = np.full((4, 4, 4), (200, 100, 50, 0), np.uint8)
    decoded = images.decode(encode(pixels, "PNG"))
    np.testing.assert_array_equal(decoded, pixels[..., :3])


def test_decode_raises_on_bytes_that_are_no_whole_image():
    data = encode(smooth_picture(), "JPEG")
    for bad in (b"", b"hello", data[: len(data) // 2]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            images.decode(bad)


@pytest.mark.parametrize("endian", ["<", ">"])
def test_exif_orientation_is_applied_eagerly_and_in_a_dataset(endian):
    picture = smooth_picture()
    files = [jpeg_with_orientation(picture, o, endian) for o in range(1, 9)]
    in_dataset = list(tf.data.Dataset.from_tensor_slices(files).map(images.decode))
    for orientation, (data, from_dataset) in enumerate(zip(files, in_dataset, strict=True), 1):
        assert images.exif_orientation(data) == orientation
        decoded = images.decode(data)
        assert decoded.shape[:2] == ((40, 56) if orientation < 5 else (56, 40))
        assert mean_difference(decoded, decoded_by_pillow(data)) < 2
        np.testing.assert_array_equal(decoded, from_dataset)


def exif_jpeg(tiff):
    """The head of a JPEG with an EXIF segment of that TIFF content."""
    payload = b"Exif\0\0" + tiff
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", 2 + len(payload)) + payload + b"\xff\xda"


def tiff_with(value, endian=">", offset=8, tag=0x0112):
    head = struct.pack(f"{endian}2sHI", b"MM" if endian == ">" else b"II", 42, offset)
    return head + struct.pack(f"{endian}HHHIHH", 1, tag, 3, 1, value, 0)


def test_exif_orientation_of_literal_bytes():
    for endian in "<>":
        assert images.exif_orientation(exif_jpeg(tiff_with(6, endian))) == 6
        for value in (0, 9, 255, 65535):
            assert images.exif_orientation(exif_jpeg(tiff_with(value, endian))) == 1
        assert images.exif_orientation(exif_jpeg(tiff_with(6, endian, tag=0x0111))) == 1
        assert images.exif_orientation(exif_jpeg(tiff_with(6, endian, offset=9000))) == 1
        assert images.exif_orientation(exif_jpeg(tiff_with(6, endian, offset=2**31))) == 1


def test_exif_is_found_behind_other_segments_but_not_behind_the_start_of_the_scan():
    exif = exif_jpeg(tiff_with(3))
    other = b"\xff\xe0" + struct.pack(">H", 7) + b"other"
    assert images.exif_orientation(exif[:2] + other + other + exif[2:]) == 3
    scan = b"\xff\xda" + struct.pack(">H", 2)
    assert images.exif_orientation(exif[:2] + scan + exif[2:]) == 1


def test_files_without_exif_are_upright():
    assert images.exif_orientation(encode(smooth_picture(), "JPEG")) == 1
    assert images.exif_orientation(encode(smooth_picture(), "PNG")) == 1
    assert images.exif_orientation(b"not" + exif_jpeg(tiff_with(6))) == 1


def test_broken_exif_never_raises_and_gives_an_orientation():
    whole = jpeg_with_orientation(smooth_picture(), 6, "<")
    files = [b"", *(whole[:end] for end in range(1, 100))]
    head = exif_jpeg(b"")[:-2]
    for seed in range(51):
        noise = np.random.default_rng(seed).bytes(200)
        files += [noise, b"\xff\xd8" + noise, head + b"II*\0" + noise, head + b"MM\0*" + noise]
        files += [head + b"II*\0\x08\0\0\0" + noise, b"\xff\xd8\xff\xe0\0\0" + noise]
    dataset = tf.data.Dataset.from_tensor_slices(files).map(images.exif_orientation)
    orientations = [int(orientation) for orientation in dataset]
    assert len(orientations) == len(files)
    assert set(orientations) <= set(range(1, 9))
    for data in (b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xe1", whole[:30]):
        assert images.exif_orientation(data) == 1


def test_orient_against_numpy():
    image = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    expected = {
        1: image,
        2: np.fliplr(image),
        3: np.rot90(image, 2),
        4: np.flipud(image),
        5: np.swapaxes(image, 0, 1),
        6: np.rot90(image, -1),
        7: np.swapaxes(np.rot90(image, 2), 0, 1),
        8: np.rot90(image, 1),
    }
    for orientation, turned in expected.items():
        result = images.orient(tf.constant(image), tf.constant(orientation))
        np.testing.assert_array_equal(result, turned, err_msg=str(orientation))


def test_resize_to_the_same_size_changes_nothing():
    picture = smooth_picture(32, 32)
    resized = images.resize(picture, 32)
    assert resized.dtype == tf.float32
    np.testing.assert_array_equal(resized, picture)


def test_resize_of_literal_images():
    image = tf.constant([[[0, 0, 0], [40, 80, 120]], [[80, 0, 0], [40, 0, 120]]], tf.uint8)
    np.testing.assert_allclose(images.resize(image, 1), [[[40, 20, 60]]])
    batch = images.resize(tf.stack([image, image]), 1)
    np.testing.assert_allclose(batch, [[[[40, 20, 60]]]] * 2)


def test_resize_does_not_cut_the_longer_side_off():
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 4:] = 200
    row = np.repeat([[0.0], [0], [200], [200]], 3, axis=1)
    np.testing.assert_allclose(images.resize(image, 4), [row] * 4)
    # A step of 4 / 3 pixels: the second pixel covers a third of 0, 0, 200 and 200 on either side.
    row = np.repeat([[0.0], [100], [200]], 3, axis=1)
    np.testing.assert_allclose(images.resize(image[:, 2:6], 3), [row] * 3, atol=1e-4)


SIZES = [
    (7, 13, 5),
    (13, 7, 32),
    (1, 9, 4),
    (33, 31, 32),
    (2, 3, 101),
    (301, 3, 7),
    (240, 321, 64),
]


def noise(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width", "image_size"), SIZES)
def test_resize_is_that_of_opencv(height, width, image_size):
    image = noise(height, width)
    resized = images.resize(image, image_size).numpy()
    assert (resized.dtype, resized.shape) == (np.float32, (image_size, image_size, 3))
    grown = (max(width, image_size), max(height, image_size))
    expected = cv2.resize(image.astype(np.float32), grown, interpolation=cv2.INTER_LINEAR)
    square = (image_size, image_size)
    expected = cv2.resize(expected, square, interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(resized, expected, atol=0.01)


@pytest.mark.parametrize(("height", "width", "image_size"), SIZES)
def test_a_batch_is_resized_like_its_images(height, width, image_size):
    image = noise(height, width)
    batch = images.resize(np.stack([image, image[::-1], image[:, ::-1]]), image_size)
    assert batch.dtype == tf.float32
    for got, alone in zip(batch, [image, image[::-1], image[:, ::-1]], strict=True):
        np.testing.assert_allclose(got, images.resize(alone, image_size), atol=1e-3)


def test_resize_of_images_of_unknown_size_in_a_dataset():
    shapes = [(7, 13), (40, 2)]
    dataset = tf.data.Dataset.from_generator(
        lambda: (noise(*shape) for shape in shapes),
        output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
    ).map(lambda image: images.resize(image, 5))
    assert dataset.element_spec == tf.TensorSpec((5, 5, 3), tf.float32)
    for got, shape in zip(dataset, shapes, strict=True):
        np.testing.assert_allclose(got, images.resize(noise(*shape), 5), atol=1e-3)


def photo(height, width):
    """Like a photo: smooth, with edges and some grain."""
    picture = smooth_picture(height, width).astype(int)
    picture[height // 4 : height // 2, width // 3 : width // 2] = (20, 30, 200)
    grain = np.random.default_rng(0).normal(0, 6, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def test_a_jpeg_is_decoded_at_an_eighth_where_that_is_enough():
    data = encode(photo(800, 1000), "JPEG", quality=90)
    assert images.decode(data, 100).shape == (100, 125, 3)
    assert images.decode(data).shape == (800, 1000, 3)
    assert images.decode(data, 800).shape == (800, 1000, 3)


@pytest.mark.parametrize("image_size", [100, 200, 400])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_jpeg_that_is_decoded_smaller_looks_the_same(image_size, options):
    data = encode(photo(800, 1000), "JPEG", quality=90, **options)
    small, full = images.decode(data, image_size), images.decode(data)
    assert small.shape == (image_size, image_size * 5 // 4, 3)
    resized = images.resize(small, image_size)
    assert mean_difference(resized, images.resize(full, image_size)) < 3
    assert np.ptp(resized) > 200


@pytest.mark.parametrize(
    ("side", "decoded"),
    [
        *((1000, 125), (800, 100), (701, 88), (700, 88)),  # an eighth: 88 * 8 / 7 >= 100
        *((699, 175), (400, 100), (350, 88)),  # a quarter
        *((349, 175), (200, 100), (175, 88)),  # a half
        *((174, 174), (100, 100), (30, 30)),
    ],
)
def test_no_jpeg_is_enlarged_by_more_than_8_to_7(side, decoded):
    data = encode(Image.new("L", (side, side + 40), 77), "JPEG")
    image = images.decode(data, 100)
    assert image.shape[1] == decoded
    assert image.shape[0] > decoded
    assert (image.numpy() == 77).all()


def test_the_shorter_side_decides():
    for width, height in ((1600, 100), (100, 1600)):
        data = encode(Image.new("RGB", (width, height)), "JPEG")
        assert images.decode(data, 100).shape == (height, width, 3)


def test_only_jpegs_are_decoded_smaller():
    picture = photo(80, 100)
    for kind in ("PNG", "BMP"):
        np.testing.assert_array_equal(images.decode(encode(picture, kind), 10), picture)


@pytest.mark.parametrize("endian", ["<", ">"])
def test_a_jpeg_that_is_decoded_smaller_is_upright_too(endian):
    picture = smooth_picture(300, 400)
    files = [jpeg_with_orientation(picture, o, endian) for o in range(1, 9)]
    dataset = tf.data.Dataset.from_tensor_slices(files).map(lambda data: images.decode(data, 50))
    for orientation, (data, image) in enumerate(zip(files, dataset, strict=True), 1):
        expected = Image.fromarray(decoded_by_pillow(data))
        assert expected.size == ((400, 300) if orientation < 5 else (300, 400))
        expected = np.asarray(expected.resize((expected.width // 4, expected.height // 4)))
        assert mean_difference(image, expected) < 2, orientation
        np.testing.assert_array_equal(images.decode(data, 50), image)


def test_a_bmp_may_be_stored_from_its_first_row():
    picture = noise(5, 7)  # 7: its rows are padded
    data = encode(picture, "BMP")
    assert top_down(data) != data
    np.testing.assert_array_equal(images.decode(top_down(data)), picture)
    np.testing.assert_array_equal(images.decode(data), picture)


def corrupt(data, start):
    return (
        data[:start] + bytes(byte ^ 0xA5 for byte in data[start : start + 40]) + data[start + 40 :]
    )


def test_a_bad_row_of_a_batch_is_marked_and_leaves_its_neighbours_alone():
    png = encode(smooth_picture(), "PNG")
    jpeg = jpeg_with_orientation(smooth_picture(), 6, ">")
    rows = {
        "png": (png, images.OK),
        "empty": (b"", images.ABSENT),
        "text as jpeg": (b"<html>404 not found</html>", images.UNREADABLE),
        "garbage": (b"\xff\xd8\xff\xe0" + np.random.default_rng(0).bytes(500), images.UNREADABLE),
        "corrupt png": (corrupt(png, len(png) // 2), images.UNREADABLE),
        "truncated jpeg": (jpeg[: len(jpeg) // 2], images.UNREADABLE),
        "jpeg": (jpeg, images.OK),
    }
    data = tf.constant([content for content, _ in rows.values()])
    expected = [status for _, status in rows.values()]
    eager = images.decode_batch(data, 24)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(7)
    dataset = dataset.map(lambda x: images.decode_batch(x, 24))
    assert dataset.element_spec[0].shape.as_list() == [None, 24, 24, 3]
    for batch, status in (eager, next(iter(dataset))):
        assert batch.dtype == tf.float32
        assert status.dtype == tf.int32
        assert status.numpy().tolist() == expected
        for row, (content, good) in enumerate(rows.values()):
            alone = np.zeros((24, 24, 3))
            if good == images.OK:
                alone = images.resize(images.decode(content), 24)
                assert np.ptp(alone) > 100
            np.testing.assert_array_equal(batch[row], alone)


def test_a_batch_of_only_bad_rows_is_all_zeros():
    batch, status = images.decode_batch(tf.constant([b"no image", b"", b"\xff\xd8\xff"]), 8)
    np.testing.assert_array_equal(batch, np.zeros((3, 8, 8, 3)))
    assert status.numpy().tolist() == [images.UNREADABLE, images.ABSENT, images.UNREADABLE]


def test_a_batch_of_no_rows_stays_empty():
    batch, status = images.decode_batch(tf.constant([], tf.string), 8)
    assert batch.shape == (0, 8, 8, 3)
    assert status.shape == (0,)


def test_the_status_numbers_are_those_that_the_signatures_promise():
    assert (images.OK, images.ABSENT, images.UNREADABLE, images.TOO_LARGE) == (0, 1, 2, 3)
