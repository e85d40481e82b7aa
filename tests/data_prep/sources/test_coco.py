import copy
import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest

from data_prep.errors import DataError
from data_prep.sources.coco import CocoSource

# Category ids with gaps and out of order; image ids out of order; image 9 has nothing at all.
INSTANCES = {
    "images": [
        {"id": 7, "file_name": "seven.jpg"},
        {"id": 3, "file_name": "three.jpg"},
        {"id": 9, "file_name": "nine.jpg"},
    ],
    "categories": [
        {"id": 90, "name": "toothbrush"},
        {"id": 1, "name": "person"},
        {"id": 18, "name": "dog"},
    ],
    "annotations": [
        {"id": 100, "image_id": 3, "category_id": 90},
        {"id": 101, "image_id": 3, "category_id": 90},
        {"id": 102, "image_id": 3, "category_id": 1},
        {"id": 103, "image_id": 7, "category_id": 18},
    ],
}
CAPTIONS = {
    "annotations": [
        {"id": 200, "image_id": 3, "caption": "A woman  brushes\n her teeth. "},
        {"id": 201, "image_id": 7, "caption": "a dog"},
        {"id": 202, "image_id": 3, "caption": "a toothbrush"},
    ],
}


def write_json(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)


def write_coco(
    root, name="train2017", instances=INSTANCES, captions=CAPTIONS, images=None, nested=False
):
    """Writes one split, with the images into the folder `images`, and returns the root."""
    annotations = os.path.join(root, *["annotations"] * (2 if nested else 1))
    write_json(os.path.join(annotations, f"instances_{name}.json"), instances)
    write_json(os.path.join(annotations, f"captions_{name}.json"), captions)
    folder = os.path.join(root, images or name)
    os.makedirs(folder, exist_ok=True)
    for entry in INSTANCES["images"]:
        picture = np.full((4, 5, 3), entry["id"], np.uint8)
        assert cv2.imwrite(os.path.join(folder, entry["file_name"]), picture)
    return str(root)


def changed(content, section, position, **values):
    """A copy with other values in one entry; `None` removes the key."""
    content = copy.deepcopy(content)
    entry = content[section][position] | values
    content[section][position] = {k: v for k, v in entry.items() if v is not None}
    return content


def with_entries(content, section, *entries):
    return {**content, section: [*content[section], *entries]}


def test_annotations_are_joined_by_image_id(tmp_path):
    source = CocoSource(write_coco(tmp_path))
    assert source.splits == ("train",)
    assert source.label_names == ["person", "dog", "toothbrush"]
    examples = source.examples("train")
    assert len(examples) == 3
    assert examples.ids == ["train/7", "train/3", "train/9"]
    assert (examples.groups.tolist(), examples.groups.dtype) == ([7, 3, 9], np.int64)
    assert examples.captions == [["a dog"], ["A woman brushes her teeth.", "a toothbrush"], []]
    assert examples.labels.dtype == np.uint8
    assert examples.labels.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]
    folder = tmp_path / "train2017"
    assert examples.images == [str(folder / f"{n}.jpg") for n in ("seven", "three", "nine")]
    assert source.oracles("train") == {}


def test_the_report_counts_what_was_found(tmp_path):
    report = CocoSource(write_coco(tmp_path)).report("train")
    assert list(report.items()) == [
        ("images", 3),
        ("captions", 3),
        ("objects", 4),
        ("images without labels", 1),
        ("images without captions", 1),
    ]


def test_images_are_not_opened_nor_looked_for(tmp_path):
    root = write_coco(tmp_path)
    os.remove(os.path.join(root, "train2017", "three.jpg"))
    os.truncate(os.path.join(root, "train2017", "nine.jpg"), 0)
    assert len(CocoSource(root).examples("train").images) == 3


def test_a_split_is_read_once_and_only_when_asked_for(tmp_path):
    root = write_coco(tmp_path)
    write_coco(root, "val2017", {"categories": []})
    source = CocoSource(root)
    assert source.examples("train") is source.examples("train")


def test_a_set_without_any_object_is_read(tmp_path):
    source = CocoSource(write_coco(tmp_path, instances={**INSTANCES, "annotations": []}))
    assert source.examples("train").labels.sum() == 0
    assert source.report("train")["objects"] == 0
    assert source.report("train")["images without labels"] == 3


def test_annotations_without_an_image_are_left_out_and_counted(tmp_path):
    orphan = {"id": 300, "image_id": 55, "category_id": 18, "caption": "lost"}
    instances = with_entries(INSTANCES, "annotations", orphan)
    captions = with_entries(CAPTIONS, "annotations", orphan, orphan)
    source = CocoSource(write_coco(tmp_path, instances=instances, captions=captions))
    report = source.report("train")
    assert report["annotations without an image, left out"] == 1
    assert report["captions without an image, left out"] == 2
    assert report["captions"] == 3
    assert source.examples("train").labels.sum() == 3


def test_an_unknown_category_is_an_error_or_counted(tmp_path):
    instances = changed(INSTANCES, "annotations", 0, category_id=12)
    root = write_coco(tmp_path, instances=instances)
    message = (
        r"instances_train2017\.json: annotation 100 has the unknown category id 12\. "
        r"Fix: repair the file, or pass strict=False"
    )
    with pytest.raises(DataError, match=message):
        CocoSource(root).examples("train")
    source = CocoSource(root, strict=False)
    assert source.report("train")["annotations with an unknown category id, left out"] == 1
    assert source.report("train")["objects"] == 4
    assert source.examples("train").labels.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("blank", ["", "  \n\t "])
def test_an_empty_caption_is_an_error_or_counted(tmp_path, blank):
    root = write_coco(tmp_path, captions=changed(CAPTIONS, "annotations", 1, caption=blank))
    message = r"captions_train2017\.json: annotation 201 has an empty caption\. Fix: .*strict=false"
    with pytest.raises(DataError, match=message):
        CocoSource(root).examples("train")
    source = CocoSource(root, strict=False)
    assert source.report("train")["empty captions, left out"] == 1
    assert source.report("train")["captions"] == 2
    assert source.examples("train").captions[0] == []


@pytest.mark.parametrize(
    ("name", "images", "nested"),
    [
        ("train2017", "train2017", False),
        ("train2014", "train2014", False),
        ("train", "train", False),
        ("train2014", "train2014/train2014", False),
        ("train2017", "images/train2017", False),
        ("train2017", "train2017", True),
        ("train2014", "train2014/train2014", True),
    ],
)
def test_layouts(tmp_path, name, images, nested):
    source = CocoSource(write_coco(tmp_path, name, images=images, nested=nested))
    assert source.splits == ("train",)
    expected = str(tmp_path / images / "seven.jpg")
    assert source.examples("train").images[0] == expected
    assert os.path.exists(expected)


def test_splits_of_different_years_and_the_newest_of_two(tmp_path):
    root = write_coco(tmp_path, "val2014")
    write_coco(root, "train2014")
    write_coco(root, "train2017")
    source = CocoSource(root)
    assert source.splits == ("train", "val")
    assert os.path.dirname(source.examples("train").images[0]).endswith("train2017")
    assert os.path.dirname(source.examples("val").images[0]).endswith("val2014")
    assert source.examples("val").ids[0] == "val/7"


IMAGES = INSTANCES["images"]


def test_a_split_without_captions_has_no_text(tmp_path):
    root = write_coco(tmp_path)
    os.remove(os.path.join(root, "annotations", "captions_train2017.json"))
    source = CocoSource(root)
    assert source.examples("train").captions is None
    assert source.examples("train").labels.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert list(source.report("train")) == ["images", "objects", "images without labels"]


@pytest.mark.parametrize("kind", ["captions", "image_info"])
def test_a_split_without_instances_has_no_labels(tmp_path, kind):
    root = write_coco(tmp_path)
    write_coco(root, "test2017", instances={}, captions={})
    for name in ("instances", "captions"):
        os.remove(os.path.join(root, "annotations", f"{name}_test2017.json"))
    content = {**CAPTIONS, "images": IMAGES}
    write_json(os.path.join(root, "annotations", f"{kind}_test2017.json"), content)
    source = CocoSource(root)
    assert source.splits == ("train", "test")
    examples = source.examples("test")
    assert examples.ids == ["test/7", "test/3", "test/9"]
    assert (examples.labels.tolist(), examples.labels.dtype) == ([[0, 0, 0]] * 3, np.uint8)
    assert examples.images[0] == os.path.join(root, "test2017", "seven.jpg")
    if kind == "captions":
        assert examples.captions == source.examples("train").captions
        assert source.report("test") == {
            "images": 3,
            "captions": 3,
            "objects": 0,
            "images without labels": 3,
            "images without captions": 1,
        }
    else:
        assert examples.captions is None
        assert source.report("test") == {"images": 3, "objects": 0, "images without labels": 3}


def test_the_categories_may_be_those_of_another_split(tmp_path):
    root = write_coco(tmp_path, captions={**CAPTIONS, "images": IMAGES})
    write_coco(root, "val2017")
    os.remove(os.path.join(root, "annotations", "instances_train2017.json"))
    source = CocoSource(root)
    assert source.label_names == ["person", "dog", "toothbrush"]
    assert source.examples("train").labels.tolist() == [[0, 0, 0]] * 3
    assert source.examples("val").labels.sum() == 3


def test_the_second_test_set_is_of_2015(tmp_path):
    root = write_coco(tmp_path)
    write_json(os.path.join(root, "annotations", "image_info_test2015.json"), {"images": IMAGES})
    os.mkdir(os.path.join(root, "test2015"))
    source = CocoSource(root)
    assert source.splits == ("train", "test")
    assert source.examples("test").images[1] == os.path.join(root, "test2015", "three.jpg")


def test_captions_alone_must_list_the_images(tmp_path):
    root = write_coco(tmp_path, "val2017")
    write_coco(root)
    os.remove(os.path.join(root, "annotations", "instances_train2017.json"))
    message = r"captions_train2017\.json: 'images' is empty\. Fix: use a file that lists images\."
    with pytest.raises(DataError, match=message):
        CocoSource(root).examples("train")


def test_categories_without_an_example_are_counted(tmp_path):
    instances = {**INSTANCES, "annotations": INSTANCES["annotations"][2:]}
    report = CocoSource(write_coco(tmp_path, instances=instances)).report("train")
    assert report["categories without an example"] == 1
    assert report["objects"] == 2


def test_a_root_may_be_a_path_object(tmp_path):
    write_coco(tmp_path)
    assert (
        CocoSource(tmp_path).examples("train").ids
        == CocoSource(str(tmp_path)).examples("train").ids
    )


def remove(*parts):
    def change(root):
        path = os.path.join(root, *parts)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.remove(path)

    return change


def put(kind, content):
    """Replaces an annotation file: by JSON, or by bytes as they are."""

    def change(root):
        path = os.path.join(root, "annotations", f"{kind}_train2017.json")
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with open(path, "wb") as file:
            file.write(data)

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove(), r"There is no folder '{root}'\. Fix: pass the folder"),
        (remove("annotations"), r"There is no folder '{root}/annotations'\. Fix: unpack"),
        (
            remove("annotations", "instances_train2017.json"),
            r"'{root}/annotations' holds no instances_train2017\.json .*Fix: put",
        ),
        (remove("train2017"), r"There is no image folder '{root}/train2017'\. Fix: unpack"),
        (put("instances", b"{"), r"'{root}.*/instances_train2017\.json' is not JSON .*Fix: "),
        (put("captions", b""), r"'{root}.*/captions_train2017\.json' is not JSON .*Fix: "),
        (
            put("captions", b'{"annotations": [{"image_id": 3, "caption": "\xff"}]}'),
            r"'{root}.*/captions_train2017\.json' is not JSON .*Fix: ",
        ),
        (
            put("instances", []),
            r"instances_train2017\.json' is not in its format: Expected `object`, got `array`\. Fix: ",
        ),
        (
            put("captions", 5),
            r"captions_train2017\.json' is not in its format: Expected `object`, got `int`\. Fix: ",
        ),
        (
            put("captions", {}),
            r"captions_train2017\.json' .*: Object missing required field `annotations`\. Fix: ",
        ),
        (
            put("instances", {**INSTANCES, "images": None}),
            r"instances_train2017\.json' .*: Expected `array`, got `null` - at `\$\.images`\. Fix: ",
        ),
        (
            put("instances", {**INSTANCES, "annotations": {}}),
            r"instances_train2017\.json' .*: Expected `array`, got `object` - at `\$\.annotations`\.",
        ),
        (
            put("instances", {**INSTANCES, "images": []}),
            r"instances_train2017\.json: 'images' is empty\. Fix: ",
        ),
        (
            put("instances", {**INSTANCES, "categories": []}),
            r"instances_train2017\.json: 'categories' is empty or repeats an id\. Fix: ",
        ),
        (
            put("instances", changed(INSTANCES, "categories", 0, id=1)),
            r"instances_train2017\.json: 'categories' is empty or repeats an id\. Fix: ",
        ),
        (
            put("instances", changed(INSTANCES, "images", 2, file_name=None)),
            r": Object missing required field `file_name` - at `\$\.images\[2\]`\. Fix: repair",
        ),
        (
            put("instances", changed(INSTANCES, "images", 2, id="9")),
            r": Expected `int`, got `str` - at `\$\.images\[2\]\.id`\. Fix: repair the entry",
        ),
        (
            put("instances", changed(INSTANCES, "images", 2, id=9.5)),
            r": Expected `int`, got `float` - at `\$\.images\[2\]\.id`\. Fix: repair the entry",
        ),
        (
            put("instances", changed(INSTANCES, "images", 2, id=True)),
            r": Expected `int`, got `bool` - at `\$\.images\[2\]\.id`\. Fix: repair the entry",
        ),
        (
            put("instances", changed(INSTANCES, "categories", 1, name=None)),
            r": Object missing required field `name` - at `\$\.categories\[1\]`\. Fix: ",
        ),
        (
            put("instances", changed(INSTANCES, "annotations", 3, image_id="7")),
            r": Expected `int`, got `str` - at `\$\.annotations\[3\]\.image_id`\. Fix: ",
        ),
        (
            put("instances", changed(INSTANCES, "annotations", 3, category_id=None)),
            r": Object missing required field `category_id` - at `\$\.annotations\[3\]`\. Fix: ",
        ),
        (
            put("captions", changed(CAPTIONS, "annotations", 1, caption=None)),
            r": Object missing required field `caption` - at `\$\.annotations\[1\]`\. Fix: ",
        ),
        (
            put("captions", with_entries(CAPTIONS, "annotations", "text")),
            r": Expected `object`, got `str` - at `\$\.annotations\[3\]`\. Fix: ",
        ),
        (
            put("instances", changed(INSTANCES, "images", 1, id=7)),
            r"instances_train2017\.json: image id 7 appears twice\. Fix: remove one",
        ),
        *(
            (
                put("instances", changed(INSTANCES, "images", 1, id=number)),
                rf"instances_train2017\.json: image id {number} needs more than 64 bits\. Fix: ",
            )
            for number in (2**63, -(2**63) - 1, 2**64, 10**30)
        ),
    ],
)
def test_damage_is_named_with_its_fix_in_one_line(tmp_path, damage, message):
    root = write_coco(tmp_path / "coco")
    damage(root)
    with pytest.raises(DataError, match=message.replace("{root}", re.escape(root))) as error:
        source = CocoSource(root)
        assert source.label_names is not None
        source.examples("train")
    assert "\n" not in str(error.value)


def test_an_unknown_split_lists_the_known_ones(tmp_path):
    root = write_coco(tmp_path)
    message = rf"^'{re.escape(root)}' has no split 'val'\. Unknown split 'val'\. Known: train\.$"
    with pytest.raises(DataError, match=message):
        CocoSource(root).report("val")


def test_the_real_subset(shared_data):
    source = CocoSource(os.path.join(shared_data, "coco_subset"))
    assert source.splits == ("train", "val")
    assert len(source.label_names) == 80
    assert (source.label_names[0], source.label_names[-1]) == ("person", "toothbrush")
    for split, images, captions in (("train", 1339, 6685), ("val", 350, 1745)):
        report, examples = source.report(split), source.examples(split)
        assert (report["images"], report["captions"]) == (images, captions)
        assert examples.labels.shape == (images, 80)
        assert len(set(examples.ids)) == len(examples) == images
        assert sum(map(len, examples.captions)) == captions
