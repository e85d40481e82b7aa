import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_prep import images
from data_prep.errors import DataError
from data_prep.pipeline import build_dataset
from data_prep.records import Records
from data_prep.screening import Unreadable, find_unreadable, without_empty, without_unreadable
from tests import toys
from tests.examples_source import ExamplesSource, examples
from tests.pictures import (
    encode,
    gif_of_many_frames,
    large_jpeg,
    large_png,
    smooth_picture,
    with_large_header,
)

KINDS = ("JPEG", "PNG", "BMP", "progressive JPEG")


def picture_file(kind, height, width):
    picture = Image.fromarray(smooth_picture(height, width))
    if kind == "progressive JPEG":
        return encode(picture, "JPEG", progressive=True)
    return encode(picture.convert("P") if kind == "GIF" else picture, kind)


def with_wrong_checksum():
    png = picture_file("PNG", 20, 30)
    end = png.index(b"IEND") - 4  # the checksum of the pixels is before the length of the next part
    return png[: end - 4] + b"\0\0\0\0" + png[end:]


def with_wrong_pixels():
    """A PNG whose checksums are right and whose compressed pixels are not."""
    png = picture_file("PNG", 20, 30)
    start, end = png.index(b"IDAT"), png.index(b"IEND") - 8
    body = png[start : start + 40] + bytes(end - start - 40)
    return png[:start] + body + struct.pack(">I", zlib.crc32(body)) + png[end + 4 :]


def put(content):
    """Returns a function that writes a file."""

    def write(path):
        with open(path, "wb") as file:
            file.write(content)

    return write


NO_IMAGE, DAMAGED = "is no JPEG, PNG or BMP", "is damaged"
TOO_LARGE = "has 400,000,000 pixels, more than 40,000,000"
NOISE = np.random.default_rng(0).bytes(500)
BAD = {
    "missing": (lambda path: None, "does not exist"),
    "dangling link": (lambda path: os.symlink("nothing", path), "does not exist"),
    "link to itself": (
        lambda path: os.symlink(path, path),
        "cannot be opened (Too many levels of symbolic links)",
    ),
    "folder": (os.mkdir, "is a folder"),
    "empty": (put(b""), "is empty"),
    "pipe": (os.mkfifo, "is empty"),
    "text": (put(b"<html>404 not found</html>"), NO_IMAGE),
    "GIF": (put(picture_file("GIF", 30, 40)), NO_IMAGE),
    "GIF of many frames": (put(gif_of_many_frames(40)), NO_IMAGE),
    "truncated GIF": (put(picture_file("GIF", 30, 40)[:-300]), NO_IMAGE),
    "large GIF": (put(with_large_header(picture_file("GIF", 9, 9), "GIF", 20_000)), NO_IMAGE),
    "WebP": (put(encode(smooth_picture(), "WEBP")), NO_IMAGE),
    "TIFF": (put(encode(smooth_picture(), "TIFF")), NO_IMAGE),
    "zeros": (put(bytes(1000)), NO_IMAGE),
    "start of a JPEG": (put(b"\xff\xd8\xff"), "cannot be decoded"),
    "noise like a JPEG": (put(b"\xff\xd8\xff\xe0" + NOISE), "cannot be decoded"),
    "truncated JPEG": (put(picture_file("JPEG", 30, 40)[:-100]), DAMAGED),
    "truncated progressive JPEG": (put(picture_file(KINDS[-1], 30, 40)[:-100]), DAMAGED),
    "truncated PNG": (put(picture_file("PNG", 30, 40)[:-100]), DAMAGED),
    "truncated BMP": (put(picture_file("BMP", 30, 40)[:-1]), DAMAGED),
    "PNG of a wrong checksum": (put(with_wrong_checksum()), DAMAGED),
    "PNG of wrong pixels": (put(with_wrong_pixels()), DAMAGED),
    "large JPEG": (put(large_jpeg(160).replace(b"\0\xa0\0\xa0", b"\x4e\x20\x4e\x20")), TOO_LARGE),
    "large PNG": (put(large_png(20)[:16] + struct.pack(">II", 20_000, 20_000)), TOO_LARGE),
    "large BMP": (put(with_large_header(picture_file("BMP", 9, 9), "BMP", 20_000)), TOO_LARGE),
}
COUNT, BAD_COUNT = 1000, 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """1,000 image files, of which 50 are bad in every way."""
    root = tmp_path_factory.mktemp("images")
    good = [picture_file(kind, 8 + n, 30 - n) for kind in KINDS for n in range(10)]
    for row in range(COUNT):
        path = str(root / f"{row}.jpg")
        if is_bad(row):
            BAD[way(row)][0](path)
        else:
            put(good[row % len(good)])(path)
    return root


def is_bad(row):
    return row % (COUNT // BAD_COUNT) == 7


def way(row):
    return list(BAD)[row // (COUNT // BAD_COUNT) % len(BAD)]


def source_of(**paths):
    """A source of splits with these image paths."""
    return ExamplesSource(
        {split: examples(range(len(p)), images=list(map(str, p))) for split, p in paths.items()}
    )


@pytest.fixture(scope="module")
def source(folder):
    return source_of(train=[folder / f"{row}.jpg" for row in range(COUNT)])


@pytest.fixture(scope="module")
def screened(source):
    return without_unreadable(source, ("train",))


GOOD = [str(row) for row in range(COUNT) if not is_bad(row)]


def test_every_bad_file_is_named_with_its_reason(source, folder, screened):
    bad = [row for row in range(COUNT) if is_bad(row)]
    assert len(bad) == BAD_COUNT
    assert {way(row) for row in bad} == set(BAD)
    expected = [
        Unreadable("train", row, str(row), str(folder / f"{row}.jpg"), BAD[way(row)][1])
        for row in bad
    ]
    assert [(way(item.row), item) for item in screened[1]] == [
        (way(item.row), item) for item in expected
    ]


def test_exactly_the_good_ones_are_left(screened):
    selection, _ = screened
    index = selection.examples("train")
    assert index.ids == GOOD
    assert [os.path.basename(path) for path in index.images] == [f"{name}.jpg" for name in GOOD]
    assert selection.splits == ("train",)
    assert selection.settings == {"unreadable_left_out": BAD_COUNT}
    assert selection.report("train") == {
        "of the 1,000 examples of 'train'": 950,
        "examples found": 1000,
    }
    # What is left is good, and stays what it is.
    assert without_unreadable(selection, ("train",), max_share=0.0) == (selection, [])


def test_an_epoch_of_raw_examples_has_every_good_image_once(screened):
    dataset = build_dataset(screened[0], "train", shuffle=True)
    ids, shapes = [], set()
    for example in dataset.as_numpy_iterator():
        ids.append(example["id"].decode())
        shapes.add(example["images"].shape)
    assert sorted(ids) == sorted(GOOD)
    assert ids != GOOD
    assert shapes == {(8 + n, 30 - n, 3) for n in range(10)}


@pytest.mark.parametrize("cache", [False, True])
def test_an_epoch_of_batches_has_every_good_image_once(screened, cache):
    preprocessor = toys.preprocessor(("images",))
    dataset = build_dataset(
        screened[0], "train", preprocessor, 64, with_ids=True, shuffle=True, cache=cache
    )
    ids = []
    for names, (x, _, _) in dataset.as_numpy_iterator():
        ids += [name.decode() for name in names]
        assert x["images"].shape == (len(names), 32, 32, 3)
        assert x["images_present"].all()
        assert np.ptp(x["images"], axis=(1, 2, 3)).min() > 200
    assert sorted(ids) == sorted(GOOD)


def test_without_screening_the_epoch_would_end(source):
    with pytest.raises(tf.errors.OpError):
        list(build_dataset(source, "train"))


def test_more_than_a_tenth_is_an_error(folder):
    good, bad = [folder / f"{row}.jpg" for row in range(7)], [folder / "7.jpg"] * 2
    ten = source_of(train=[*good, *good[:2], bad[0]])
    selection, found = without_unreadable(ten, ("train",))
    assert len(selection.examples("train")) == 9
    assert [item.row for item in found] == [9]
    message = (
        r"^2 of 11 examples of 'val' cannot be read, more than 10%\. The first: "
        r"'.*/7\.jpg' does not exist\. Fix: restore them .*--data\.max-unreadable\.$"
    )
    eleven = source_of(train=good, val=[*good, *good[:2], *bad])
    with pytest.raises(DataError, match=message):
        without_unreadable(eleven, ("train", "val"))
    selection, found = without_unreadable(eleven, ("train", "val"), max_share=0.2)
    assert [(item.split, item.row) for item in found] == [("val", 9), ("val", 10)]
    assert len(selection.examples("train")) == 7
    assert len(selection.examples("val")) == 9
    with pytest.raises(
        DataError, match=r"^1 of 10 examples of 'train' cannot be read, more than 0%"
    ):
        without_unreadable(ten, ("train",), max_share=0.0)


def test_only_the_splits_that_are_asked_for_are_read(folder):
    source = source_of(train=[folder / "1.jpg"], val=[folder / "7.jpg"])
    assert without_unreadable(source, ("train",)) == (source, [])
    assert [item.id for item in find_unreadable(source, "val")] == ["0"]


def test_all_of_a_split_may_be_unreadable(folder):
    source = source_of(val=[folder / "7.jpg"])
    selection, found = without_unreadable(source, ("val",), max_share=1.0)
    assert len(found) == 1
    assert len(selection.examples("val")) == 0
    assert selection.oracles("val")["rows"].shape == (0, 2)


def test_examples_without_an_image_are_kept(folder):
    source = source_of(train=["", folder / "1.jpg", "", folder / "7.jpg"])
    selection, found = without_unreadable(source, ("train",), max_share=0.5)
    assert [item.row for item in found] == [3]
    assert selection.examples("train").ids == ["0", "1", "2"]


def test_data_without_images_have_nothing_to_screen():
    source = ExamplesSource({"train": examples(range(3), captions=[["a"], ["b"], []])})
    assert without_unreadable(source, ("train",)) == (source, [])


def test_examples_with_nothing_are_left_out_and_counted():
    captions = [["a dog"], [], ["", " "], [], ["a cat"]]
    index = examples(range(5), images=["", "b.jpg", "", "", "e.jpg"], captions=captions)
    source = ExamplesSource({"train": index, "val": index.take([0, 1])})
    left, count = without_empty(source, ("train", "val"), ("images", "text"))
    assert count == 2
    assert left.examples("train").ids == ["0", "1", "4"]
    assert left.examples("val").ids == ["0", "1"]
    assert left.settings["empty_left_out"] == 2
    assert without_empty(source, ("val",), ("images", "text")) == (source, 0)


@pytest.mark.parametrize(
    ("modalities", "ids"),
    [
        (("images",), ["1"]),
        (("series",), ["0", "1"]),
        (("table",), ["0", "2"]),
        (("audio", "images"), ["1", "3"]),
        (("audio", "images", "series", "table", "text"), ["0", "1", "2", "3"]),
    ],
)
def test_only_the_modalities_of_the_model_count(modalities, ids):
    nan = np.float32("nan")
    index = examples(
        range(5),
        images=["", "b.jpg", "", "", ""],
        audio=["", "", "", "d.wav", ""],
        series=np.array([[[0.0, nan]], [[nan, 1]], [[nan, nan]], [[nan, nan]], [[nan, nan]]]),
        table={"size": np.array([1, nan, nan, nan, nan]), "kind": ["", "", "a", "", ""]},
    )
    left, _ = without_empty(ExamplesSource({"all": index}), ("all",), modalities)
    assert left.examples("all").ids == ids


def test_a_split_of_nothing_else_is_an_error():
    source = ExamplesSource({"val": examples(range(2), images=["", ""])})
    with pytest.raises(
        DataError, match=r"No example of 'val' .* modalities, text\. Fix: other data"
    ):
        without_empty(source, ("val",), ("text",))


def test_prepared_shards_are_not_read_again():
    class InRecords(ExamplesSource):
        def records(self, split):
            return Records(["gone"], [2], "a function", np.arange(2))

    source = InRecords({"train": examples(range(2), images=["gone", "too"])})
    assert without_unreadable(source, ("train",)) == (source, [])


def test_the_limit_of_pixels(tmp_path):
    for kind in KINDS:
        put(picture_file(kind, 20, 30))(tmp_path / kind)
    source = source_of(all=[tmp_path / kind for kind in KINDS])
    assert find_unreadable(source, "all", max_pixels=600) == []
    found = find_unreadable(source, "all", max_pixels=599)
    assert [item.reason for item in found] == ["has 600 pixels, more than 599"] * 4


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_must_not_be_read(tmp_path):
    path = tmp_path / "a.png"
    put(picture_file("PNG", 20, 30))(path)
    path.chmod(0)
    found = find_unreadable(source_of(all=[path]), "all")
    assert [item.reason for item in found] == ["must not be read (permission denied)"]


def test_what_passes_can_be_decoded_at_any_size(tmp_path):
    random = np.random.default_rng(0)
    paths = []
    for row in range(300):
        data = bytearray(picture_file(KINDS[row // 4 % len(KINDS)], 60, 80))
        if row % 2:
            del data[random.integers(3, len(data)) :]
        for position in random.integers(2, len(data), row % 4):
            data[position] = random.integers(256)
        paths.append(tmp_path / f"{row}.jpg")
        put(bytes(data))(paths[-1])
    seen = []
    found = find_unreadable(source_of(all=paths), "all", progress=lambda *done: seen.append(done))
    bad = {item.row for item in found}
    assert 100 < len(bad) < 250
    assert seen == [(50, 300), (100, 300), (150, 300), (200, 300)][: len(seen) - 1] + [(300, 300)]
    assert len(seen) > 1

    def passes(row, image_size):
        with open(paths[row], "rb") as file:
            data = file.read()
        try:
            return images.decode(data, image_size).shape.rank == 3
        except tf.errors.InvalidArgumentError:
            return False

    for image_size in (None, 20):
        assert {row for row in range(300) if not passes(row, image_size)} == bad


def test_recordings_that_cannot_be_read_are_left_out(tmp_path):
    (tmp_path / "good.wav").write_bytes(toys.wav(np.zeros(100)))
    (tmp_path / "cut.wav").write_bytes(toys.wav(np.zeros(100))[:60])
    files = [str(tmp_path / "good.wav"), str(tmp_path / "cut.wav"), "", str(tmp_path / "gone.wav")]
    source = ExamplesSource({"train": examples(range(4), audio=files, captions=[["a"]] * 4)})
    found = find_unreadable(source, "train")
    assert [(item.row, item.path, item.reason) for item in found] == [
        (1, files[1], "is no whole 16-bit WAV file"),
        (3, files[3], "does not exist"),
    ]
    kept, _ = without_unreadable(source, ("train",), max_share=0.5)
    assert kept.examples("train").audio == [files[0], ""]
