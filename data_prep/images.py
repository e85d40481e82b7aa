"""The one image decoder: bytes -> oriented RGB -> square float image.

Only TensorFlow ops, because the same functions run in the training pipeline and inside the served
SavedModel. TensorFlow ignores EXIF orientation and OpenCV applies it; here it is applied, always.
"""

import tensorflow as tf

OK, ABSENT, UNREADABLE = 0, 1, 2  # the status of one row of `decode_batch`

_EXIF_SEARCH_BYTES = 65536  # an APP1 segment is at most 64 KB, and it comes first
_ORIENTATION_TAG = 0x0112
_MAX_IFD_ENTRIES = 64


def decode(data):
    """Decodes one JPEG, PNG, GIF (first frame) or BMP image to RGB, upright.

    Grey, RGBA, CMYK and 16-bit images become 8-bit RGB.

    Args:
        data: scalar string tensor, the bytes of the file.

    Returns:
        uint8 tensor `(height, width, 3)`.

    Raises:
        tf.errors.InvalidArgumentError: when the bytes are no whole image.
    """
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    return orient(image, exif_orientation(data))


def resize(image, image_size):
    """Resizes to a square, bilinearly, without keeping the aspect ratio (nothing is cut off).

    Args:
        image: tensor `(..., height, width, 3)` in [0, 255].
        image_size: int. The side of the result in pixels.

    Returns:
        float32 tensor `(..., image_size, image_size, 3)` in [0, 255].
    """
    image = tf.image.resize(tf.cast(image, tf.float32), (image_size, image_size))
    return tf.ensure_shape(image, (*image.shape[:-3], image_size, image_size, 3))


def decode_batch(data, image_size):
    """Decodes and resizes a batch in which single rows may be absent or unreadable.

    A bad row never fails its neighbours: the whole batch runs through one small tf.data pipeline
    whose failing elements are dropped, and the survivors are scattered back to their rows. One
    pipeline per batch costs about 1 ms; one per row would cost 100.

    Args:
        data: string tensor `(batch_size,)`, file bytes; empty means absent.
        image_size: int. The side of the result in pixels.

    Returns:
        float32 images `(batch_size, image_size, image_size, 3)` in [0, 255], zeros where there is
        none, and int32 status `(batch_size,)`: `OK`, `ABSENT` or `UNREADABLE`.
    """
    count = tf.shape(data)[0]
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.threading.private_threadpool_size = 1
    rows = tf.data.Dataset.from_tensor_slices((tf.range(count), data))
    rows = rows.map(lambda row, item: (row, resize(decode(item), image_size))).ignore_errors()
    # The extra last row makes the batch non-empty when every image fails.
    sentinel = (count, tf.zeros((image_size, image_size, 3)))
    rows = rows.concatenate(tf.data.Dataset.from_tensors(sentinel))
    rows = rows.batch(tf.cast(count, tf.int64) + 1).with_options(options)
    index, images = rows.get_single_element()
    images = tf.scatter_nd(
        index[:, None], images, tf.stack([count + 1, image_size, image_size, 3])
    )[:count]
    decoded = tf.scatter_nd(index[:, None], tf.ones_like(index), [count + 1])[:count] > 0
    status = tf.where(decoded, OK, tf.where(tf.strings.length(data) == 0, ABSENT, UNREADABLE))
    return tf.ensure_shape(images, (None, image_size, image_size, 3)), status


def exif_orientation(data):
    """Reads the EXIF orientation of a JPEG with TensorFlow ops.

    Args:
        data: scalar string tensor, the bytes of any file.

    Returns:
        scalar int32 in 1..8; 1 (upright) when there is none or the bytes are no JPEG.

    Reference:
        CIPA DC-008-2019 (Exif 2.32), sections 4.5.2, 4.6.2 and 4.6.4.
    """
    head = tf.strings.substr(data, 0, _EXIF_SEARCH_BYTES)
    content = tf.cast(tf.io.decode_raw(head, tf.uint8), tf.int32)
    length = tf.size(content)
    content = tf.concat([content, tf.zeros([16], tf.int32)], 0)

    def at(position):  # reading past the end gives zeros
        return tf.gather(content, tf.clip_by_value(position, 0, length))

    def big_endian(position):
        return 256 * at(position) + at(position + 1)

    def not_found_yet(position, _):
        return (position + 4 < length) & (at(position) == 0xFF) & (at(position + 1) != 0xDA)

    def next_segment(position, app1):
        is_exif = (at(position + 1) == 0xE1) & (big_endian(position + 4) == 0x4578)
        is_exif &= big_endian(position + 6) == 0x6966
        # A segment length below 2 is corrupt; 2 keeps the loop moving.
        step = 2 + tf.maximum(big_endian(position + 2), 2)
        return tf.where(is_exif, length, position + step), tf.where(is_exif, position, app1)

    is_jpeg = tf.strings.substr(head, 0, tf.minimum(length, 2)) == b"\xff\xd8"
    start = tf.where(is_jpeg, 2, length)
    _, app1 = tf.while_loop(not_found_yet, next_segment, [start, tf.constant(-1)])

    tiff = app1 + 10
    little = at(tiff) == 0x49  # "II", else "MM"

    def uint16(position):
        return tf.where(little, at(position) + 256 * at(position + 1), big_endian(position))

    def uint32(position):  # offsets above 64 KB are outside of what is searched
        low, high = uint16(position), uint16(position + 2)
        low, high = tf.where(little, low, high), tf.where(little, high, low)
        return tf.where(high == 0, low, length)

    directory = tiff + uint32(tiff + 4)
    count = tf.clip_by_value(uint16(directory), 0, _MAX_IFD_ENTRIES)
    entries = directory + 2 + 12 * tf.range(count)
    values = tf.where(uint16(entries) == _ORIENTATION_TAG, uint16(entries + 8), 0)
    orientation = tf.maximum(tf.reduce_max(values), 0)  # an empty maximum is the lowest int32
    return tf.where((app1 >= 0) & (orientation >= 1) & (orientation <= 8), orientation, 1)


def orient(image, orientation):
    """Turns an image upright.

    Args:
        image: tensor `(height, width, channels)`.
        orientation: scalar int32 in 1..8, as in EXIF.

    Returns:
        tensor `(height, width, channels)` or `(width, height, channels)`.
    """

    def transpose(x):
        return tf.transpose(x, (1, 0, 2))

    return tf.switch_case(
        orientation - 1,
        [
            lambda: image,
            lambda: image[:, ::-1],
            lambda: image[::-1, ::-1],
            lambda: image[::-1],
            lambda: transpose(image),
            lambda: transpose(image)[:, ::-1],
            lambda: transpose(image)[::-1, ::-1],
            lambda: transpose(image)[::-1],
        ],
    )
