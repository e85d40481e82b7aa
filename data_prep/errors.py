"""The one error that bad data raises."""

import difflib
import os


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
    folder, name = os.path.split(path)
    where = folder or os.curdir
    if not os.path.isdir(where):
        return DataError(
            f"There is no file {path!r}, nor a folder {folder!r}. Fix: check the path."
        )
    close = difflib.get_close_matches(name, os.listdir(where), n=1)
    hint = f" Did you mean {os.path.join(folder, close[0])!r}?" if close else ""
    return DataError(
        f"There is no file {path!r} in {os.path.abspath(where)!r}.{hint} Fix: check the path."
        if not os.path.isabs(path)
        else f"There is no file {path!r}.{hint} Fix: check the path."
    )
