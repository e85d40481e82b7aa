"""COCO: `instances_*.json` (labels) joined with `captions_*.json` (text) by image id.

Reads the 2017 and 2014 layouts, year-less names (`instances_train.json`), and folders that were
unpacked into themselves (`train2014/train2014/`), as in many Drive copies.
"""

import functools
import json
import os
from collections import Counter

import numpy as np

from data_prep.errors import DataError
from data_prep.sources.source import Examples

_YEARS = ("2017", "2014", "")
_SPLITS = ("train", "val", "test")


class CocoSource:
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
        if not os.path.isdir(root):
            raise DataError(
                f"There is no folder {str(root)!r}. Fix: pass the folder that holds annotations/ "
                "and the images, --data.root DIR."
            )
        self.root, self.strict = str(root), strict
        self.settings = {"strict": strict}
        self._folder = _first_existing(
            [os.path.join(self.root, *["annotations"] * depth) for depth in (2, 1)]
        )
        if self._folder is None:
            raise DataError(
                f"There is no folder {os.path.join(self.root, 'annotations')!r}. Fix: unpack the "
                "annotations there, or pass another --data.root."
            )
        self._year = {}
        for split in _SPLITS:
            for year in _YEARS:
                if os.path.exists(self._file("instances", split, year)):
                    self._year.setdefault(split, year)
        if not self._year:
            raise DataError(
                f"{self._folder!r} holds no instances_train2017.json (or 2014, or val). Fix: put "
                "the COCO annotation files there."
            )
        self.splits = tuple(self._year)
        self._index = functools.cache(self._read_split)

    @functools.cached_property
    def label_names(self):
        """The category names, sorted by category id."""
        return list(self._categories.values())

    @functools.cached_property
    def _categories(self):
        categories = self._read("instances", self.splits[0], ("categories",))["categories"]
        pairs = sorted((entry["id"], entry["name"]) for entry in categories)
        if not pairs or len({number for number, _ in pairs}) < len(pairs):
            path = self._file("instances", self.splits[0], self._year[self.splits[0]])
            raise DataError(
                f"{path}: 'categories' is empty or repeats an id. Fix: repair the file."
            )
        return dict(pairs)

    def examples(self, split):
        """The index of a split, one example per image."""
        return self._index(split)[0]

    def report(self, split):
        """What was found and what was left out."""
        return self._index(split)[1]

    def oracles(self, split):
        """None: nobody knows the truth of a photo."""
        return {}

    def _read_split(self, split):
        if split not in self._year:
            raise DataError(
                f"{self._folder!r} has no split {split!r}. Fix: use one of "
                f"{', '.join(self.splits)}, or add the annotation files."
            )
        instances = self._read("instances", split, ("images", "annotations", "categories"))
        captions = self._read("captions", split, ("annotations",))
        report = Counter()
        rows, file_names = self._read_images(instances, split)
        labels = self._read_labels(instances, split, rows, report)
        texts = self._read_captions(captions, split, rows, report)
        # Counts of what was found come first, then what is odd.
        counts = {
            "images": len(rows),
            "captions": sum(map(len, texts)),
            "objects": report.pop("objects", 0),
            "images without labels": int((labels.sum(1) == 0).sum()),
            "images without captions": sum(not text for text in texts),
            **report,
        }
        folder = self._find_images(split, file_names)
        examples = Examples(
            ids=[f"{split}/{image_id}" for image_id in rows],
            groups=np.fromiter(rows, np.int64, len(rows)),
            images=[os.path.join(folder, name) for name in file_names],
            captions=texts,
            labels=labels,
        )
        return examples, counts

    def _read_images(self, instances, split):
        rows, file_names = {}, []
        path = self._file("instances", split, self._year[split])
        for entry in instances["images"]:
            if entry["id"] in rows:
                raise DataError(f"{path}: image id {entry['id']} appears twice. Fix: remove one.")
            rows[entry["id"]] = len(rows)
            file_names.append(entry["file_name"])
        if not rows:
            raise DataError(f"{path}: 'images' is empty. Fix: use a file that lists images.")
        return rows, file_names

    def _read_labels(self, instances, split, rows, report):
        columns = {number: column for column, number in enumerate(self._categories)}
        labels = np.zeros((len(rows), len(columns)), np.uint8)
        for entry in instances["annotations"]:
            report["objects"] += 1
            row, column = rows.get(entry["image_id"]), columns.get(entry["category_id"])
            if column is None:
                self._reject(
                    "instances",
                    split,
                    f"annotation {entry.get('id')} has the unknown category id {entry['category_id']}",
                )
                report["annotations with an unknown category id, left out"] += 1
            elif row is None:
                report["annotations without an image, left out"] += 1
            else:
                labels[row, column] = 1
        return labels

    def _read_captions(self, captions, split, rows, report):
        texts = [[] for _ in rows]
        for entry in captions["annotations"]:
            row = rows.get(entry["image_id"])
            text = " ".join(entry["caption"].split())
            if row is None:
                report["captions without an image, left out"] += 1
            elif not text:
                self._reject(
                    "captions", split, f"annotation {entry.get('id')} has an empty caption"
                )
                report["empty captions, left out"] += 1
            else:
                texts[row].append(text)
        return texts

    def _reject(self, kind, split, problem):
        if self.strict:
            raise DataError(
                f"{self._file(kind, split, self._year[split])}: {problem}. Fix: repair the file, or "
                "pass strict=False (--data.options strict=false) to leave such annotations out and "
                "count them."
            )

    def _find_images(self, split, file_names):
        name = split + self._year[split]
        candidates = [(self.root, name, name), (self.root, name), (self.root, "images", name)]
        folder = _first_existing([os.path.join(*parts) for parts in candidates])
        if folder is None:
            raise DataError(
                f"There is no image folder {os.path.join(self.root, name)!r}. Fix: unpack the "
                f"images of {split!r} there."
            )
        with os.scandir(folder) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
        for problem, bad in (
            ("do not exist", [n for n in file_names if n not in sizes]),
            ("have zero bytes", [n for n in file_names if sizes.get(n) == 0]),
        ):
            if bad:
                raise DataError(
                    f"{len(bad)} of {len(file_names)} image files {problem}, the first is "
                    f"{os.path.join(folder, bad[0])!r}. Fix: restore them, or take their entries "
                    f"out of {self._file('instances', split, self._year[split])}."
                )
        return folder

    def _file(self, kind, split, year):
        return os.path.join(self._folder, f"{kind}_{split}{year}.json")

    def _read(self, kind, split, keys):
        return read_annotations(self._file(kind, split, self._year[split]), keys)


# What each entry of a section must have, so that a broken file fails here, by name.
_REQUIRED = {
    "images": {"id": int, "file_name": str},
    "categories": {"id": int, "name": str},
    "instances": {"image_id": int, "category_id": int},
    "captions": {"image_id": int, "caption": str},
}


def read_annotations(path, sections):
    """Reads a COCO annotation file and checks what will be used of it.

    Args:
        path: str. `.../instances_*.json` or `.../captions_*.json`.
        sections: tuple of str. The lists to check.

    Returns:
        The decoded JSON object.

    Raises:
        DataError: naming the file, the entry and the key.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise DataError(f"There is no file {path!r}. Fix: put it there.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path!r} is not JSON ({error}). Fix: download it again.") from None
    kind = os.path.basename(path).split("_")[0]
    for section in sections:
        entries = content.get(section) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise DataError(f"{path!r} has no list {section!r}. Fix: use a COCO {kind} file.")
        required = _REQUIRED[kind if section == "annotations" else section]
        for position, entry in enumerate(entries):
            for key, kind_of_value in required.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(key), kind_of_value):
                    raise DataError(
                        f"{path!r}: {section}[{position}] has no {key!r} of type "
                        f"{kind_of_value.__name__}. Fix: repair the entry."
                    )
    return content


def _first_existing(folders):
    return next((folder for folder in folders if os.path.isdir(folder)), None)
