"""COCO as TensorFlow Datasets prepares it: `coco_captions` (2014, with captions), `coco/2017`."""

import glob
import os
from collections import Counter

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf import json_format

from data_prep.errors import DataError
from data_prep.records import Records
from data_prep.sources.source import Examples, Source

_CANONICAL = {"validation": "val"}  # what we call a split that TFDS calls otherwise


class CocoTfdsSource(Source):
    """COCO from a TFDS data directory; the images stay in its record files.

    Nothing is downloaded: prepare it once with `tfds build coco_captions`. The index is made by one
    pass over the record files.

    Args:
        root: path of the TFDS data directory, such as ~/tensorflow_datasets.
        dataset: str. `"coco_captions"`, `"coco/2017"` or `"coco/2014"`; the latter two have no captions.

    Raises:
        DataError: when the data set is not there, or is none of COCO.
    """

    def __init__(self, root, dataset="coco_captions"):
        super().__init__(root, dataset=dataset)
        fix = f"Fix: tfds build {dataset} --data_dir {self.root}, or pass the directory that holds it."
        pattern = os.path.join(glob.escape(os.path.join(self.root, dataset)), "**", "features.json")
        found = sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise DataError(f"{self.root!r} holds no prepared {dataset!r}. {fix}")
        folder = os.path.dirname(found[-1])  # the newest version
        try:
            self._builder = tfds.builder_from_directory(folder)
        except (ValueError, KeyError, OSError, json_format.Error) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(f"{folder!r} cannot be read ({reason}). {fix}") from None
        names = self._builder.info.splits
        if not names:
            raise DataError(f"{self.root!r} holds no prepared {dataset!r}. {fix}")
        features = self._builder.info.features
        if "objects" not in features or "image" not in features:
            raise DataError(
                f"{dataset!r} has no objects in images. Fix: coco_captions or coco/2017."
            )
        self.label_names = features["objects"]["label"].names
        self._has_captions = "captions" in features
        self._names = {_CANONICAL.get(name, name): name for name in names}
        self.splits = tuple(self._names)

    def _read_split(self, split):
        wanted = {"image/id": True, "objects": {"label"}}
        if self._has_captions:
            wanted["captions"] = {"text"}
        dataset = self._builder.as_dataset(
            split=self._names[split],
            decoders=tfds.decode.PartialDecoding(wanted),
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
            shuffle_files=False,
        )
        groups, captions, labels = [], [], []
        report = Counter(images=0, captions=0, objects=0)
        for example in dataset.as_numpy_iterator():
            groups.append(int(example["image/id"]))
            vector = np.zeros(len(self.label_names), np.uint8)
            vector[example["objects"]["label"]] = 1
            labels.append(vector)
            report["objects"] += len(example["objects"]["label"])
            if self._has_captions:
                texts = [" ".join(text.decode().split()) for text in example["captions"]["text"]]
                captions.append([text for text in texts if text])
                report["empty captions, left out"] += texts.count("")
        report["images"], report["captions"] = len(groups), sum(map(len, captions))
        examples = Examples(
            ids=[f"{split}/{group}" for group in groups],
            groups=np.array(groups, np.int64),
            labels=np.stack(labels),
            images=[f"{split}/{group}" for group in groups],
            captions=captions if self._has_captions else None,
        )
        return examples, {name: count for name, count in report.items() if count}

    def records(self, split):
        """TFDS's own record files."""
        info = self._builder.info.splits[self._names[split]]
        rows = np.arange(info.num_examples)
        return Records(
            [str(path) for path in info.filepaths], list(info.shard_lengths), _parse, rows
        )


def _parse(records, positions):
    parsed = tf.io.parse_example(records, {"image": tf.io.FixedLenFeature((), tf.string)})
    return positions, parsed["image"]
