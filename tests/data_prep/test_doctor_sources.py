"""The doctor on sources that lack images, captions or labels, or hold them in another way."""

import dataclasses
import io
import os

import cv2
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console
from scipy import sparse

from data_prep import doctor
from data_prep.doctor import examine, print_diagnosis, save
from data_prep.errors import DataError
from data_prep.records import Records
from data_prep.sources.source import Examples, Source
from tests import toys


def png(seed=1):
    """A smooth random picture of 64 by 96 pixels."""
    grid = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = cv2.resize(grid, (96, 64), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", image)[1].tobytes()


def printed(diagnosis):
    console = Console(record=True, width=120, file=io.StringIO())
    print_diagnosis(diagnosis, console)
    return console.export_text()


class MadeSource(Source):
    """A source of examples that are made in the test."""

    def __init__(self, splits, label_names=(), label_kind="multi_label", report=None):
        super().__init__(None)
        self.made, self.splits, self.made_report = splits, tuple(splits), report or {}
        self.label_names, self.label_kind = list(label_names), label_kind
        self.made_records = None

    def records(self, split):
        return self.made_records

    def _read_split(self, split):
        return self.made[split], self.made_report


def examples(labels, **columns):
    count = labels.shape[0]
    return Examples([f"e/{i}" for i in range(count)], np.arange(count), labels, **columns)


def test_text_without_images_or_labels(tmp_path):
    captions = [["one"], [" ", ""], []]
    source = MadeSource({"all": examples(np.zeros((3, 0), np.uint8), captions=captions)})
    diagnosis = examine(source)
    split = diagnosis.splits["all"]
    assert (split["images"], split["labels"]) == (None, None)
    assert (split["captions"]["count"], split["captions"]["empty"]) == (3, 2)
    assert [e["id"] for e in diagnosis.findings[0]["examples"]] == ["e/1", "e/2"]
    assert diagnosis.losses == [
        "Examples with nothing to see (all): 2. No image, no text or other modality: training leaves "
        "them out."
    ]
    assert diagnosis.warnings == []
    assert save(diagnosis, str(tmp_path))[1:] == [str(tmp_path / "tokens.png")]
    assert "examples without a caption" in printed(diagnosis)


def test_images_without_captions_and_absent_images(tmp_path):
    path = str(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(png())
    # Two questions on one image: one file, which is no copy of itself.
    index = examples(np.eye(3, dtype=np.uint8), images=[path, "", path])
    diagnosis = examine(MadeSource({"train": index}, "abc", "multi_class"))
    split = diagnosis.splits["train"]
    assert split["captions"] is None
    assert (split["images"]["files"], split["images"]["absent"]) == (1, 1)
    assert diagnosis.duplicates == []
    assert diagnosis.losses == [
        "Examples with nothing to see (train): 1. No image, no text or other modality: training "
        "leaves them out."
    ]
    assert diagnosis.warnings == []
    # The same file in another split is a copy.
    diagnosis = examine(MadeSource({"train": index, "val": index}, "abc", "multi_class"))
    assert [group["same_file"] for group in diagnosis.duplicates] == [True]
    names = [os.path.basename(name) for name in save(diagnosis, str(tmp_path / "out"))]
    # Of classes that exclude each other, none come together.
    assert names == ["doctor.json", "labels.png", "sizes.png", "duplicates.png"]


def test_examples_without_an_image_that_have_a_caption_are_no_loss():
    index = examples(np.ones((2, 1), np.uint8), images=["", ""], captions=[["a"], ["b"]])
    diagnosis = examine(MadeSource({"train": index}, ["a"]))
    assert diagnosis.losses == []
    assert diagnosis.warnings == [
        "Examples without an image (train): 2. The model sees that it is missing."
    ]


def test_every_example_of_an_unreadable_image_is_lost(tmp_path):
    index = examples(
        np.ones((30, 1), np.uint8),
        images=[*[str(tmp_path / "no.png")] * 2, *[""] * 28],
        captions=[["a"]] * 30,
    )
    diagnosis = examine(MadeSource({"train": index}, ["a"]))
    assert [item["id"] for item in diagnosis.splits["train"]["images"]["unreadable"]] == [
        "e/0",
        "e/1",
    ]
    assert diagnosis.splits["train"]["images"]["height"] is None
    assert diagnosis.losses == [
        "Images that cannot be read (train): 2. Training leaves their examples out."
    ]
    assert "sizes.png" not in " ".join(save(diagnosis, str(tmp_path / "out")))


def test_soft_sparse_labels_of_many_classes(tmp_path):
    values = ([0.3, 1.0, 0.6, 0.0], ([0, 0, 2, 1], [5, 249, 5, 7]))
    labels = sparse.csr_array(values, (3, 250), dtype=np.float32)
    names = [f"answer {i}" for i in range(250)]
    diagnosis = examine(MadeSource({"train": examples(labels)}, names, "soft"))
    found = diagnosis.splits["train"]["labels"]
    assert {i: n for i, n in enumerate(found["counts"]) if n} == {5: 2, 249: 1}
    assert (found["classes_without_example"], found["examples_without_label"]) == (248, 1)
    assert (found["labels_per_example"], found["imbalance"]) == (1.0, 2.0)
    assert found["cooccurrence"] is None
    assert save(diagnosis, str(tmp_path))[1:] == [str(tmp_path / "labels.png")]


def test_several_labels_where_one_should_be_are_a_warning():
    labels = np.array([[1, 1], [1, 0]], np.uint8)
    diagnosis = examine(MadeSource({"train": examples(labels)}, "ab", "multi_class"))
    assert diagnosis.warnings == [
        "Examples with several labels (train): 1. Exactly one class should be true."
    ]


def test_the_targets_of_a_regression():
    targets = np.array([[1, 5], [3, np.nan], [8, np.inf], [-2, 6]], np.float32)
    diagnosis = examine(MadeSource({"train": examples(targets)}, ["size", "age"], "regression"))
    assert diagnosis.splits["train"]["labels"] == {"targets": [[-2.0, 2.5, 8.0], [5.0, 5.5, 6.0]]}
    assert diagnosis.losses == [
        "Examples with a target that is no finite number (train): 2. The loss would become no number."
    ]
    assert [e["id"] for e in diagnosis.findings[0]["examples"]] == ["e/1", "e/2"]
    assert "size, min / mean / max" in printed(diagnosis)
    nothing = examples(np.full((1, 1), np.nan, np.float32))
    diagnosis = examine(MadeSource({"train": nothing}, ["size"], "regression"))
    assert diagnosis.splits["train"]["labels"] == {"targets": [None]}


def test_entries_of_the_report_are_findings_by_their_names():
    report = {
        "rows": 7,
        "rows, left out": 3,
        "words unknown": 2,
        "rows repaired": 4,
        "questions without an annotation": 5,
        "empty captions, left out": 0,
        "images without labels": 6,  # found by the doctor itself
    }
    index = examples(np.zeros((7, 0), np.uint8))
    diagnosis = examine(MadeSource({"all": index}, report=report))
    assert diagnosis.losses == [
        "Rows, left out (all): 3. Training does not see them.",
        "Words unknown (all): 2. Training does not see them.",
    ]
    assert diagnosis.warnings == [
        "Questions without an annotation (all): 5. The source counted them.",
        "Rows repaired (all): 4. The source counted them.",
    ]


def test_no_more_than_five_examples_are_kept():
    index = examples(np.zeros((9, 1), np.uint8))
    finding = examine(MadeSource({"all": index}, ["a"])).findings[0]
    assert (finding["count"], len(finding["examples"])) == (9, doctor.NUM_SHOWN)


def test_images_are_read_from_prepared_records(tmp_path):
    path = str(tmp_path / "images.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for data in (png(1), png(2), b"damaged", png(1)):
            writer.write(data)
    # The record at position p is row 3 - p; the paths are those of the files once packed.
    index = examples(np.ones((4, 1), np.uint8), images=["a.png", "b.png", "c.png", "a.png"])
    source = MadeSource({"train": index}, ["a"])

    def parse(records, positions):
        return 3 - positions, records

    source.made_records = Records([path], [4], parse, np.arange(4))
    calls = []
    diagnosis = examine(source, progress=lambda *call: calls.append(call))
    found = diagnosis.splits["train"]["images"]
    assert (found["files"], found["sizes"]) == (4, [[64, 96, 3]])
    assert found["unreadable"] == [
        {"id": "e/1", "path": "b.png", "reason": "is damaged in its record file"}
    ]
    assert [[i["id"] for i in group["images"]] for group in diagnosis.duplicates] == [
        ["e/0", "e/3"]
    ]
    assert diagnosis.losses == [
        "Images that cannot be read (train): 1. Training would end at the first. Fix: make the "
        "shards anew."
    ]
    assert calls[-1] == (4, 4)
    # The files are gone, so the contact sheet has grey squares for them.
    assert str(tmp_path / "out" / "duplicates.png") in save(diagnosis, str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"There is no file '.*vocab\.txt'\. Fix: "),
        (b"\xff", r"vocab\.txt', line 1, is not UTF-8\. Fix: "),
        (b"a\nb\n", r"vocab\.txt' has no line \[UNK\]\. Fix: pass the vocabulary of a BERT"),
        (b"[UNK]\na\na\n", r"vocab\.txt' is no vocabulary of word pieces \(.*unique.*\)\. Fix: "),
    ],
)
def test_a_wrong_vocabulary_is_named(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        examine(MadeSource({}), tokenizer_vocabulary=str(path))


def test_a_sequence_has_room_for_a_token():
    with pytest.raises(ValueError, match=r"`sequence_length` must be at least 3.*Received: .*=2"):
        examine(MadeSource({}), sequence_length=2)


def test_recordings_that_cannot_be_read_are_a_loss(tmp_path):
    good, bad = str(tmp_path / "good.wav"), str(tmp_path / "bad.wav")
    (tmp_path / "good.wav").write_bytes(toys.wav(np.zeros(100)))
    (tmp_path / "bad.wav").write_bytes(b"garbage")
    index = examples(np.ones((3, 1), np.uint8), captions=[["a"]] * 3)
    index = dataclasses.replace(index, audio=[good, bad, ""])
    diagnosis = examine(MadeSource({"train": index}, "a"))
    assert diagnosis.losses == [
        "Recordings that cannot be read (train): 1. Training leaves their examples out, up to the share "
        "that is allowed."
    ]
    (shown,) = diagnosis.findings[0]["examples"]
    assert (shown["id"], shown["note"]) == (index.ids[1], "bad.wav is no whole 16-bit WAV file")
