import os
import re
import shutil

import numpy as np
import pytest
import scipy.sparse

from data_prep.errors import DataError
from data_prep.sources.image_folder import ImageFolderSource


def write(root, *names):
    """Writes empty files, or folders where a name ends in "/"; returns the root."""
    for name in names:
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not name.endswith("/"):
            with open(path, "wb"):
                pass
    return str(root)


def test_class_folders_without_splits(tmp_path):
    source = ImageFolderSource(write(tmp_path, "dog/2.jpg", "cat/1.png", "dog/1.jpg"))
    assert source.splits == ("all",)
    assert source.label_names == ["cat", "dog"]
    assert source.label_kind == "multi_class"
    examples = source.examples("all")
    assert examples.ids == ["all/cat/1.png", "all/dog/1.jpg", "all/dog/2.jpg"]
    assert examples.images == [str(tmp_path / n) for n in ("cat/1.png", "dog/1.jpg", "dog/2.jpg")]
    assert examples.labels.dtype == np.uint8
    assert examples.labels.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert (examples.groups.tolist(), examples.groups.dtype) == ([0, 1, 2], np.int64)
    assert examples.captions is None
    assert list(source.report("all").items()) == [("images", 3), ("classes", 2)]
    assert source.examples("all") is examples


@pytest.mark.parametrize("val", ["val", "validation", "valid"])
def test_splits_share_their_classes_and_the_running_number(tmp_path, val):
    root = write(
        tmp_path,
        *("train/dog/1.jpg", "train/cat/1.jpg", "train/cat/2.jpg"),
        *(f"{val}/dog/1.jpg", f"{val}/emu/1.jpg"),
        *("test/emu/1.jpg", "train/ant/"),
    )
    source = ImageFolderSource(root)
    assert source.splits == ("train", "val", "test")
    assert source.label_names == ["ant", "cat", "dog", "emu"]
    train, valid, test = map(source.examples, source.splits)
    assert train.ids == ["train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg"]
    assert train.labels.tolist() == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert valid.ids == ["val/dog/1.jpg", "val/emu/1.jpg"]
    assert valid.images[1] == str(tmp_path / val / "emu" / "1.jpg")
    assert valid.labels.tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]
    groups = [examples.groups.tolist() for examples in (train, valid, test)]
    assert groups == [[0, 1, 2], [3, 4], [5]]
    # The numbers do not depend on which split is read first.
    assert ImageFolderSource(root).examples("test").groups.tolist() == [5]
    assert source.report("train") == {"images": 3, "classes": 4, "classes without an image": 2}
    assert source.report("test") == {"images": 1, "classes": 4, "classes without an image": 3}


def test_extensions_nested_folders_and_what_is_left_out(tmp_path):
    root = write(
        tmp_path,
        *("a/1.JPG", "a/2.jpeg", "a/3.Png", "a/4.gif", "a/5.bmp", "a/6.webp", "a/labels.txt"),
        *("a/z/1.jpg", "a/b/2.jpg", "a/b/1.jpg", "a/b/c/1.JPEG", "a/b/c/notes.md", "a/jpg"),
        *("a/.hidden.jpg", ".git/1.jpg", "a/.cache/1.jpg", ".DS_Store"),
        *("loose.jpg", "README.md"),
    )
    source = ImageFolderSource(root)
    assert source.label_names == ["a"]
    assert source.examples("all").ids == [
        *("all/a/1.JPG", "all/a/2.jpeg", "all/a/3.Png", "all/a/5.bmp"),
        *("all/a/b/1.jpg", "all/a/b/2.jpg", "all/a/b/c/1.JPEG", "all/a/z/1.jpg"),
    ]
    assert source.report("all") == {
        "images": 8,
        "classes": 1,
        "files that are no images, left out": 6,
        "images outside a class folder, left out": 1,
    }


@pytest.mark.parametrize("num_classes", [64, 65])
def test_labels_of_many_classes_are_sparse(tmp_path, num_classes):
    names = [f"{n:03d}/{k}.jpg" for n in range(num_classes) for k in range(2)]
    labels = ImageFolderSource(write(tmp_path, *names)).examples("all").labels
    expected = np.repeat(np.eye(num_classes), 2, axis=0)
    if num_classes == 64:
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected)
    else:
        assert isinstance(labels, scipy.sparse.csr_array)
        assert labels.dtype == np.float32
        np.testing.assert_array_equal(labels.toarray(), expected)
        rows = labels[np.array([129, 0])].toarray()
        assert rows.argmax(1).tolist() == [64, 0]


def test_a_class_may_have_the_name_of_a_split(tmp_path):
    source = ImageFolderSource(write(tmp_path, "train/1.jpg", "car/1.jpg"))
    assert (source.splits, source.label_names) == (("all",), ["car", "train"])
    root = write(tmp_path / "b", "train/train/1.jpg", "train/car/1.jpg")
    assert ImageFolderSource(root).label_names == ["car", "train"]


def test_folders_beside_the_splits_are_counted(tmp_path):
    root = write(tmp_path, "train/a/1.jpg", "val/a/1.jpg", "devkit/data/x.mat", "extra/", ".git/")
    source = ImageFolderSource(root)
    assert source.splits == ("train", "val")
    for split in source.splits:
        assert source.report(split)["folders beside the splits, left out"] == 2


@pytest.mark.parametrize(
    ("names", "split", "message"),
    [
        ((), "all", r"'{root}' holds no class folders\. Fix: put the images of each class"),
        (("1.jpg",), "all", r"'{root}' holds no class folders\. Fix: "),
        (("a/", "b/x.txt"), "all", r"'{root}' holds no images in class folders \(\.jpg, .*Fix: "),
        (("train/1.jpg", "val/2.jpg"), "train", r"'{root}' holds no class folders\. Fix: "),
        (
            ("train/a/1.jpg", "test/1.jpg"),
            "test",
            r"'{root}/test' holds no images in class folders .*Fix: put them there, or remove",
        ),
        (
            ("train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"),
            "train",
            r"'{root}' holds several folders of the split 'val': val, valid\. Fix: keep one",
        ),
        (("train/a/1.jpg",), "val", r"'{root}' has no split 'val'\. .*Known: train"),
    ],
)
def test_what_is_missing_is_named(tmp_path, names, split, message):
    root = write(tmp_path, *names)
    with pytest.raises(DataError, match=message.replace("{root}", re.escape(root))):
        ImageFolderSource(root).examples(split)


@pytest.mark.parametrize("name", ["nowhere", "file.jpg"])
def test_a_root_that_is_no_folder(tmp_path, name):
    write(tmp_path, "file.jpg")
    with pytest.raises(DataError, match=rf"There is no folder '.*/{name}'\. Fix: pass the folder"):
        ImageFolderSource(tmp_path / name)


def test_a_split_without_classes_does_not_spoil_the_others(tmp_path):
    source = ImageFolderSource(write(tmp_path, "train/a/1.jpg", "test/1.jpg"))
    assert source.examples("train").ids == ["train/a/1.jpg"]


def test_a_folder_that_vanishes_is_named(tmp_path):
    source = ImageFolderSource(write(tmp_path, "train/a/1.jpg", "val/a/1.jpg"))
    shutil.rmtree(tmp_path / "val")
    message = r"The folder '.*/val' cannot be read \(No such file or directory\)\. Fix: restore it"
    with pytest.raises(DataError, match=message):
        source.examples("train")


@pytest.mark.parametrize(
    ("link", "target", "record"),
    [
        ("train/a/2.jpg", "secret.jpg", "image 'a/2.jpg' in .*/train has a file name"),
        ("train/a/b/2.jpg", "secret.jpg", "image 'a/b/2.jpg' in .*/train has a file name"),
        ("train/b", "secrets", "class 'b' in .*/train has a file name"),
        ("train/a/b/c", "secrets", "folder 'a/b/c' in .*/train has a file name"),
    ],
)
def test_links_that_lead_out_are_refused(tmp_path, link, target, record):
    write(tmp_path, "secret.jpg", "secrets/1.jpg")
    root = write(tmp_path / "data", "train/a/1.jpg", "train/a/b/1.jpg")
    os.symlink(tmp_path / target, os.path.join(root, link))
    with pytest.raises(DataError, match=f"The {record} that is a link that leads out of"):
        ImageFolderSource(root).examples("train")


def test_links_that_stay_inside(tmp_path):
    root = write(tmp_path, "a/1.jpg")
    os.symlink(tmp_path / "a" / "1.jpg", tmp_path / "a" / "2.jpg")
    os.symlink(tmp_path / "a", tmp_path / "a" / "again")  # a circle
    os.symlink(tmp_path / "a" / "1.jpg", tmp_path / "a" / "3.txt")
    source = ImageFolderSource(root)
    assert source.examples("all").ids == ["all/a/1.jpg", "all/a/2.jpg"]
    assert source.report("all") == {
        "images": 2,
        "classes": 1,
        "files that are no images, left out": 1,
        "links to folders, left out": 1,
    }


def test_the_folders_of_the_splits_may_be_links(tmp_path):
    write(tmp_path / "disk", "a/1.jpg")
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "data" / "train")
    examples = ImageFolderSource(tmp_path / "data").examples("train")
    assert examples.images == [str(tmp_path / "data" / "train" / "a" / "1.jpg")]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (b"a/\xff.jpg", r"the file name 'a/\\udcff\.jpg', which is not UTF-8"),
        (b"\xff/1.jpg", r"the file name '\\udcff', which is not UTF-8"),
        (b"a/x\\..\\y.jpg", r"a file name that leads out of the image folder: 'a/x.*y\.jpg'"),
        (b"a/" + b"/".join([b"x" * 250] * 5) + b"/1.jpg", r"a file name that is 1,262 bytes long"),
    ],
)
def test_unsafe_names_are_refused(tmp_path, name, problem):
    write(tmp_path, "a/1.jpg")
    path = os.path.join(os.fsencode(tmp_path), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb"):
        pass
    with pytest.raises(DataError, match=rf"The (image|class) .* in {tmp_path} has {problem}"):
        ImageFolderSource(tmp_path).examples("all")
