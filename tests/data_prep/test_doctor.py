import io
import json
import os
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
from rich.console import Console

from data_prep.doctor import Diagnosis, examine, print_diagnosis, save
from data_prep.sources.coco import CocoSource

CATEGORIES = [
    {"id": 1, "name": "dog"},
    {"id": 2, "name": "cat"},
    {"id": 3, "name": "sofa [$x$]"},
    {"id": 4, "name": "zebra"},
]
TRAIN_FILES = {
    1: "one.jpg",
    2: "saved_again.jpg",
    3: "missing.jpg",
    4: "empty.jpg",
    5: "truncated.jpg",
    6: "text.jpg",
    7: "huge.png",
    8: "turned.jpg",
    9: "red.png",
    10: "green.png",
    11: "alone.png",
}
VAL_FILES = {21: "copy_of_one.jpg", 22: "other.png"}
TRAIN_LABELS = [(1, 1), (1, 2), (2, 1), (8, 1), (9, 3), (10, 1), (10, 9), (3, 2)]  # image, category
VAL_LABELS = [(21, 1), (22, 4)]
LONG = "a " * 30 + "dog"  # 31 words, and two special tokens
TRAIN_CAPTIONS = [
    (1, "a dog"),
    (1, "a dog"),
    (2, "a dog and a cat"),
    (3, "a cat"),
    (4, "caf\ufffd"),
    (5, LONG),
    (6, "a bell \x07 rings"),
    (7, "a wall"),
    (8, "a dog lies"),
    (9, "red"),
    (10, "green"),
    (99, "of no image"),
]
VAL_CAPTIONS = [(21, "a dog"), (22, "a zebra")]


def picture(seed, height=64, width=96):
    """A smooth random picture."""
    grid = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(image, quality=95):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def flat(red, green, blue):
    return png(np.full((32, 32, 3), (blue, green, red), np.uint8))


def turned(data, orientation):
    """A JPEG with an EXIF segment that has nothing but the orientation."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def huge_png():
    header = b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk


def write_split(root, split, files, contents, labels, captions):
    folder = root / f"{split}2017"
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    images = [{"id": number, "file_name": name} for number, name in files.items()]
    objects = [{"image_id": image, "category_id": category} for image, category in labels]
    texts = [{"image_id": image, "caption": text} for image, text in captions]
    for kind, annotations in (("instances", objects), ("captions", texts)):
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        path = root / "annotations" / f"{kind}_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """The root of a COCO data set with one of each damage."""
    root = tmp_path_factory.mktemp("damaged")
    one = jpeg(picture(1))
    contents = {
        "one.jpg": one,
        "saved_again.jpg": jpeg(picture(1), quality=50),
        "empty.jpg": b"",
        "truncated.jpg": jpeg(picture(5))[:-200],
        "text.jpg": b"this is no image",
        "huge.png": huge_png(),
        "turned.jpg": turned(jpeg(picture(8)), 6),
        "red.png": flat(150, 0, 0),
        "green.png": flat(0, 76, 0),  # as bright as the red
        "alone.png": png(picture(11, 48, 48)),
    }
    write_split(root, "train", TRAIN_FILES, contents, TRAIN_LABELS, TRAIN_CAPTIONS)
    contents = {"copy_of_one.jpg": one, "other.png": png(picture(22, 40, 60))}
    write_split(root, "val", VAL_FILES, contents, VAL_LABELS, VAL_CAPTIONS)
    return root


@pytest.fixture(scope="module")
def diagnosis(damaged):
    return examine(CocoSource(damaged, strict=False))


def path_of(root, split, number):
    files = TRAIN_FILES if split == "train" else VAL_FILES
    return str(root / f"{split}2017" / files[number])


def test_images(damaged, diagnosis):
    reasons = {
        3: "does not exist",
        4: "is empty",
        5: "is damaged",
        6: "is no JPEG, PNG or BMP",
        7: "has 400,000,000 pixels, more than 40,000,000",
    }
    assert diagnosis.splits["train"]["examples"] == 11
    assert diagnosis.splits["train"]["images"] == {
        "files": 11,
        "absent": 0,
        "not_upright": 1,
        "height": [32, 56.0, 96],
        "width": [32, 56.0, 96],
        "sizes": [[64, 96, 2], [32, 32, 2], [96, 64, 1], [48, 48, 1]],
        # 64 / 96 is below 0.67, 32 / 32 and 48 / 48 are in 0.95 to 1.05, 96 / 64 is in 1.5 to 2.
        "aspect_ratios": [0, 1, 0, 0, 3, 0, 0, 2, 0],
        "unreadable": [
            {"id": f"train/{n}", "path": path_of(damaged, "train", n), "reason": reason}
            for n, reason in reasons.items()
        ],
        "repeated": 1,
        "in_other_splits": 2,
    }
    assert diagnosis.splits["val"]["images"] == {
        "files": 2,
        "absent": 0,
        "not_upright": 0,
        "height": [40, 52.0, 64],
        "width": [60, 78.0, 96],
        "sizes": [[64, 96, 1], [40, 60, 1]],
        "aspect_ratios": [0, 0, 0, 0, 0, 0, 0, 2, 0],
        "unreadable": [],
        "repeated": 0,
        "in_other_splits": 1,
    }


def test_duplicates(damaged, diagnosis):
    places = [("train", 1), ("train", 2), ("val", 21)]
    assert diagnosis.duplicates == [
        {
            "same_file": False,
            "cross_split": True,
            "images": [
                {"split": split, "id": f"{split}/{n}", "path": path_of(damaged, split, n)}
                for split, n in places
            ],
        }
    ]


def test_captions(diagnosis):
    assert diagnosis.splits["train"]["captions"] == {
        "count": 11,
        "per_example": [0, 1.0, 2],
        "token_kind": "words",
        "sequence_length": 32,
        "tokens": [3, 4.0, 33],
        "token_lengths": [[3, 3], [4, 4], [5, 1], [6, 1], [7, 1], [33, 1]],
        "empty": 1,
        "overlong": 1,
        "no_text": 2,
        "repeated": 1,
    }
    captions = diagnosis.splits["val"]["captions"]
    assert (captions["count"], captions["tokens"], captions["overlong"]) == (2, [4, 4.0, 4], 0)


def test_labels(diagnosis):
    assert diagnosis.label_names == ["dog", "cat", "sofa [$x$]", "zebra"]
    assert diagnosis.label_kind == "multi_label"
    assert diagnosis.splits["train"]["labels"] == {
        "counts": [4, 2, 1, 0],
        "classes_without_example": 1,
        "examples_without_label": 5,
        "labels_per_example": pytest.approx(7 / 11),
        "imbalance": 4.0,
        "cooccurrence": [[4, 1, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
    }
    assert diagnosis.splits["val"]["labels"]["counts"] == [1, 0, 0, 1]


def test_findings_come_with_examples_the_losses_first(damaged, diagnosis):
    found = [(f["is_loss"], f["split"], f["count"], f["what"]) for f in diagnosis.findings]
    assert found == [
        (True, "train", 5, "images that cannot be read"),
        (True, "train", 1, "annotations with an unknown category id, left out"),
        (True, "train", 1, "captions without an image, left out"),
        (False, "train and val", 1, "pictures that are in several splits"),
        (False, "train", 5, "examples without a label"),
        (False, "train", 2, "captions with characters that are no text"),
        (False, "val", 2, "classes without an example"),
        (False, "train", 1, "examples without a caption"),
        (False, "train", 1, "captions of more than 32 tokens (words, [CLS] and [SEP])"),
        (False, "train", 1, "captions that repeat one of the same example"),
        (False, "train", 1, "classes without an example"),
        (False, "train", 1, "images that repeat another one of the split"),
    ]
    examples = {
        (f["split"], f["what"].split()[0], f["count"]): f["examples"] for f in diagnosis.findings
    }

    def example(number, note, split="train"):
        return {"id": f"{split}/{number}", "path": path_of(damaged, split, number), "note": note}

    assert examples["train", "images", 5][:2] == [
        example(3, "does not exist"),
        example(4, "is empty"),
    ]
    assert [e["id"] for e in examples["train", "examples", 5]] == [
        f"train/{n}" for n in (4, 5, 6, 7, 11)
    ]
    assert examples["train", "captions", 2] == [
        example(4, "caf\ufffd"),
        example(6, "a bell \x07 rings"),
    ]
    assert examples["val", "classes", 2] == [
        {"id": "", "path": "", "note": name} for name in ("cat", "sofa [$x$]")
    ]
    assert examples["train and val", "pictures", 1] == [
        example(1, "is val/21  val2017/copy_of_one.jpg")
    ]
    assert examples["train", "images", 1] == [example(1, "is train/2  train2017/saved_again.jpg")]


def test_losses_and_warnings_are_sentences(diagnosis):
    assert diagnosis.losses == [
        "Images that cannot be read (train): 5. More than 10%: training starts only where that is "
        "allowed.",
        "Annotations with an unknown category id, left out (train): 1. Training does not see them.",
        "Captions without an image, left out (train): 1. Training does not see them.",
    ]
    assert len(diagnosis.warnings) == 9
    assert (
        "Pictures that are in several splits (train and val): 1. What was learned by heart counts "
        "as right: the figures will be too good."
    ) in diagnosis.warnings
    assert diagnosis.exit_code == 1


def test_the_report_of_the_source_is_kept(diagnosis):
    assert diagnosis.splits["train"]["report"] == {
        "images": 11,
        "captions": 11,
        "objects": 8,
        "images without labels": 5,
        "images without captions": 1,
        "annotations with an unknown category id, left out": 1,
        "categories without an example": 1,
        "captions without an image, left out": 1,
    }


def test_a_json_round_trip_changes_nothing(damaged, diagnosis):
    assert (diagnosis.source, diagnosis.root) == ("CocoSource", str(damaged))
    assert Diagnosis(**json.loads(json.dumps(diagnosis.to_dict()))) == diagnosis


def test_the_files_are_written(tmp_path, diagnosis):
    folder = tmp_path / "new" / "doctor"
    paths = save(diagnosis, str(folder))
    figures = ["labels.png", "cooccurrence.png", "sizes.png", "tokens.png", "duplicates.png"]
    assert paths == [str(folder / name) for name in ["doctor.json", *figures]]
    assert sorted(os.listdir(folder)) == sorted(["doctor.json", *figures])
    assert Diagnosis(**json.loads((folder / "doctor.json").read_text())) == diagnosis
    for name in figures:
        image = cv2.imread(str(folder / name))
        assert min(image.shape[:2]) > 300, name
        assert image.std() > 15, name
    # The contact sheet shows the pictures: most of it is white where there are none.
    colors = cv2.imread(str(folder / "duplicates.png")).reshape(-1, 3).astype(int)
    assert (np.ptp(colors, axis=1) > 30).mean() > 0.2


def clean_set(root):
    for split, first in (("train", 1), ("val", 11)):
        files = {number: f"{number}.png" for number in range(first, first + 4)}
        contents = {name: png(picture(number)) for number, name in files.items()}
        labels = [(number, 1 + number % 4) for number in files]
        captions = [(number, f"picture number {number}") for number in files]
        write_split(root, split, files, contents, labels, captions)
    return CocoSource(root)


def printed(diagnosis):
    console = Console(record=True, width=120, file=io.StringIO())
    print_diagnosis(diagnosis, console)
    return console.export_text()


def test_a_clean_set_has_no_findings(tmp_path):
    diagnosis = examine(clean_set(tmp_path / "data"))
    assert (diagnosis.findings, diagnosis.losses, diagnosis.warnings) == ([], [], [])
    assert (diagnosis.exit_code, diagnosis.duplicates) == (0, [])
    text = printed(diagnosis)
    assert "Nothing would be lost" in text
    assert "Findings" not in text
    # A figure of an earlier time would be mistaken for one of this.
    (tmp_path / "duplicates.png").write_bytes(b"old")
    (tmp_path / "mine.png").write_bytes(b"kept")
    names = ["doctor.json", "labels.png", "cooccurrence.png", "sizes.png", "tokens.png"]
    assert save(diagnosis, str(tmp_path)) == [str(tmp_path / name) for name in names]
    assert sorted(os.listdir(tmp_path)) == sorted(["data", "mine.png", *names])


def test_one_split_alone_has_no_copies_in_another(damaged):
    diagnosis = examine(CocoSource(damaged, strict=False), ["train"])
    assert list(diagnosis.splits) == ["train"]
    assert diagnosis.splits["train"]["images"]["in_other_splits"] == 0
    assert [group["cross_split"] for group in diagnosis.duplicates] == [False]


def test_what_is_printed(diagnosis):
    text = printed(diagnosis)
    lines = [" ".join(re.sub("[│┃]", " ", line).split()) for line in text.splitlines()]
    for line in (
        "train val",
        "examples 11 2",
        "images that cannot be read 5 0",
        "height in pixels, min / median / max 32 / 56 / 96 40 / 52 / 64",
        "images turned by EXIF orientation 1 0",
        "images also in another split 2 1",
        "tokens (words + 2) per caption, min / median / max 3 / 4 / 33 4 / 4 / 4",
        "labels per example, mean 0.6364 1",
        "train 5 images that cannot be read train/3 train2017/missing.jpg does not exist",
        "train/4 train2017/empty.jpg is empty",
        "val 2 classes without an example cat",
        "sofa [$x$]",
        *(f"Loss: {sentence}" for sentence in diagnosis.losses),
        *(f"Warning: {sentence}" for sentence in diagnosis.warnings),
    ):
        assert line in lines, line
    # Signs that would steer the terminal are written out.
    assert "a bell \\x07 rings" in text and "\x07" not in text
    assert "Nothing would be lost" not in text


def test_progress_is_told_over_all_splits(damaged):
    calls = []
    examine(CocoSource(damaged, strict=False), progress=lambda *call: calls.append(call))
    assert calls[-1] == (13, 13)
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {13}


def test_word_pieces_are_counted_with_a_vocabulary(tmp_path):
    source = clean_set(tmp_path / "data")
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "pic", "##ture", "number", "1", "##2"]) + "\n")
    captions = examine(source, ["val"], tokenizer_vocabulary=str(path), sequence_length=6)
    captions = captions.splits["val"]["captions"]
    # [CLS] pic ##ture number 1 ##2 [SEP], and one piece less for an unknown number.
    assert captions["token_lengths"] == [[6, 3], [7, 1]]
    assert (captions["token_kind"], captions["overlong"]) == ("word pieces", 1)


def test_the_real_subset(shared_data, tmp_path):
    source = CocoSource(os.path.join(shared_data, "coco_subset"))
    vocabulary = os.path.join(shared_data, "bert_uncased_vocab", "vocab.txt")
    diagnosis = examine(source, ["val"], tokenizer_vocabulary=vocabulary)
    split = diagnosis.splits["val"]
    assert split["images"]["files"] == 350
    assert (split["images"]["unreadable"], diagnosis.duplicates) == ([], [])
    assert sum(count for _, _, count in split["images"]["sizes"]) == 350
    labels = dict(zip(diagnosis.label_names, split["labels"]["counts"], strict=True))
    assert labels["person"] == 332
    assert [name for name, count in labels.items() if not count] == ["toaster", "hair drier"]
    assert split["labels"]["cooccurrence"][0][0] == 332
    assert (split["captions"]["count"], split["captions"]["tokens"]) == (1745, [9, 13.0, 45])
    assert (diagnosis.exit_code, len(diagnosis.warnings)) == (0, 3)
