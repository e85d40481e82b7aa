import copy
import json
import os
import re

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from data_prep.errors import DataError
from data_prep.sources import files
from data_prep.sources.karpathy import KarpathySource


def entry(imgid, split, *captions, **more):
    """One image as Karpathy's files have it, with the keys that nobody reads."""
    sentences = [
        {"raw": raw, "tokens": raw.lower().split(), "imgid": imgid, "sentid": 10 * imgid + n}
        for n, raw in enumerate(captions)
    ]
    return {
        "filename": f"{imgid}.jpg",
        "imgid": imgid,
        "split": split,
        "sentids": [sentence["sentid"] for sentence in sentences],
        "sentences": sentences,
        **more,
    }


def coco_entry(imgid, split, *captions, folder="val2014"):
    cocoid = 1000 - imgid
    name = f"COCO_{folder}_{cocoid:012d}.jpg"
    return entry(imgid, split, *captions, filepath=folder, filename=name, cocoid=cocoid)


COCO = {
    "dataset": "coco",
    "images": [
        coco_entry(0, "test", "A man with a red helmet.", " A  man \n on a moped "),
        coco_entry(1, "restval", "a cat"),
        coco_entry(2, "train", "one", "two", "three", "four", "five", folder="train2014"),
        coco_entry(3, "val", "a dog", "  "),
        coco_entry(4, "train", folder="train2014"),
        coco_entry(5, "restval", "a bird"),
    ],
}
FLICKR = {
    "dataset": "flickr8k",
    "images": [
        entry(7, "train", "a", "b", "c", "d", "e"),
        entry(3, "train", "a", "b", "c", "d", "e", "f"),
        entry(5, "test", "g"),
    ],
}


def write(root, content=COCO, name="dataset_coco.json", images=""):
    """Writes the JSON file and empty image files into the folder `images`; returns the root."""
    os.makedirs(root, exist_ok=True)
    with open(os.path.join(root, name), "w", encoding="utf-8") as file:
        json.dump(content, file)
    for image in content["images"]:
        path = os.path.join(root, images, image.get("filepath", ""), image["filename"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    return str(root)


def with_image(content, position, **values):
    """A copy with other values in one image; `None` removes the key."""
    content = copy.deepcopy(content)
    image = content["images"][position] | values
    content["images"][position] = {k: v for k, v in image.items() if v is not None}
    return content


def test_coco(tmp_path):
    source = KarpathySource(write(tmp_path))
    assert source.splits == ("train", "restval", "val", "test")
    assert (source.label_names, source.label_kind) == ([], "multi_label")
    assert source.settings == {"dataset": None, "merge_restval": False}
    train, test = source.examples("train"), source.examples("test")
    assert train.ids == ["train/2", "train/4"]
    assert (train.groups.tolist(), train.groups.dtype) == ([998, 996], np.int64)
    assert train.captions == [["one", "two", "three", "four", "five"], []]
    assert (train.labels.shape, train.labels.dtype) == ((2, 0), np.uint8)
    assert train.images == [
        str(tmp_path / "train2014" / "COCO_train2014_000000000998.jpg"),
        str(tmp_path / "train2014" / "COCO_train2014_000000000996.jpg"),
    ]
    assert test.ids == ["test/0"]
    assert test.captions == [["A man with a red helmet.", "A man on a moped"]]
    assert test.images == [str(tmp_path / "val2014" / "COCO_val2014_000000001000.jpg")]
    assert source.examples("restval").ids == ["restval/1", "restval/5"]


def test_reports(tmp_path):
    source = KarpathySource(write(tmp_path))
    assert list(source.report("train").items()) == [
        ("images", 2),
        ("captions", 5),
        ("images without captions", 1),
        ("images with other than five captions", 1),
    ]
    assert list(source.report("val").items()) == [
        ("images", 1),
        ("captions", 1),
        ("images without captions", 0),
        ("images with other than five captions", 1),
        ("empty captions, left out", 1),
    ]
    flickr = KarpathySource(write(tmp_path / "f", FLICKR, "dataset_flickr8k.json"))
    assert flickr.report("train")["images with other than five captions"] == 1  # six


def test_restval_is_merged_into_train(tmp_path):
    source = KarpathySource(write(tmp_path), merge_restval=True)
    assert source.splits == ("train", "val", "test")
    assert source.settings["merge_restval"] is True
    assert source.examples("train").ids == ["train/2", "train/4", "train/1", "train/5"]
    assert source.examples("train").groups.tolist() == [998, 996, 999, 995]
    assert source.report("train")["images"] == 4
    with pytest.raises(DataError, match=r"has no split 'restval'"):
        source.examples("restval")


def test_merging_leaves_a_file_without_restval_as_it_is(tmp_path):
    root = write(tmp_path, FLICKR, "dataset_flickr8k.json")
    source = KarpathySource(root, merge_restval=True)
    assert source.splits == ("train", "test")
    assert source.examples("train").ids == ["train/7", "train/3"]


@pytest.mark.parametrize(
    "images",
    [
        *("", "images", "Images", "flickr30k-images", "flickr30k_images"),
        *("Flicker8k_Dataset", "Flickr8k_Dataset"),
    ],
)
@pytest.mark.parametrize("name", ["flickr8k", "flickr30k"])
def test_flickr_and_where_its_images_may_lie(tmp_path, name, images):
    content = {**FLICKR, "dataset": name}
    source = KarpathySource(write(tmp_path, content, f"dataset_{name}.json", images=images))
    assert source.splits == ("train", "test")
    train = source.examples("train")
    assert train.ids == ["train/7", "train/3"]
    assert train.groups.tolist() == [7, 3]
    assert train.images == [str(tmp_path / images / "7.jpg"), str(tmp_path / images / "3.jpg")]


def test_coco_images_below_a_folder_named_images(tmp_path):
    source = KarpathySource(write(tmp_path, images="images"))
    assert source.examples("val").images == [
        str(tmp_path / "images" / "val2014" / "COCO_val2014_000000000997.jpg")
    ]


def test_the_folder_is_found_though_the_first_image_is_missing(tmp_path):
    root = write(tmp_path, FLICKR, "dataset_flickr8k.json", images="Images")
    os.remove(tmp_path / "Images" / "7.jpg")
    assert KarpathySource(root).examples("train").images == [
        str(tmp_path / "Images" / "7.jpg"),
        str(tmp_path / "Images" / "3.jpg"),
    ]


def test_one_of_several_files_is_chosen(tmp_path):
    root = write(tmp_path)
    write(tmp_path, FLICKR, "dataset_flickr8k.json", images="Images")
    message = (
        rf"'{re.escape(root)}' holds dataset_coco\.json, dataset_flickr8k\.json\. Fix: choose, for "
        r"example dataset='coco' \(--data\.options dataset=coco\)"
    )
    with pytest.raises(DataError, match=message):
        KarpathySource(root)
    assert KarpathySource(root, dataset="flickr8k").examples("test").ids == ["test/5"]
    assert KarpathySource(root, dataset="coco").examples("test").ids == ["test/0"]
    with pytest.raises(DataError, match=r"holds no dataset_flickr30k\.json .*Fix: put"):
        KarpathySource(root, dataset="flickr30k")
    with pytest.raises(DataError, match=r"Unknown `dataset` 'flickr8'\. Did you mean 'flickr8k'\?"):
        KarpathySource(root, dataset="flickr8")


def test_the_path_of_the_file_itself(tmp_path, monkeypatch):
    write(tmp_path, FLICKR, "my_splits.json", images="images")
    source = KarpathySource(tmp_path / "my_splits.json")
    assert source.examples("test").images == [str(tmp_path / "images" / "5.jpg")]
    source = KarpathySource(tmp_path / "my_splits.json", dataset="coco")
    with pytest.raises(DataError, match=r"is of the data set 'flickr8k', not 'coco'\. Fix: "):
        source.examples("test")
    monkeypatch.chdir(tmp_path)
    paths = KarpathySource("my_splits.json", dataset="flickr8k").examples("test").images
    assert paths == [os.path.join(".", "images", "5.jpg")]


def test_the_file_is_read_once_and_only_when_asked_for(tmp_path, monkeypatch):
    reads = []

    def read_json(path, kind):
        reads.append(path)
        return files.read_json(path, kind)

    monkeypatch.setattr("data_prep.sources.karpathy.read_json", read_json)
    source = KarpathySource(write(tmp_path))
    assert reads == []
    for split in source.splits:
        assert source.examples(split) is source.examples(split)
    assert reads == [str(tmp_path / "dataset_coco.json")]


def test_groups_are_imgids_where_one_image_has_no_cocoid(tmp_path):
    content = with_image(COCO, 1, cocoid=None)
    source = KarpathySource(write(tmp_path, content))
    assert source.examples("train").groups.tolist() == [2, 4]
    assert source.examples("restval").groups.tolist() == [1, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_image(COCO, 2, imgid=0), r"dataset_coco\.json: imgid 0 appears twice\. Fix: remove"),
        (
            with_image(COCO, 2, imgid=2**63),
            r"dataset_coco\.json: imgid 9223372036854775808 needs more than 64 bits\. Fix: renumber",
        ),
        (
            with_image(COCO, 2, cocoid=-(2**63)),
            r"json: cocoid -9223372036854775808 needs more than 64 bits\. Fix: renumber",
        ),
        (with_image(COCO, 2, imgid="2"), r"json' is not in its format: .*`\$\.images\[2\]\.imgid`"),
        (with_image(COCO, 2, filename=None), r"`filename` - at `\$\.images\[2\]`\. Fix: repair"),
        (with_image(COCO, 2, sentences=None), r"`sentences` - at `\$\.images\[2\]`\. Fix: repair"),
        (with_image(COCO, 2, split="dev"), r"'dev' - at `\$\.images\[2\]\.split`\. Fix: repair"),
        (with_image(COCO, 2, sentences=[{}]), r"`raw` - at `\$\.images\[2\]\.sentences\[0\]`"),
        ({"images": []}, r"dataset_coco\.json: 'images' is empty\. Fix: "),
        ({"images": {}}, r"dataset_coco\.json' is not in its format: .*`\$\.images`\. Fix: "),
        ([], r"dataset_coco\.json' is not in its format: .*Fix: "),
    ],
)
def test_damage_is_named_with_its_fix_in_one_line(tmp_path, content, message):
    root = write(tmp_path)
    (tmp_path / "dataset_coco.json").write_text(json.dumps(content))
    source = KarpathySource(root)
    with pytest.raises(DataError, match=message) as error:
        source.examples("train")
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no folder '.*/nowhere'\. Fix: pass the folder"):
        KarpathySource(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no dataset_\*\.json \(coco, flickr30k, flickr8k\)"):
        KarpathySource(tmp_path)
    (tmp_path / "dataset_coco.json").write_text(json.dumps(COCO))
    root = re.escape(str(tmp_path))
    message = (
        r"There is no image 'train2014/COCO_train2014_000000000998\.jpg', nor one of those after "
        rf"it, in '{root}' or its folders images, Images, .*Fix: unpack the images into '{root}"
    )
    with pytest.raises(DataError, match=message):
        KarpathySource(tmp_path).examples("train")
    (tmp_path / "dataset_coco.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset_coco\.json' is not JSON .*Fix: "):
        KarpathySource(tmp_path).examples("train")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/passwd", "is absolute"),
        ("C:\\secret.jpg", "is absolute"),
        ("../secret.jpg", "leads out of the image folder"),
        ("a/../../secret.jpg", "leads out of the image folder"),
        ("a\0b.jpg", "has a NUL byte"),
        ("x" * 4096, "is 4,096 bytes long"),
        ("", "is empty"),
        ("link.jpg", "is a link that leads out of"),
        ("folder/secret.jpg", "is a link that leads out of"),
    ],
)
@pytest.mark.parametrize("position", [0, 1])
def test_unsafe_file_names_are_refused(tmp_path, name, problem, position):
    (tmp_path / "secret.jpg").touch()
    root = write(tmp_path / "flickr", FLICKR, "dataset_flickr8k.json")
    os.symlink(tmp_path / "secret.jpg", os.path.join(root, "link.jpg"))
    os.symlink(tmp_path, os.path.join(root, "folder"))
    content = with_image(FLICKR, position, filename=name)
    (tmp_path / "flickr" / "dataset_flickr8k.json").write_text(json.dumps(content))
    imgid = FLICKR["images"][position]["imgid"]
    message = rf"The image {imgid} in .*/dataset_flickr8k\.json has a file name that {problem}"
    with pytest.raises(DataError, match=message):
        KarpathySource(root).examples("train")


@pytest.mark.parametrize("folder", ["..", "/etc", "val2014/../.."])
def test_unsafe_folders_of_coco_are_refused(tmp_path, folder):
    root = write(tmp_path)
    content = with_image(COCO, 3, filepath=folder)
    (tmp_path / "dataset_coco.json").write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"The image 3 in .*json has a file name that (is abs|leads)"
    ):
        KarpathySource(root).examples("val")


WRONG = st.sampled_from(
    [None, True, -1, 2**63, 10**40, 1.5, "", "x", "..", "a\0b", "/etc", [], {}, [None], {"raw": 1}]
)


def places(value, path=()):
    """Yields the path of every value inside a JSON structure."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        yield (*path, key)
        if isinstance(child, (dict, list)):
            yield from places(child, (*path, key))


@st.composite
def damaged_files(draw):
    content = copy.deepcopy(COCO)
    for _ in range(draw(st.integers(0, 3))):
        *parents, key = draw(st.sampled_from(list(places(content))))
        parent = content
        for step in parents:
            parent = parent[step]
        if draw(st.booleans()):
            del parent[key]
        else:
            parent[key] = copy.deepcopy(draw(WRONG))  # else a later step changes WRONG itself
        if not content:
            break
    data = bytearray(json.dumps(content).encode())
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@pytest.fixture(scope="module")
def coco_root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("karpathy"))


@hypothesis.settings(derandomize=True, max_examples=60, deadline=None)
@hypothesis.given(data=damaged_files(), merge_restval=st.booleans())
def test_a_damaged_file_gives_examples_or_a_data_error(coco_root, data, merge_restval):
    path = os.path.join(coco_root, "damaged.json")
    with open(path, "wb") as file:
        file.write(data)
    try:
        source = KarpathySource(path, merge_restval=merge_restval)
        splits = [source.examples(split) for split in source.splits]
    except DataError as error:
        assert "Fix: " in str(error)
        return
    ids = [name for examples in splits for name in examples.ids]
    assert len(set(ids)) == len(ids) > 0
    for examples in splits:
        assert len(examples) == len(examples.captions) == len(examples.images)
        assert examples.labels.shape == (len(examples), 0)
        for image in examples.images:
            real = os.path.realpath(image)
            assert real.startswith(os.path.realpath(coco_root) + os.sep)
