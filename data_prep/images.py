"""The one image decoder: bytes -> oriented RGB -> square float image.

Only TensorFlow ops, because the same functions run in the training pipeline and inside the served
SavedModel. TensorFlow ignores EXIF orientation and OpenCV applies it; here it is applied, always.
"""

import tensorflow as tf

OK, ABSENT, UNREADABLE, TOO_LARGE = 0, 1, 2, 3  # the status of one row of `decode_batch`
MAX_PIXELS = 40_000_000  # of one image: 120 MB once decoded

_STATUS_SIDE = 8  # to which an image is decoded to see whether it can be

_EXIF_SEARCH_BYTES = 65536  # an APP1 segment is at most 64 KB, and it comes first
_EXIF = r"\C*Exif\x00\x00\C*"  # \C is any byte, valid UTF-8 or not
_ORIENTATION_TAG = 0x0112
_MAX_IFD_ENTRIES = 64
_SHRINKS = (1, 2, 4, 8)  # what a JPEG decoder can do at no cost
_LARGEST_ENLARGEMENT = 8 / 7
_HEADER_BYTES = 32
_BIG, _LITTLE = [2**24, 2**16, 2**8, 1], [1, 2**8, 2**16, 2**24]
# Format: how it begins, the places of the bytes of height and width, what each byte counts.
# TensorFlow would decode GIF and WebP, too, but the limit of pixels could not hold: all frames of
# a GIF are decoded, of sizes that its header does not tell, and WebP headers are of many kinds.
_HEADERS = (
    (b"\x89PNG\r\n\x1a\n", [[20, 21, 22, 23], [16, 17, 18, 19]], _BIG),
    (b"BM", [[22, 23, 24, 25], [18, 19, 20, 21]], _LITTLE),
)


def decode(data, image_size=None, max_pixels=MAX_PIXELS):
    """Decodes one JPEG, PNG or BMP image to RGB, upright.

    Grey, RGBA, CMYK and 16-bit images become 8-bit RGB.

    Args:
        data: scalar string tensor, the bytes of the file.
        image_size: int, or `None` for full resolution. The side, in pixels, to which the image will
            be resized: a JPEG much larger than that is decoded at 1/2, 1/4 or 1/8 of its size
            (each pixel a mean), which is faster. `resize` will then enlarge by 8/7 at most.
        max_pixels: int. An image whose header says more is refused before it is decoded.

    Returns:
        uint8 tensor `(height, width, 3)`.

    Raises:
        tf.errors.InvalidArgumentError: when the bytes are no whole image, or it is too large.
    """
    # Branches that are seldom taken are calls of functions: the parts of a plain branch cost time
    # even when it is not taken, together as much as decoding a photo.
    return tf.cond(
        _is_jpeg(data),
        lambda: _decode_jpeg(data, image_size, max_pixels),
        lambda: _decode_other(data, tf.constant(max_pixels, tf.int64)),
    )


def _decode_jpeg(data, image_size, max_pixels):
    shape = tf.io.extract_jpeg_shape(data)[:2]
    with tf.control_dependencies([_check_pixels(shape, max_pixels)]):
        data = tf.identity(data)
    if image_size:
        smallest = tf.cast(tf.reduce_min(shape), tf.float32) * _LARGEST_ENLARGEMENT
        choice = sum(tf.cast(smallest >= ratio * image_size, tf.int32) for ratio in _SHRINKS[1:])
        image = tf.switch_case(
            choice,
            [lambda ratio=ratio: decode_jpeg(data, ratio) for ratio in _SHRINKS],
        )
    else:
        image = decode_jpeg(data)
    head = tf.strings.substr(data, 0, _EXIF_SEARCH_BYTES)
    image = tf.cond(_has_exif(head), lambda: _turn_upright(image, head), lambda: image)
    image.set_shape((None, None, 3))
    return image


def decode_jpeg(data, ratio=1):
    """Decodes a JPEG that is known to be one of moderate size, as it is stored.

    With the accurate transform, which takes as long: TensorFlow's default was seen to be wrong by
    1.7 of 255 on average, whatever the quality, and to move a probability by 0.05.

    Args:
        data: scalar string tensor.
        ratio: int. 1, 2, 4 or 8: by how much the image is shrunk.

    Returns:
        uint8 tensor `(height, width, 3)`.
    """
    return tf.io.decode_jpeg(data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _as_call(*signature):
    return tf.function(
        input_signature=signature, autograph=False, experimental_attributes={"_noinline": True}
    )


@_as_call(tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64))
def _decode_other(data, max_pixels):
    shape = _size_of_other(data)
    is_known = tf.debugging.Assert(tf.reduce_all(shape > 0), ["No JPEG, PNG or BMP."])
    with tf.control_dependencies([is_known, _check_pixels(shape, max_pixels)]):
        data = tf.identity(data)
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    return image


@_as_call(tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.string))
def _turn_upright(image, head):
    return orient(image, _find_orientation(head))


def _check_pixels(shape, max_pixels):
    pixels = tf.reduce_prod(tf.cast(shape, tf.int64))
    return tf.debugging.Assert(pixels <= max_pixels, ["The image has too many pixels.", pixels])


def size(data):
    """Reads the height and width of an image from its header.

    Args:
        data: scalar string tensor, the bytes of the file.

    Returns:
        int32 `(2,)`: height and width in pixels as stored, before any orientation; zeros when the
        bytes are no JPEG, PNG or BMP.

    Raises:
        tf.errors.InvalidArgumentError: when the bytes begin like a JPEG and have no header of one.
    """
    return tf.cond(
        _is_jpeg(data), lambda: tf.io.extract_jpeg_shape(data)[:2], lambda: _size_of_other(data)
    )


@_as_call(tf.TensorSpec((), tf.string))
def _size_of_other(data):
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, _HEADER_BYTES), tf.uint8), tf.int64)
    head = tf.concat([head, tf.zeros([_HEADER_BYTES], tf.int64)], 0)
    found = tf.zeros((2,), tf.int64)
    for magic, places, byte_values in _HEADERS:
        numbers = tf.reduce_sum(tf.gather(head, places) * byte_values, axis=1)
        found = tf.where(_starts_with(data, magic), numbers, found)
    # A BMP that is stored top-down has a negative height.
    found = tf.where(found >= 2**31, 2**32 - found, found)
    return tf.cast(tf.minimum(found, 2**31 - 1), tf.int32)


def resize(image, image_size):
    """Resizes to a square without keeping the aspect ratio (nothing is cut off).

    Where a side shrinks, each pixel becomes the mean of the area it covers, so that none is skipped;
    where a side grows, bilinear. (A widened triangle, as in Pillow, would take twice the time: its
    loop is handed to other threads piece by piece.)

    Args:
        image: tensor `(..., height, width, 3)` in [0, 255], of rank 3 or 4.
        image_size: int. The side of the result in pixels.

    Returns:
        float32 tensor `(..., image_size, image_size, 3)` in [0, 255].
    """
    image = tf.convert_to_tensor(image)
    single = image.shape.rank == 3
    image = image[None] if single else image
    size, target = tf.shape(image)[-3:-1], (image_size, image_size)

    def shrink(image):
        return tf.image.resize(image, target, method="area")

    def grow_and_shrink():  # the mean of areas would enlarge in steps
        return shrink(tf.image.resize(image, tf.maximum(size, image_size)))

    image = tf.cond(
        tf.reduce_any(size > image_size),
        lambda: tf.cond(tf.reduce_any(size < image_size), grow_and_shrink, lambda: shrink(image)),
        lambda: tf.image.resize(image, target),
    )
    image = tf.ensure_shape(image, (None, *target, 3))
    return image[0] if single else image


def decode_batch(data, image_size, max_pixels=MAX_PIXELS):
    """Decodes and resizes a batch in which single rows may be absent, unreadable or too large.

    A bad row never fails its neighbours: the whole batch runs through one small tf.data pipeline
    whose failing elements are dropped, and the survivors are scattered back to their rows. One
    pipeline per batch costs about 1 ms; one per row would cost 100.

    Args:
        data: string tensor `(batch_size,)`, file bytes; empty means absent.
        image_size: int. The side of the result in pixels.
        max_pixels: int. Images whose header says more are not decoded.

    Returns:
        float32 images `(batch_size, image_size, image_size, 3)` in [0, 255], zeros where there is
        none, and int32 status `(batch_size,)`: `OK`, `ABSENT`, `UNREADABLE` or `TOO_LARGE`.
    """
    count = tf.shape(data)[0]
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.threading.private_threadpool_size = 1

    def convert(row, item):
        too_large = tf.reduce_prod(tf.cast(size(item), tf.int64)) > max_pixels
        image = tf.cond(
            too_large,
            lambda: tf.zeros((image_size, image_size, 3)),
            lambda: resize(decode(item, image_size, max_pixels), image_size),
        )
        return row, image, tf.where(too_large, TOO_LARGE, OK)

    rows = tf.data.Dataset.from_tensor_slices((tf.range(count), data)).map(convert).ignore_errors()
    # The extra last row makes the batch non-empty when every image fails.
    sentinel = (count, tf.zeros((image_size, image_size, 3)), tf.constant(OK))
    rows = rows.concatenate(tf.data.Dataset.from_tensors(sentinel))
    rows = rows.batch(tf.cast(count, tf.int64) + 1).with_options(options)
    index, images, found = rows.get_single_element()
    shape = tf.stack([count + 1, image_size, image_size, 3])
    images = tf.scatter_nd(index[:, None], images, shape)[:count]
    missing = tf.where(tf.strings.length(data) == 0, ABSENT, UNREADABLE)
    status = tf.tensor_scatter_nd_update(tf.concat([missing, [ABSENT]], 0), index[:, None], found)[
        :count
    ]
    return tf.ensure_shape(images, (None, image_size, image_size, 3)), status


# As a function of its own it is traced once; by itself, each call would trace the pipeline anew: 0.3 s.
@tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
def read_statuses(data):
    """Says which files are images that can be decoded.

    Args:
        data: string tensor `(batch_size,)`, file bytes; empty means absent.

    Returns:
        int32 tensor `(batch_size,)`: `OK`, `ABSENT`, `UNREADABLE` or `TOO_LARGE`, see `decode_batch`.
    """
    return decode_batch(data, _STATUS_SIDE)[1]


def _starts_with(data, magic):
    return tf.strings.substr(data, 0, tf.minimum(tf.strings.length(data), len(magic))) == magic


def _is_jpeg(data):
    return _starts_with(data, b"\xff\xd8\xff")


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
    is_exif_jpeg = _is_jpeg(data) & _has_exif(head)
    return tf.cond(is_exif_jpeg, lambda: _find_orientation(head), lambda: tf.constant(1))


def _has_exif(head):
    # The walk through the segments takes as long as decoding a photo; most have no EXIF data.
    return tf.strings.regex_full_match(head, _EXIF)


@_as_call(tf.TensorSpec((), tf.string))
def _find_orientation(head):
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

    start = tf.where(_is_jpeg(head), 2, length)
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
            lambda: tf.reverse(image, [1]),
            lambda: tf.reverse(image, [0, 1]),
            lambda: tf.reverse(image, [0]),
            lambda: transpose(image),
            lambda: tf.reverse(transpose(image), [1]),
            lambda: tf.reverse(transpose(image), [0, 1]),
            lambda: tf.reverse(transpose(image), [0]),
        ],
    )
