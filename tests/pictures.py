"""Pictures that are made for tests, and the bytes of image files of every kind."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps


def smooth_picture(height=40, width=56):
    """Smooth, so that JPEG decoders agree; different in every corner, so that turns show."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    blue = 120 + 100 * np.sin(x / 9 + y / 13)
    return np.round(np.stack([red, green, blue], axis=-1)).astype(np.uint8)


def encode(image, kind, **options):
    """The bytes of a file; `image` is an array or a `PIL.Image`, `kind` the name of a format."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg_with_orientation(picture, orientation, endian):
    """A JPEG that a viewer has to turn; `endian` is "<" or ">"."""
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F] = "a camera"  # so that the orientation is not the first entry
    exif[0x0112] = orientation
    return encode(picture, "JPEG", quality=95, exif=exif)


def top_down(bmp):
    """Turns a BMP of 24 bits from Pillow, which is stored from its last row, round."""
    height = struct.unpack("<i", bmp[22:26])[0]
    row = (len(bmp) - 54) // height
    rows = [bmp[54 + i * row : 54 + (i + 1) * row] for i in reversed(range(height))]
    return bmp[:22] + struct.pack("<i", -height) + bmp[26:54] + b"".join(rows)


def large_png(side):
    """A black and white PNG, whole and all black: 1 KB for 8 million pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + crc(name + content)

    def crc(data):
        return struct.pack(">I", zlib.crc32(data))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj()
    row = bytes(1 + (side + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def large_jpeg(side):
    """A grey JPEG, whole and of one colour; the side is a multiple of 16."""
    small = encode(Image.new("L", (16, 16), 128), "JPEG")
    size, scan = small.index(b"\xff\xc0") + 5, small.index(b"\xff\xda") + 10
    # A block is the code 00 (as bright as the one before) and 1010 (all else is zero): 6 bits.
    body = bytes([0b00101000, 0b10100010, 0b10001010]) * (side * side // 64 // 4)
    return (
        small[:size] + struct.pack(">HH", side, side) + small[size + 4 : scan] + body + b"\xff\xd9"
    )


def gif_of_many_frames(count):
    """An animation, each frame of one grey."""
    first, *others = (Image.new("L", (9, 9), level) for level in range(count))
    return encode(first, "GIF", save_all=True, append_images=others)


def with_large_header(file, kind, side):
    """A GIF or BMP whose header says that it is larger than it is."""
    place, form = {"GIF": (6, "<HH"), "BMP": (18, "<ii")}[kind]
    size = struct.pack(form, side, side)
    return file[:place] + size + file[place + len(size) :]


def decoded_by_pillow(data):
    """The pixels `(height, width, 3)` that Pillow reads, upright."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def mean_difference(a, b):
    """The mean absolute difference of two arrays of the same shape."""
    assert a.shape == b.shape
    return np.abs(np.asarray(a, float) - np.asarray(b, float)).mean()
