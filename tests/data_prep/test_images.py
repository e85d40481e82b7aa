import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from data_prep import images


def smooth_picture(height=40, width=56):
    """Smooth, so that JPEG decoders agree; different in every corner, so that turns show."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    blue = 120 + 100 * np.sin(x / 9 + y / 13)
    return np.round(np.stack([red, green, blue], axis=-1)).astype(np.uint8)


def encode(image, kind, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg_with_orientation(picture, orientation, endian):
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F] = "a camera"  # so that the orientation is not the first entry
    exif[0x0112] = orientation
    return encode(picture, "JPEG", quality=95, exif=exif)


def decoded_by_pillow(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def mean_difference(a, b):
    assert a.shape == b.shape
    return np.abs(np.asarray(a, float) - np.asarray(b, float)).mean()


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
        "GIF": encode(picture_as("P"), "GIF"),
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


def test_only_the_first_frame_of_an_animation_is_decoded():
    first, second = (Image.new("RGB", (6, 4), color) for color in ("red", "blue"))
    data = encode(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(images.decode(data), np.full((4, 6, 3), (255, 0, 0)))


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
    resized = images.resize(image, 4)
    np.testing.assert_array_equal(resized[:, :2], np.zeros((4, 2, 3)))
    np.testing.assert_array_equal(resized[:, 2:], np.full((4, 2, 3), 200))


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
    assert (images.OK, images.ABSENT, images.UNREADABLE) == (0, 1, 2)
