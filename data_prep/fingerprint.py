"""One number that says whether two data sets are the same."""

import hashlib
import json
import os

import numpy as np
from scipy import sparse

from data_prep.errors import DataError


def fingerprint(source, splits=None):
    """Hashes what a model learns from: ids, texts, tables, labels, their names, file sizes.

    Args:
        source: a source.
        splits: iterable of str; by default all of the source.

    Returns:
        str, 64 hexadecimal digits.

    Raises:
        DataError: when a file is gone.
    """
    digest = hashlib.sha256(json.dumps(list(source.label_names)).encode())
    for split in splits or source.splits:
        index = source.examples(split)
        records = source.records(split)
        images = index.images if records is None else records.paths
        paths = [*(images or ()), *(index.audio or ())]
        sizes = [_size(path) if path else 0 for path in paths]
        # A column of numbers shows its name here, its values below.
        table = {
            name: column if isinstance(column, list) else None
            for name, column in (index.table or {}).items()
        }
        digest.update(json.dumps([split, index.ids, index.captions, sizes, table]).encode())
        labels = index.labels
        dense = [index.groups, index.series] if index.series is not None else [index.groups]
        dense += [c for c in (index.table or {}).values() if isinstance(c, np.ndarray)]
        if sparse.issparse(labels):
            # The width of the indices is scipy's choice.
            dense += [labels.indptr.astype(np.int64), labels.indices.astype(np.int64), labels.data]
        else:
            dense += [labels]
        for array in dense:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _size(path):
    try:
        return os.path.getsize(path)
    except OSError as error:
        raise DataError(f"{path!r} cannot be read ({error.strerror}). Fix: restore it.") from None
