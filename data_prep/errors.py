"""The one error that bad data raises."""

import os

from data_prep.names import similar_path


class DataError(ValueError):
    """A file, record or folder is not what it should be.

    The message is one line: it names the file or value, and the fix.
    """


def no_file(path):
    """The error of a file that is not there, with the name in its folder that is most like it.

    Args:
        path: str.

    Example:

    >>> print(no_file("nowhere/photos.csv"))
    There is no file 'nowhere/photos.csv', nor a folder 'nowhere'. Fix: check the path.
    """
    folder = os.path.dirname(path)
    if not os.path.isdir(folder or os.curdir):
        return DataError(
            f"There is no file {path!r}, nor a folder {folder!r}. Fix: check the path."
        )
    looked = "" if os.path.isabs(path) else f" in {os.path.abspath(folder)!r}"
    return DataError(f"There is no file {path!r}{looked}.{similar_path(path)} Fix: check the path.")
