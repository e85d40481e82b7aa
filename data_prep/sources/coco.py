"""COCO: `instances_*.json` (labels) joined with `captions_*.json` (text) by image id.

Reads the 2017 and 2014 layouts, year-less names (`instances_train.json`), and folders that were
unpacked into themselves (`train2014/train2014/`), as in many Drive copies. A split needs at least
one of the two files: without captions there is no text, without instances there are no labels
(`captions_test.json` of an own subset, `image_info_test2017.json` of the official one).
"""

import functools
import os
from collections import Counter
from dataclasses import dataclass

import msgspec
import numpy as np

from data_prep.errors import DataError
from data_prep.sources.files import (
    ImageFolder,
    check_folder,
    find_split_folder,
    first_folder,
    read_json,
)
from data_prep.sources.source import Examples, Source

_YEARS = ("2017", "2014", "2015", "")  # 2015: the second test set
_SPLITS = ("train", "val", "test")
_LARGEST_ID = 2**63 - 1


class _Image(msgspec.Struct):
    id: int
    file_name: str


class _Category(msgspec.Struct):
    id: int
    name: str


class _Object(msgspec.Struct):
    image_id: int
    category_id: int
    id: int | None = None


class _Caption(msgspec.Struct):
    image_id: int
    caption: str
    id: int | None = None


class _SizedImage(msgspec.Struct):
    id: int
    height: int
    width: int


class _PlacedObject(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0
    color: str = ""  # of the synthetic scenes, which also know what they drew too faint to see
    faint: bool = False


class _Places(msgspec.Struct):
    images: list[_SizedImage]
    annotations: list[_PlacedObject]


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Object]
    categories: list[_Category]


class _Captions(msgspec.Struct):
    annotations: list[_Caption]
    images: list[_Image] = []  # not needed beside the instances


class _Images(msgspec.Struct):
    images: list[_Image]


class _Categories(msgspec.Struct):
    categories: list[_Category]


_KINDS = {"instances": _Instances, "captions": _Captions, "image_info": _Images}


@dataclass(frozen=True)
class PlacedObject:
    """An object and where it is.

    Attributes:
        category: str.
        box: `(left, top, right, bottom)`, shares of the image's width and height in [0, 1].
        color: str, "" where the data do not say.
        is_crowd: bool, whether the box is of several objects of the category.
        is_faint: bool, whether it cannot be seen.
    """

    category: str
    box: tuple
    color: str = ""
    is_crowd: bool = False
    is_faint: bool = False


class CocoSource(Source):
    """Images with captions and the categories of the objects in them.

    COCO has 80 categories with ids from 1 to 90; the labels are the *sorted* ids mapped to 0..79.

    Args:
        root: path of the folder that holds `annotations/` and the image folders.
        strict: bool. Whether an annotation with an unknown category id or an empty caption is an
            error. If `False`, it is left out and counted in the report.

    Raises:
        DataError: when a folder or file is missing or not in the format, naming it and the fix.
    """

    def __init__(self, root, strict=True):
        super().__init__(root, strict=strict)
        self.strict = strict
        check_folder(root, "annotations/ and the images")
        folders = [os.path.join(self.root, *["annotations"] * depth) for depth in (2, 1)]
        self._folder = first_folder(*folders)
        if self._folder is None:
            raise DataError(
                f"There is no folder {folders[1]!r}. Fix: unpack the annotations there, or pass "
                "another --data.root."
            )
        self._year = {}
        for split in _SPLITS:
            for year in _YEARS:
                if any(os.path.exists(self._file(kind, split, year)) for kind in _KINDS):
                    self._year.setdefault(split, year)
        self.splits = tuple(self._year)
        if not any(self._has("instances", split) for split in self.splits):
            raise DataError(
                f"{self._folder!r} holds no instances_train2017.json (or 2014, or val). Fix: put "
                "the COCO annotation files there."
            )

    @functools.cached_property
    def label_names(self):
        """The category names, sorted by category id."""
        return list(self._categories.values())

    def objects(self, split):
        """The objects of each image, for evaluations that need places; no model sees them.

        Args:
            split: str.

        Returns:
            A dict of image id (an example's `group`) to a list of `PlacedObject`.

        Raises:
            DataError: when the split has no annotated objects, or an image no size.
        """
        if not self._has("instances", split):
            raise DataError(f"{self.root!r} has no boxes for {split!r}. Fix: another split.")
        path = self._file("instances", split)
        content = read_json(path, _Places)
        sizes = {image.id: (image.width, image.height) for image in content.images}
        if any(min(size) < 1 for size in sizes.values()):
            raise DataError(f"{path}: an image is 0 pixels wide or high. Fix: repair the file.")
        found = {image_id: [] for image_id in sizes}
        for item in content.annotations:
            name = self._categories.get(item.category_id)
            if name is None or item.image_id not in sizes:
                continue  # counted in the report
            width, height = sizes[item.image_id]
            left, top, across, down = item.bbox
            box = (left / width, top / height, (left + across) / width, (top + down) / height)
            found[item.image_id].append(
                PlacedObject(name, box, item.color, bool(item.iscrowd), item.faint)
            )
        return found

    @functools.cached_property
    def _categories(self):
        split = next(split for split in self.splits if self._has("instances", split))
        path = self._file("instances", split)
        categories = read_json(path, _Categories).categories
        pairs = sorted((category.id, category.name) for category in categories)
        if not pairs or len({number for number, _ in pairs}) < len(pairs):
            raise DataError(
                f"{path}: 'categories' is empty or repeats an id. Fix: repair the file."
            )
        return dict(pairs)

    def _read_split(self, split):
        kinds = [kind for kind in _KINDS if self._has(kind, split)]
        contents = {}
        report = Counter()
        labels, texts = None, None
        # One file at a time: the larger one is gone before the next is read.
        for kind in kinds:
            path = self._file(kind, split)
            content = read_json(path, _KINDS[kind])
            if not contents:
                contents = self._read_images(content.images, path)
            if kind == "instances":
                labels = self._read_labels(content.annotations, split, contents, report)
            elif kind == "captions":
                texts = self._read_captions(content.annotations, split, contents, report)
        if labels is None:
            labels = np.zeros((len(contents), len(self._categories)), np.uint8)
        folder = ImageFolder(find_split_folder(self.root, split + self._year[split], split))
        counts = {"images": len(contents)}
        if texts is not None:
            counts["captions"] = sum(map(len, texts))
        counts["objects"] = report.pop("objects", 0)
        counts["images without labels"] = int((labels.sum(1) == 0).sum())
        if texts is not None:
            counts["images without captions"] = sum(not text for text in texts)
        examples = Examples(
            ids=[f"{split}/{image_id}" for image_id in contents],
            groups=np.fromiter(contents, np.int64, len(contents)),
            images=[
                folder.find(name, f"image id {image_id} in {self._file(kinds[0], split)}")
                for image_id, (_, name) in contents.items()
            ],
            captions=texts,
            labels=labels,
        )
        # What was found comes first, then what is odd.
        return examples, {**counts, **report}

    def _read_images(self, images, path):
        """Returns `{image id: (row, file name)}`."""
        contents = {}
        for image in images:
            if image.id in contents:
                raise DataError(f"{path}: image id {image.id} appears twice. Fix: remove one.")
            if not -_LARGEST_ID <= image.id <= _LARGEST_ID:
                raise DataError(
                    f"{path}: image id {image.id} needs more than 64 bits. Fix: renumber."
                )
            contents[image.id] = (len(contents), image.file_name)
        if not contents:
            raise DataError(f"{path}: 'images' is empty. Fix: use a file that lists images.")
        return contents

    def _read_labels(self, objects, split, contents, report):
        columns = {number: column for column, number in enumerate(self._categories)}
        labels = np.zeros((len(contents), len(columns)), np.uint8)
        for item in objects:
            report["objects"] += 1
            image, column = contents.get(item.image_id), columns.get(item.category_id)
            if column is None:
                problem = f"annotation {item.id} has the unknown category id {item.category_id}"
                self._reject("instances", split, problem)
                report["annotations with an unknown category id, left out"] += 1
            elif image is None:
                report["annotations without an image, left out"] += 1
            else:
                labels[image[0], column] = 1
        unused = len(columns) - int((labels.sum(0) > 0).sum())
        if unused:
            report["categories without an example"] = unused
        return labels

    def _read_captions(self, captions, split, contents, report):
        texts = [[] for _ in contents]
        for item in captions:
            image = contents.get(item.image_id)
            text = " ".join(item.caption.split())
            if image is None:
                report["captions without an image, left out"] += 1
            elif not text:
                self._reject("captions", split, f"annotation {item.id} has an empty caption")
                report["empty captions, left out"] += 1
            else:
                texts[image[0]].append(text)
        return texts

    def _reject(self, kind, split, problem):
        if self.strict:
            raise DataError(
                f"{self._file(kind, split)}: {problem}. Fix: repair the file, or pass strict=False "
                "(--data.options strict=false) to leave such annotations out and count them."
            )

    def _file(self, kind, split, year=None):
        year = self._year[split] if year is None else year
        return os.path.join(self._folder, f"{kind}_{split}{year}.json")

    def _has(self, kind, split):
        return split in self._year and os.path.exists(self._file(kind, split))
