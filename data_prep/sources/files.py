"""Reading what lies in a data set's folder, without trusting it."""

import os

import msgspec

from data_prep.errors import DataError, no_file

MAX_NAME_BYTES = 1024
PARENT_FIX = "use a plain file name, or a path inside the image folder, without '..'"


def read_json(path, kind):
    """Reads a JSON file into a typed structure; what the type does not name is skipped unread.

    A COCO file of 300 MB, most of it polygons, takes about 2 s and little more memory than its text.

    Args:
        path: str.
        kind: a type that `msgspec` knows, such as a `msgspec.Struct`.

    Returns:
        An instance of `kind`.

    Raises:
        DataError: naming the file, and the entry and key that are wrong.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
        return msgspec.json.decode(content, type=kind)
    except FileNotFoundError:
        raise no_file(path) from None
    except OSError as error:
        raise DataError(f"{path!r} cannot be read ({error.strerror}). Fix: restore it.") from None
    except msgspec.ValidationError as error:
        raise DataError(f"{path!r} is not in its format: {error}. Fix: repair the entry.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fix = "download it again"
        if b"NaN" in content or b"Infinity" in content:  # which Python writes
            fix += "; NaN and Infinity are not JSON either"
        raise DataError(f"{path!r} is not JSON ({error}). Fix: {fix}.") from None


def read_lines(path):
    """Reads a text file as UTF-8, with or without a byte order mark.

    Returns:
        A list of str, the lines without their ends; empty ones too.

    Raises:
        DataError: when it cannot be read, naming the line that is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise no_file(path) from None
    except OSError as error:
        raise DataError(f"{path!r} cannot be read ({error.strerror}). Fix: restore it.") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path!r}, line {line}, is not UTF-8. Fix: save the file as UTF-8."
        ) from None
    # Not splitlines(), which also ends lines at signs that may stand in a caption.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def check_folder(root, contents):
    """Checks that the folder of a data set is there.

    Args:
        root: str.
        contents: str. What it holds, for the message ("train/ and val/").

    Raises:
        DataError: when it is not.
    """
    if not os.path.isdir(root):
        raise DataError(
            f"There is no folder {str(root)!r}. Fix: pass the folder that holds {contents}, "
            "--data.root DIR."
        )


def first_folder(*folders):
    """The first of these folders that exists, or `None`."""
    return next((folder for folder in folders if os.path.isdir(folder)), None)


def find_split_folder(root, name, split):
    """Finds the image folder of a split of COCO, also one that was unpacked into itself.

    Args:
        root: str.
        name: str, such as "train2014".
        split: str. For the message.

    Raises:
        DataError: when there is none.
    """
    parts = [(root, name, name), (root, name), (root, "images", name)]
    folder = first_folder(*[os.path.join(*part) for part in parts])
    if folder is None:
        raise DataError(
            f"There is no image folder {os.path.join(root, name)!r}. Fix: unpack the images of "
            f"{split!r} there."
        )
    return folder


class ImageFolder:
    """Turns file names that a data set gives into paths inside its image folder.

    Whether the files exist is not checked here, but none can lead out of the folder: the folder
    itself may be a link that the user made, what is in it may not link to somewhere else.

    Args:
        path: str. An existing folder.
    """

    def __init__(self, path):
        self.path = path
        self._real = os.path.realpath(path)
        self._parents = {"": self._links(path)}

    def find(self, name, record):
        """Returns the path of a file.

        Args:
            name: str. As the data set has it.
            record: str. What names it, for the message ("image id 7").

        Raises:
            DataError: when the name is absolute, has `..`, a NUL byte or more than 1,024 bytes, or
                is a link that leads out of the folder.
        """
        problem, shown = None, name
        try:
            length = len(name.encode())
        except UnicodeEncodeError:
            raise DataError(
                f"The {record} has the file name {name!r}, which is not UTF-8. Fix: {PARENT_FIX}."
            ) from None
        if length > MAX_NAME_BYTES:
            problem, shown = f"is {length:,} bytes long", name[:40] + "..."
        elif not name:
            problem = "is empty"
        elif "\0" in name:
            problem = "has a NUL byte"
        elif os.path.isabs(name) or name[1:3] in (":\\", ":/"):
            problem = "is absolute"
        elif ".." in name.replace("\\", "/").split("/"):
            problem = "leads out of the image folder"
        elif self._leads_out(name):
            problem = f"is a link that leads out of {self.path!r}"
        if problem:
            raise DataError(
                f"The {record} has a file name that {problem}: {shown!r}. Fix: {PARENT_FIX}."
            )
        return os.path.join(self.path, name)

    def _leads_out(self, name):
        parent, _, base = name.rpartition("/")
        if parent not in self._parents:
            folder = os.path.join(self.path, parent)
            is_inside = self._is_inside(folder)
            self._parents[parent] = self._links(folder) if is_inside else None
        links = self._parents[parent]
        if links is None:
            return True
        return base in links and not self._is_inside(os.path.join(self.path, name))

    def _is_inside(self, path):
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real + os.sep)

    @staticmethod
    def _links(folder):
        """The names of the links in a folder; one scan is faster than a question per file."""
        try:
            with os.scandir(folder) as entries:
                return {entry.name for entry in entries if entry.is_symlink()}
        except OSError:
            return set()  # no such folder: its files will be reported as missing
