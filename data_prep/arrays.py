"""Arrays from `.npz` files, without the Python objects that such a file could hold."""

import zipfile

import numpy as np

from data_prep.errors import DataError


def read_arrays(path):
    """Reads all arrays of an `.npz` file.

    Args:
        path: str.

    Returns:
        A dict of name to array.

    Raises:
        DataError: when the file is damaged, or holds pickled objects, which run what the file says when
            they are loaded.
        FileNotFoundError: when it is not there.

    Example:

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
    ...     np.savez(file.name, counts=[1, 2])
    ...     read_arrays(file.name)
    {'counts': array([1, 2])}
    """
    try:
        with open(path, "rb") as content, np.load(content, allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        # TypeError: of an `.npy` file, which is one array and no archive.
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{str(path)!r} is no file of plain arrays ({reason}). Fix: copy it again, or make it again by the "
            "command that wrote it."
        ) from None
