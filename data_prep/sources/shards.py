"""Prepared shards: the images in a few large files, resized and upright, the rest in an index.

Written by `python -m data_prep shards` (`data_prep.shards`). The record files are a TFDS data set, so
`tensorflow_datasets.builder_from_directory` reads them too.
"""

import glob
import os

import msgspec
import numpy as np
import tensorflow as tf
from scipy import sparse

from data_prep.arrays import read_arrays
from data_prep.errors import DataError
from data_prep.records import Records
from data_prep.sources.files import read_json
from data_prep.sources.source import Examples, Source

MANIFEST = "shards.json"
RECORDS = os.path.join("shards", "1.0.0")  # where TFDS puts the data set "shards"


class Manifest(msgspec.Struct):
    """What the shards were made of and how.

    Attributes:
        source: str, name of the source's class.
        fingerprint: str, of the source (`data_prep.fingerprint`).
        settings: dict of the source's settings.
        options: dict of what decides the content: image size, JPEG quality.
        label_names: list of str.
        label_kind: str.
        counts: dict of split to the records in each of its files.
        reports: dict of split to the report of the source.
        skipped: list of dicts of split, id, path and reason: images that could not be read.
        files: dict of relative path to size in bytes, of everything else in the folder.
    """

    source: str
    fingerprint: str
    settings: dict
    options: dict
    label_names: list[str]
    label_kind: str
    counts: dict[str, list[int]]
    reports: dict[str, dict[str, int]]
    skipped: list[dict]
    files: dict[str, int]


class ShardsSource(Source):
    """Prepared shards as a source.

    Args:
        root: path of the folder.

    Raises:
        DataError: when the folder is not one, or a file is missing or has another size.
    """

    def __init__(self, root):
        path = os.path.join(str(root), MANIFEST)
        if not os.path.isfile(path):
            raise DataError(
                f"{str(root)!r} holds no prepared shards. Fix: make them, python -m data_prep shards "
                "SOURCE --root DIR --output DIR."
            )
        self.manifest = manifest = read_json(path, Manifest)
        settings = {"shards_of": manifest.source, "options": manifest.options}
        super().__init__(root, **settings, fingerprint=manifest.fingerprint)
        self.splits = tuple(manifest.counts)
        self.label_names, self.label_kind = manifest.label_names, manifest.label_kind
        for name, size in manifest.files.items():
            file = os.path.join(self.root, name)
            if not os.path.isfile(file) or os.path.getsize(file) != size:
                raise DataError(
                    f"{file!r} is missing or has another size than when it was written. Fix: copy "
                    "the folder again, or make the shards anew."
                )

    def _read_split(self, split):
        return read_index(os.path.join(self.root, f"index-{split}")), self.manifest.reports[split]

    def records(self, split):
        """The record files of a split."""
        pattern = os.path.join(self.root, RECORDS, f"shards-{split}.tfrecord-*")
        rows = np.arange(len(self.examples(split)))
        counts = self.manifest.counts[split]
        return Records(sorted(glob.glob(pattern)), counts, _parse, rows, is_prepared=True)


def _parse(records, positions):
    features = {
        "row": tf.io.FixedLenFeature((), tf.int64),
        "image": tf.io.FixedLenFeature((), tf.string),
    }
    parsed = tf.io.parse_example(records, features)
    return parsed["row"], parsed["image"]


class _Texts(msgspec.Struct):
    ids: list[str]
    images: list[str] | None
    captions: list[list[str]] | None
    audio: list[str] | None
    table: dict[str, list[str]] | None
    details: dict


def write_index(index, path):
    """Writes an index as `PATH.json` (texts) and `PATH.npz` (numbers).

    Args:
        index: `Examples`.
        path: str, without an ending.
    """
    table = index.table or {}
    texts = {name: column for name, column in table.items() if isinstance(column, list)}
    content = _Texts(
        index.ids,
        index.images,
        index.captions,
        index.audio,
        None if index.table is None else texts,
        index.details,
    )
    with open(f"{path}.json", "wb") as file:
        file.write(msgspec.json.encode(content))
    labels = sparse.csr_array(index.labels)
    arrays = {
        "groups": index.groups,
        "starts": labels.indptr,
        "classes": labels.indices,
        "values": labels.data.astype(np.float32),
        "shape": np.array(labels.shape),
        "is_sparse": np.array(sparse.issparse(index.labels)),
        "is_float": np.array(index.labels.dtype.kind == "f"),
    }
    if index.series is not None:
        arrays["series"] = index.series
    arrays |= {f"table/{n}": c for n, c in table.items() if isinstance(c, np.ndarray)}
    np.savez_compressed(f"{path}.npz", **arrays)


def read_index(path):
    """Reads what `write_index` wrote."""
    texts = read_json(f"{path}.json", _Texts)
    arrays = read_arrays(f"{path}.npz")
    parts = (arrays["values"], arrays["classes"], arrays["starts"])
    labels = sparse.csr_array(parts, tuple(arrays["shape"]))
    if not arrays["is_sparse"]:
        labels = labels.toarray()
        labels = labels if arrays["is_float"] else labels.astype(np.uint8)
    numbers = {n.removeprefix("table/"): own for n, own in arrays.items() if "/" in n}
    return Examples(
        ids=texts.ids,
        groups=arrays["groups"],
        labels=labels,
        images=texts.images,
        captions=texts.captions,
        audio=texts.audio,
        series=arrays.get("series"),
        table=None if texts.table is None else {**texts.table, **numbers},
        details=texts.details,
    )
