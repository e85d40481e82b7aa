"""Karpathy's splits of COCO, Flickr30k and Flickr8k: `dataset_coco.json` and its two sisters.

Most papers on captioning and on retrieval report these splits. One file holds the captions and the
split of each image; the images are those of the data set itself.
"""

import functools
import os
from collections import Counter
from typing import Literal

import msgspec
import numpy as np

from data_prep.errors import DataError
from data_prep.names import find
from data_prep.sources.captions_csv import count_captions, image_paths
from data_prep.sources.files import check_folder, read_json
from data_prep.sources.source import Examples, Source

_DATASETS = ("coco", "flickr30k", "flickr8k")
_SPLITS = ("train", "restval", "val", "test")
_LARGEST_ID = 2**63 - 1


class _Sentence(msgspec.Struct):
    raw: str


class _Image(msgspec.Struct):
    filename: str
    imgid: int
    split: Literal["train", "restval", "val", "test"]
    sentences: list[_Sentence]
    filepath: str = ""
    cocoid: int | None = None


class _Content(msgspec.Struct):
    images: list[_Image]
    dataset: str = ""


class KarpathySource(Source):
    """Images with captions in Karpathy's splits, one example per image, no labels.

    COCO has a fourth split, `"restval"`: the 30,504 images of val2014 that are neither in `"val"`
    nor in `"test"`. Common practice adds them to the 82,783 of `"train"`.

    Args:
        root: path of the folder that holds the JSON file and the images, or of the JSON file.
        dataset: `"coco"`, `"flickr30k"` or `"flickr8k"`; needed where the folder holds the JSON
            files of several. Default: the one that is there.
        merge_restval: bool. Whether `"restval"` is put after `"train"`, in the split `"train"`.

    Raises:
        DataError: when a file is missing or not in the format, naming it and the fix.

    Reference:
        Karpathy and Fei-Fei, "Deep visual-semantic alignments for generating image descriptions",
        CVPR 2015, section 4.
    """

    label_names = []

    def __init__(self, root, dataset=None, merge_restval=False):
        super().__init__(root, dataset=dataset, merge_restval=merge_restval)
        if dataset is not None:
            try:
                find(dataset, _DATASETS, "`dataset`")
            except ValueError as error:
                raise DataError(f"{error} Fix: --data.options dataset=coco, for example.") from None
        self.dataset = dataset
        self.merge_restval = merge_restval
        self._path = _find_json(self.root, dataset)
        is_folder = os.path.isdir(self.root)
        self._folder = self.root if is_folder else os.path.dirname(self.root) or "."

    @functools.cached_property
    def splits(self):
        """The splits that occur in the file, in the order train, restval, val, test."""
        return tuple(split for split in _SPLITS if self._images[split])

    def _read_split(self, split):
        entries = self._images[split]
        report = Counter()
        captions = []
        for entry in entries:
            texts = [" ".join(sentence.raw.split()) for sentence in entry.sentences]
            captions.append([text for text in texts if text])
            if len(captions[-1]) < len(texts):
                report["empty captions, left out"] += len(texts) - len(captions[-1])
        files = [
            (os.path.join(entry.filepath, entry.filename), f"image {entry.imgid} in {self._path}")
            for entry in entries
        ]
        examples = Examples(
            ids=[f"{split}/{entry.imgid}" for entry in entries],
            groups=np.array([self._group(entry) for entry in entries], np.int64),
            images=image_paths(self._folder, files),
            captions=captions,
            labels=np.zeros((len(entries), 0), np.uint8),
        )
        return examples, {**count_captions(captions), **report}

    @functools.cached_property
    def _images(self):
        """The entries of the file by split, `{split: list of _Image}`; it is read once for all."""
        content = read_json(self._path, _Content)
        if self.dataset and content.dataset and content.dataset != self.dataset:
            raise DataError(
                f"{self._path!r} is of the data set {content.dataset!r}, not {self.dataset!r}. Fix: "
                "pass the other file, or another dataset."
            )
        if not content.images:
            raise DataError(f"{self._path}: 'images' is empty. Fix: download the file again.")
        images = {split: [] for split in _SPLITS}
        seen = set()
        for entry in content.images:
            if entry.imgid in seen:
                raise DataError(
                    f"{self._path}: imgid {entry.imgid} appears twice. Fix: remove one."
                )
            seen.add(entry.imgid)
            for name, number in (("imgid", entry.imgid), ("cocoid", entry.cocoid or 0)):
                if not -_LARGEST_ID <= number <= _LARGEST_ID:
                    raise DataError(
                        f"{self._path}: {name} {number} needs more than 64 bits. Fix: renumber."
                    )
            images[entry.split].append(entry)
        if self.merge_restval:
            images["train"] += images["restval"]
            images["restval"] = []
        return images

    @functools.cached_property
    def _has_coco_ids(self):
        # One kind of number for the whole file: an imgid may equal the cocoid of another image.
        entries = [entry for split in self._images.values() for entry in split]
        return all(entry.cocoid is not None for entry in entries)

    def _group(self, entry):
        return entry.cocoid if self._has_coco_ids else entry.imgid


def _find_json(root, dataset):
    if os.path.isfile(root):
        return root
    check_folder(root, "dataset_coco.json and the images")
    paths = {name: os.path.join(root, f"dataset_{name}.json") for name in _DATASETS}
    found = [name for name, path in paths.items() if os.path.isfile(path)]
    if dataset is None and len(found) > 1:
        raise DataError(
            f"{root!r} holds {', '.join(f'dataset_{name}.json' for name in found)}. Fix: choose, "
            f"for example dataset={found[0]!r} (--data.options dataset={found[0]})."
        )
    if not found or dataset not in (None, *found):
        raise DataError(
            f"{root!r} holds no dataset_{dataset or '*'}.json ({', '.join(found or _DATASETS)}). Fix: "
            "put Karpathy's file there, or pass its path, --data.root FILE."
        )
    return paths[dataset or found[0]]
