import os
import re

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from data_prep.errors import DataError
from data_prep.sources.captions_csv import CaptionsCsvSource, count_captions, image_paths

COMMAS = """\
image,caption
1000268201_693b08cb0e.jpg,A child in a pink dress is climbing up stairs .
1000268201_693b08cb0e.jpg,"A girl , alone , going into a ""wooden"" building ."
1001773457_577c3a7d70.jpg,A black dog and a spotted dog are fighting
1000268201_693b08cb0e.jpg,  A little   girl climbing
"""
BARS = """\
image_name| comment_number| comment
2199200615.jpg| 0| A dog , of two | three colours , runs .
2199200615.jpg| 4   A dog runs across the grass .
1000092795.jpg| 0| Two young guys with shaggy hair .
1000092795.jpg| 1|
"""
TOKENS = """\
1000268201_693b08cb0e.jpg#0\tA child in a pink dress .
1000268201_693b08cb0e.jpg#1\tA girl going into a wooden\tbuilding #2 .
2258277193_586949ec62.jpg.1#0\tpeople waiting for the subway
"""
EXPECTED = {
    "captions.txt": {
        "1000268201_693b08cb0e.jpg": [
            "A child in a pink dress is climbing up stairs .",
            'A girl , alone , going into a "wooden" building .',
            "A little girl climbing",
        ],
        "1001773457_577c3a7d70.jpg": ["A black dog and a spotted dog are fighting"],
    },
    "results.csv": {
        "2199200615.jpg": [
            "A dog , of two | three colours , runs .",
            "A dog runs across the grass .",
        ],
        "1000092795.jpg": ["Two young guys with shaggy hair ."],
    },
    "Flickr8k.token.txt": {
        "1000268201_693b08cb0e.jpg": [
            "A child in a pink dress .",
            "A girl going into a wooden building #2 .",
        ],
        "2258277193_586949ec62.jpg.1": ["people waiting for the subway"],
    },
}
TEXTS = {"captions.txt": COMMAS, "results.csv": BARS, "Flickr8k.token.txt": TOKENS}


def write(root, name, text, images=""):
    """Writes a caption file, and empty image files into the folder `images`; returns the root."""
    os.makedirs(os.path.join(root, images), exist_ok=True)
    with open(os.path.join(root, name), "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    for image in {image for expected in EXPECTED.values() for image in expected}:
        if not image.endswith(".1"):
            with open(os.path.join(root, images, image), "wb"):
                pass
    return str(root)


@pytest.mark.parametrize("name", TEXTS)
def test_formats(tmp_path, name):
    source = CaptionsCsvSource(write(tmp_path, name, TEXTS[name], images="Images"))
    assert (source.splits, source.label_names, source.settings) == (("all",), [], {})
    examples = source.examples("all")
    assert examples.ids == [f"all/{image}" for image in EXPECTED[name]]
    assert (examples.groups.tolist(), examples.groups.dtype) == ([0, 1], np.int64)
    assert examples.captions == list(EXPECTED[name].values())
    assert examples.images == [str(tmp_path / "Images" / image) for image in EXPECTED[name]]
    assert (examples.labels.shape, examples.labels.dtype) == ((2, 0), np.uint8)
    assert source.examples("all") is examples


def test_reports(tmp_path):
    def report(name):
        root = write(tmp_path / name, name, TEXTS[name])
        return list(CaptionsCsvSource(root).report("all").items())

    assert report("captions.txt") == [
        ("images", 2),
        ("captions", 4),
        ("images without captions", 0),
        ("images with other than five captions", 2),
    ]
    assert report("results.csv") == [
        ("images", 2),
        ("captions", 3),
        ("images without captions", 0),
        ("images with other than five captions", 2),
        ("rows with a missing separator, repaired", 1),
        ("empty captions, left out", 1),
    ]


def test_an_image_whose_captions_are_all_empty_stays(tmp_path):
    text = 'image,caption\n1000092795.jpg,\n1000092795.jpg," "\n2199200615.jpg,x\n'
    source = CaptionsCsvSource(write(tmp_path, "captions.txt", text))
    assert source.examples("all").ids == ["all/1000092795.jpg", "all/2199200615.jpg"]
    assert source.examples("all").captions == [[], ["x"]]
    assert source.report("all")["images without captions"] == 1
    assert source.report("all")["empty captions, left out"] == 2


def test_count_captions():
    assert list(count_captions([["a"] * 5, ["a"] * 6, []]).values()) == [3, 11, 1, 2]


@pytest.mark.parametrize(
    ("text", "captions"),
    [
        ("image,caption\r\n1000092795.jpg,A dog\r\n\r\n", ["A dog"]),
        ("\ufeffimage,caption\n1000092795.jpg,A dog", ["A dog"]),
        ('"image","caption"\n"1000092795.jpg","A dog"\n', ["A dog"]),
        ("Image, Caption\n 1000092795.jpg , A dog\n  \n", ["A dog"]),
        ("image,caption\n1000092795.jpg,A dog, a cat\n", ["A dog, a cat"]),
        ('image,caption\n1000092795.jpg,"A dog,\n a cat"\n', ["A dog, a cat"]),
        ('image,caption\n1000092795.jpg,A "big" dog\n', ['A "big" dog']),
        ("image_name|comment_number|comment\n1000092795.jpg|0|A dog\n\n", ["A dog"]),
        ("1000092795.jpg#0\tA dog\n\n1000092795.jpg#1\tÉté", ["A dog", "Été"]),
    ],
)
def test_small_differences_of_copies(tmp_path, text, captions):
    # The first line says the format, whatever the file is called.
    root = write(tmp_path, "results.csv", text)
    examples = CaptionsCsvSource(root).examples("all")
    assert examples.ids == ["all/1000092795.jpg"]
    assert examples.captions == [captions]


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        (["captions.txt", "results.csv", "a.token.txt"], "captions.txt"),
        (["results.csv", "a.token.txt", "a.token"], "results.csv"),
        (["b.token.txt", "a.token.txt", "a.token", "._a.token.txt"], "a.token.txt"),
        (["results_20130124.token", "Flickr8k.lemma.txt"], "results_20130124.token"),
    ],
)
def test_the_first_of_several_caption_files(tmp_path, present, chosen):
    for name in present:
        number = 1 + (name != chosen)
        write(tmp_path, name, f"1000092795.jpg#0\tthis is number {number}\n")
    assert CaptionsCsvSource(tmp_path).examples("all").captions == [["this is number 1"]]


def test_the_path_of_the_file_itself(tmp_path, monkeypatch):
    write(tmp_path, "my own.tsv", TOKENS, images="images")
    write(tmp_path, "captions.txt", COMMAS)
    expected = ["all/1000268201_693b08cb0e.jpg", "all/2258277193_586949ec62.jpg.1"]
    assert CaptionsCsvSource(tmp_path / "my own.tsv").examples("all").ids == expected
    monkeypatch.chdir(tmp_path)
    images = CaptionsCsvSource("my own.tsv").examples("all").images
    assert images[0] == os.path.join(".", "1000268201_693b08cb0e.jpg")


SPLITS = {
    "Flickr_8k.trainImages.txt": "c.jpg\na.jpg\n",
    "Flickr_8k.devImages.txt": "b.jpg\nnowhere.jpg\n\n",
    "Flickr_8k.testImages.txt": "d.jpg",
}


def write_flickr8k(root, text_folder, splits=SPLITS):
    os.makedirs(root / text_folder, exist_ok=True)
    os.makedirs(root / "Flicker8k_Dataset")
    rows = [f"{name}.jpg#{n}\t{name}{n}\n" for name in "abcde" for n in range(5)]
    (root / text_folder / "Flickr8k.token.txt").write_text("".join(rows))
    for name in "abcde":
        (root / "Flicker8k_Dataset" / f"{name}.jpg").touch()
    for name, text in splits.items():
        (root / text_folder / name).write_text(text)
    return root


@pytest.mark.parametrize("text_folder", ["", "Flickr8k_text"])
def test_the_splits_of_flickr8k(tmp_path, text_folder):
    source = CaptionsCsvSource(write_flickr8k(tmp_path, text_folder))
    assert source.splits == ("train", "val", "test")
    train, val, test = map(source.examples, source.splits)
    assert (train.ids, train.groups.tolist()) == (["train/a.jpg", "train/c.jpg"], [0, 2])
    assert (val.ids, val.groups.tolist()) == (["val/b.jpg"], [1])
    assert (test.ids, test.groups.tolist()) == (["test/d.jpg"], [3])
    assert train.captions[1] == ["c0", "c1", "c2", "c3", "c4"]
    assert train.images[1] == str(tmp_path / "Flicker8k_Dataset" / "c.jpg")
    assert list(source.report("val").items()) == [
        ("images", 1),
        ("captions", 5),
        ("images without captions", 0),
        ("images with other than five captions", 0),
        ("listed images without captions, left out", 1),
        ("images of the caption file in no split", 1),
    ]
    assert "listed images without captions, left out" not in source.report("train")
    with pytest.raises(DataError, match=r"has no split 'all'\."):
        source.examples("all")


def test_one_split_file_alone(tmp_path):
    splits = {"Flickr_8k.testImages.txt": "a.jpg\n"}
    source = CaptionsCsvSource(write_flickr8k(tmp_path, "", splits))
    assert source.splits == ("test",)
    assert source.report("test")["images of the caption file in no split"] == 4


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "Flickr_8k.devImages.txt",
            "b.jpg\na.jpg\n",
            r"Flickr_8k\.devImages\.txt', line 2: the image 'a\.jpg' is already in the split 'train'",
        ),
        (
            "Flickr_8k.trainImages.txt",
            "a.jpg\n\n a.jpg\n",
            r"Flickr_8k\.trainImages\.txt', line 3: the image 'a\.jpg' is already in .*Fix: list",
        ),
        ("Flickr_8k.devImages.txt", "x.jpg\n", r"devImages\.txt' lists no image of .*Fix: use"),
        ("Flickr_8k.devImages.txt", b"b.jpg\n\xff", r"devImages\.txt', line 2, is not UTF-8"),
    ],
)
def test_damaged_split_files(tmp_path, name, text, message):
    root = write_flickr8k(tmp_path, "")
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        CaptionsCsvSource(root).examples("val")


BAR_HEADER = "image_name| comment_number| comment\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"captions\.txt', line 1, is nothing\. Fix: use a caption file with a header"),
        ("\n", r"captions\.txt', line 1, is ''\. Fix: use"),
        ("caption,image\n", r"line 1, is 'caption,image'\. Fix: use"),
        ("x.jpg\tA dog\n", r"line 1, is 'x\.jpg\\tA dog'\. Fix: use"),
        ("image,caption\n", r"captions\.txt' has no rows\. Fix: "),
        (BAR_HEADER, r"captions\.txt' has no rows\. Fix: "),
        (
            'image,caption\nx.jpg,"a\nb"\nx.jpg\n',
            r"captions\.txt', line 4, is 'x\.jpg'\. Fix: give it the form 'name\.jpg,caption'",
        ),
        (
            'image,caption\nx.jpg,a\nx.jpg,"never closed\nx.jpg,b\nx.jpg,c\n',
            r"captions\.txt', line 3, is not CSV \(unexpected end of data\)\. Fix: put the caption",
        ),
        ('image,caption\nx.jpg,"Sit" she said\n', r"line 2, is not CSV \(.*expected after"),
        (
            "image,caption\nx.jpg," + "y" * 200_000,
            r"line 2, is not CSV \(field larger than field limit",
        ),
        (
            BAR_HEADER + "x.jpg| 0| a\nx.jpg 1 A dog\n",
            r"line 3, is 'x\.jpg 1 A dog'\. Fix: give it the form 'name\.jpg\| 0\| caption'",
        ),
        (BAR_HEADER + "x.jpg| A dog\n", r"line 2, is 'x\.jpg\| A dog'\. Fix: "),
        (BAR_HEADER + "x.jpg| 4\n", r"line 2, is 'x\.jpg\| 4'\. Fix: "),
        (BAR_HEADER + "x.jpg| one| A dog\n", r"line 2, is 'x\.jpg\| one\| A dog'\. Fix: "),
        (
            "x.jpg#0\ta\nx.jpg#1 b\n",
            r"line 2, is 'x\.jpg#1 b'\. Fix: give it the form 'name\.jpg#0<",
        ),
        ("x.jpg#0\ta\nx.jpg\tb\n", r"line 2, is 'x\.jpg\\tb'\. Fix: give it"),
        ("x.jpg#0\ta\n#1\tb\n", r"line 2, is '#1\\tb'\. Fix: give it"),
        ("x.jpg#0\ta\n" + "z" * 500, r"line 2, is 'z{60}\.\.\.'\. Fix: give it"),
        (b"x.jpg#0\ta\nx.jpg#1\t\xff\n", r"captions\.txt', line 2, is not UTF-8\. Fix: "),
    ],
)
def test_damage_is_named_with_its_line_and_fix(tmp_path, text, message):
    root = write(tmp_path, "captions.txt", text)
    (tmp_path / "x.jpg").touch()
    source = CaptionsCsvSource(root)
    with pytest.raises(DataError, match=message) as error:
        source.examples("all")
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no folder '.*/nowhere'\. Fix: pass the folder"):
        CaptionsCsvSource(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no captions\.txt, results\.csv, \*\.token\.txt or"):
        CaptionsCsvSource(tmp_path)
    (tmp_path / "captions.txt").write_text(COMMAS)
    root = re.escape(str(tmp_path))
    message = (
        rf"There is no image '1000268201_693b08cb0e\.jpg', nor one of those after it, in '{root}' or "
        r"its folders images, Images, flickr30k-images, flickr30k_images, Flicker8k_Dataset, "
        rf"Flickr8k_Dataset\. Fix: unpack the images into '{root}/images'"
    )
    with pytest.raises(DataError, match=message):
        CaptionsCsvSource(tmp_path).examples("all")


def test_image_paths_looks_at_a_hundred_files_and_takes_the_first_folder(tmp_path):
    names = [(f"{n}.jpg", f"line {n}") for n in range(102)]
    for folder in ("images", "Images"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "100.jpg").touch()
    with pytest.raises(DataError, match=r"There is no image '0\.jpg'"):
        image_paths(str(tmp_path), names)
    for folder in ("images", "Images"):
        (tmp_path / folder / "99.jpg").touch()
    paths = image_paths(str(tmp_path), names)
    assert (len(paths), paths[101]) == (102, str(tmp_path / "images" / "101.jpg"))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/passwd", "is absolute"),
        ("../secret.jpg", "leads out of the image folder"),
        ("a\0b.jpg", "has a NUL byte"),
        ("x" * 4096, "is 4,096 bytes long"),
        ("", "is empty"),
        ("link.jpg", "is a link that leads out of"),
        ("folder/secret.jpg", "is a link that leads out of"),
    ],
)
@pytest.mark.parametrize("first", ["", "2199200615.jpg| 0| fine\n"])
def test_unsafe_file_names_are_refused(tmp_path, name, problem, first):
    (tmp_path / "secret.jpg").touch()
    text = BAR_HEADER + first + f"{name}| 0| A dog\n"
    root = write(tmp_path / "flickr", "results.csv", text)
    os.symlink(tmp_path / "secret.jpg", os.path.join(root, "link.jpg"))
    os.symlink(tmp_path, os.path.join(root, "folder"))
    line = 3 if first else 2
    message = rf"The line {line} of '.*/results\.csv' has a file name that {problem}"
    with pytest.raises(DataError, match=message):
        CaptionsCsvSource(root).examples("all")


@pytest.fixture(scope="module")
def flickr_root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("captions"), "captions.txt", COMMAS)


@st.composite
def damaged_texts(draw):
    data = bytearray(draw(st.sampled_from(list(TEXTS.values()))).encode())
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 5, 60])))
        new = st.sampled_from([b"", b"\n", b'"', b",", b"|", b"#", b"\t", b"\0", b"/", b"..", b"x"])
        data[start:end] = draw(st.one_of(new, new, st.binary(max_size=1)))
    return bytes(data)


@hypothesis.settings(derandomize=True, max_examples=60, deadline=None)
@hypothesis.given(data=damaged_texts())
def test_a_damaged_file_gives_examples_or_a_data_error(flickr_root, data):
    path = os.path.join(flickr_root, "damaged.txt")
    with open(path, "wb") as file:
        file.write(data)
    try:
        examples = CaptionsCsvSource(path).examples("all")
    except DataError as error:
        assert "Fix: " in str(error)
        return
    assert len(set(examples.ids)) == len(examples) == len(examples.images) > 0
    assert examples.groups.tolist() == list(range(len(examples)))
    for image in examples.images:
        assert os.path.realpath(image).startswith(os.path.realpath(flickr_root) + os.sep)


def test_the_real_subset(shared_data):
    source = CaptionsCsvSource(os.path.join(shared_data, "flickr8k_subset"))
    assert source.splits == ("all",)
    assert source.report("all") == {
        "images": 300,
        "captions": 1500,
        "images without captions": 0,
        "images with other than five captions": 0,
    }
    examples = source.examples("all")
    assert examples.ids[0] == "all/1015584366_dfcec3c85a.jpg"
    assert examples.captions[0][0] == "A black dog leaps over a log ."
    assert all(os.path.isfile(image) for image in examples.images)
    assert not any(
        text.startswith('"') and text.endswith('"') for t in examples.captions for text in t
    )
