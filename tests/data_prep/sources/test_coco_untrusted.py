"""COCO files of which nothing is right for sure."""

import copy
import json
import os
import re

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from data_prep.errors import DataError
from data_prep.sources.coco import CocoSource
from tests.data_prep.sources.test_coco import CAPTIONS, INSTANCES, write_coco


def with_file_name(name):
    instances = copy.deepcopy(INSTANCES)
    instances["images"][1]["file_name"] = name
    return instances


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/passwd", "is absolute"),
        ("C:\\windows\\a.jpg", "is absolute"),
        ("../annotations/instances_train2017.json", "leads out of the image folder"),
        ("sub/../../secret.jpg", "leads out of the image folder"),
        ("..\\secret.jpg", "leads out of the image folder"),
        ("outside.jpg", "is a link that leads out of '.*/train2017'"),
        ("far/three.jpg", "is a link that leads out of '.*/train2017'"),
        ("three.jpg\0", "has a NUL byte"),
        ("x" * 4096, "is 4,096 bytes long"),
        ("", "is empty"),
    ],
)
def test_a_file_name_that_leads_out_of_the_folder(tmp_path, name, problem):
    root = write_coco(tmp_path / "coco", instances=with_file_name(name))
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    os.symlink(tmp_path / "secret.jpg", os.path.join(root, "train2017", "outside.jpg"))
    os.symlink(tmp_path, os.path.join(root, "train2017", "far"))
    path = re.escape(os.path.join(root, "annotations", "instances_train2017.json"))
    message = rf"^The image id 3 in {path} has a file name that {problem}.*Fix: use a plain file"
    for strict in (True, False):
        with pytest.raises(DataError, match=message) as error:
            CocoSource(root, strict=strict).examples("train")
        assert "\n" not in str(error.value)
        assert "\0" not in str(error.value)
        assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", ["three.jpg", "sub/three.jpg", "inside.jpg", "near/three.jpg"])
def test_a_file_name_inside_of_a_folder_that_is_a_link(tmp_path, name):
    root = write_coco(tmp_path / "coco", instances=with_file_name(name))
    elsewhere = tmp_path / "elsewhere"
    os.rename(os.path.join(root, "train2017"), elsewhere)
    os.symlink(elsewhere, os.path.join(root, "train2017"))
    os.symlink("three.jpg", elsewhere / "inside.jpg")
    (elsewhere / "sub").mkdir()
    os.symlink("sub", elsewhere / "near")
    expected = os.path.join(root, "train2017", name)
    assert CocoSource(root).examples("train").images[1] == expected


def test_the_largest_ids_of_64_bits(tmp_path):
    largest = 2**63 - 1
    text = json.dumps(INSTANCES).replace('"id": 7,', f'"id": {largest},')
    instances = json.loads(text.replace('"image_id": 7,', f'"image_id": {largest},'))
    instances["images"][2]["id"] = -largest
    examples = CocoSource(write_coco(tmp_path, instances=instances)).examples("train")
    assert examples.groups.dtype == np.int64
    assert examples.groups.tolist() == [largest, 3, -largest]
    assert examples.labels.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("number", [2**63, 2**64, -(10**30)])
def test_larger_ids_of_annotations_and_categories_are_only_unknown(tmp_path, number):
    instances, captions = copy.deepcopy(INSTANCES), copy.deepcopy(CAPTIONS)
    instances["annotations"][0]["image_id"] = number
    instances["annotations"][3]["category_id"] = number
    captions["annotations"][1]["image_id"] = number
    source = CocoSource(write_coco(tmp_path, instances=instances, captions=captions), strict=False)
    report = source.report("train")
    assert report["annotations without an image, left out"] == 1
    assert report["annotations with an unknown category id, left out"] == 1
    assert report["captions without an image, left out"] == 1
    assert source.examples("train").labels.tolist() == [[0, 0, 0], [1, 0, 1], [0, 0, 0]]


WHOLE = {"instances": INSTANCES, "captions": {**CAPTIONS, "images": INSTANCES["images"]}}
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 3, 7, 9, 18, 90, 2**63, 2**64, -(2**63), 10**4000])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../x", "/x", "a\0b", "\ud800", "x" * 2000, "three.jpg", " "])
)
SAME_KIND = {int: st.integers(), str: st.text(max_size=8)}
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
)


@st.composite
def damaged(draw, content):
    """The bytes of a JSON file with wrong values, or that is no JSON any more."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(0, 3))):
        place = content
        while True:
            keys = sorted(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(list(keys)))
            if place[key] and isinstance(place[key], dict | list) and draw(st.integers(0, 3)):
                place = place[key]
                continue
            action = draw(st.sampled_from(["vary", "vary", "replace", "remove", "repeat"]))
            if action == "vary" and type(place[key]) in SAME_KIND:
                place[key] = draw(SAME_KIND[type(place[key])])
            elif action in ("vary", "replace"):
                place[key] = draw(VALUES)
            elif action == "repeat" and isinstance(place, list):
                place.append(place[key])
            else:
                del place[key]
            break
        if not content:
            break
    text = json.dumps(content).encode()
    if draw(st.integers(0, 3)) == 0:
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        text = text[:start] + draw(st.binary(max_size=4)) + text[end:]
    return text


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("coco"))


@hypothesis.settings(derandomize=True, max_examples=80, deadline=None)
@hypothesis.given(
    instances=damaged(WHOLE["instances"]) | st.just(json.dumps(WHOLE["instances"]).encode()),
    captions=damaged(WHOLE["captions"]) | st.just(json.dumps(WHOLE["captions"]).encode()),
    strict=st.booleans(),
)
def test_damaged_files_are_read_or_refused_and_nothing_else(fuzzed, instances, captions, strict):
    for kind, data in (("instances", instances), ("captions", captions)):
        with open(os.path.join(fuzzed, "annotations", f"{kind}_train2017.json"), "wb") as file:
            file.write(data)
    try:
        source = CocoSource(fuzzed, strict=strict)
        labels, examples = source.label_names, source.examples("train")
    except DataError as error:
        assert "\n" not in str(error)
        assert "Fix: " in str(error)
        return
    count = len(examples)
    assert count > 0
    assert examples.labels.shape == (count, len(labels))
    assert set(np.unique(examples.labels)) <= {0, 1}
    assert len(set(examples.ids)) == len(examples.images) == len(examples.captions) == count
    folder = os.path.join(fuzzed, "train2017")
    assert all(os.path.commonpath([folder, path]) == folder for path in examples.images)
    assert all(text and text == text.strip() for texts in examples.captions for text in texts)
    report = source.report("train")
    assert report["images"] == count
    assert report["captions"] == sum(map(len, examples.captions))
    assert all(isinstance(number, int) for number in report.values())
