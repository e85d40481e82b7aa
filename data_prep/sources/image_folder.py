"""Images in one folder per class, as ImageNet is unpacked: `train/{class}/*.jpg`."""

import functools
import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse

from data_prep.errors import DataError
from data_prep.sources.files import ImageFolder, check_folder
from data_prep.sources.source import Examples, Source

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp")
MAX_DENSE_CLASSES = 64
_SPLIT_NAMES = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}


@dataclass
class _Found:
    """What lies in the folder of a split; an image is (class, name below the folder)."""

    classes: list = field(default_factory=list)
    images: list = field(default_factory=list)
    report: Counter = field(default_factory=Counter)


class ImageFolderSource(Source):
    """Images with the class that their folder names; no text.

    The layout is `{train,val,test}/{class}/*.jpg`, where val may be called validation or valid, or
    `{class}/*.jpg`, then the one split is `"all"`. Folders inside a class are searched, too. Hidden
    files are passed over.

    The labels are one-hot: uint8 up to 64 classes, else a float32 `scipy.sparse.csr_array`. The
    group of an image is a running number over all splits.

    Args:
        root: path of the folder that holds the splits or the classes.

    Raises:
        DataError: when there is no such folder, class or image, naming it and the fix.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("dog", "cat"):
        ...         (pathlib.Path(folder) / name).mkdir()
        ...         (pathlib.Path(folder) / name / "1.jpg").touch()
        ...     source = ImageFolderSource(folder)
        ...     examples = source.examples("all")
        >>> source.label_names, examples.ids, examples.labels.tolist()
        (['cat', 'dog'], ['all/cat/1.jpg', 'all/dog/1.jpg'], [[1, 0], [0, 1]])

    Reference:
        Russakovsky et al., "ImageNet large scale visual recognition challenge", IJCV 2015.
    """

    label_kind = "multi_class"

    def __init__(self, root):
        super().__init__(root)
        check_folder(self.root, "train/ and val/, or one folder per class")
        self._folders = _find_splits(self.root)
        self.splits = tuple(self._folders)

    @functools.cached_property
    def label_names(self):
        """The names of the class folders of all splits, sorted."""
        names = sorted({name for found in self._found.values() for name in found.classes})
        if not names:
            raise DataError(
                f"{self.root!r} holds no class folders. Fix: put the images of each class into a "
                "folder of its name."
            )
        return names

    def _read_split(self, split):
        path, found = self._folders[split], self._found[split]
        columns = {name: column for column, name in enumerate(self.label_names)}
        if not found.images:
            raise DataError(
                f"{path!r} holds no images in class folders ({', '.join(EXTENSIONS)}). Fix: put them "
                "there, or remove the folder."
            )
        folder = ImageFolder(path)
        images = [folder.find(name, f"image {name!r} in {path}") for _, name in found.images]
        classes = np.array([columns[name] for name, _ in found.images])
        numbers = {name: len(found.images) for name, found in self._found.items()}
        first = sum(numbers[name] for name in self.splits[: self.splits.index(split)])
        examples = Examples(
            ids=[f"{split}/{name}" for _, name in found.images],
            groups=np.arange(first, first + len(images), dtype=np.int64),
            images=images,
            labels=_one_hot(classes, len(columns)),
        )
        counts = {"images": len(images), "classes": len(columns)}
        unused = len(columns) - len(set(classes.tolist()))
        if unused:
            counts["classes without an image"] = unused
        return examples, {**counts, **found.report}

    @functools.cached_property
    def _found(self):
        found = {split: _search(path) for split, path in self._folders.items()}
        if "all" not in found:
            used = set(self._folders.values())
            beside = len([path for path in _list(self.root)[0].values() if path not in used])
            for split in found.values():
                if beside:
                    split.report["folders beside the splits, left out"] = beside
        return found


def _find_splits(root):
    """Returns `{split: folder}`; `{"all": root}` where the folders of `root` are classes."""
    folders, _ = _list(root)
    present = {
        split: [folders[name] for name in names if name in folders]
        for split, names in _SPLIT_NAMES.items()
    }
    present = {split: paths for split, paths in present.items() if paths}
    candidates = [path for paths in present.values() for path in paths]
    # A class may be called "train", but its folder then holds images and lies beside other classes.
    have_classes = any(_list(path)[0] for path in candidates)
    if not candidates or not (have_classes or len(candidates) == len(folders)):
        return {"all": root}
    for split, paths in present.items():
        if len(paths) > 1:
            raise DataError(
                f"{root!r} holds several folders of the split {split!r}: "
                f"{', '.join(map(os.path.basename, paths))}. Fix: keep one."
            )
    return {split: paths[0] for split, paths in present.items()}


def _search(path):
    """Lists the images of a split by name, without opening them.

    A linked folder must not lead out, or the search might go through the whole disk. A linked class
    is searched; a linked folder inside a class is not, it might lead round in a circle.
    """
    inside = ImageFolder(path)
    folders, files = _list(path)
    found = _Found(classes=list(folders))
    for name in files:
        kind = "images outside a class folder" if _is_image(name) else "files that are no images"
        found.report[f"{kind}, left out"] += 1
    for class_name in folders:
        inside.find(class_name, f"class {class_name!r} in {path}")
        waiting = [class_name]
        while waiting:
            parent = waiting.pop()
            folders_inside, files = _list(os.path.join(path, parent))
            for name in files:
                if _is_image(name):
                    found.images.append((class_name, f"{parent}/{name}"))
                else:
                    found.report["files that are no images, left out"] += 1
            for name, folder in reversed(folders_inside.items()):
                if os.path.islink(folder):
                    inside.find(f"{parent}/{name}", f"folder '{parent}/{name}' in {path}")
                    found.report["links to folders, left out"] += 1
                else:
                    waiting.append(f"{parent}/{name}")
    return found


def _list(path):
    """Returns `{name: path}` of the folders in a folder, and the names of its files, sorted."""
    try:
        with os.scandir(path) as entries:
            seen = sorted((e.name, e.is_dir()) for e in entries if not e.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"The folder {path!r} cannot be read ({error.strerror}). Fix: restore it."
        ) from None
    folders = {name: os.path.join(path, name) for name, is_folder in seen if is_folder}
    return folders, [name for name, is_folder in seen if not is_folder]


def _is_image(name):
    return name.lower().endswith(EXTENSIONS)


def _one_hot(classes, num_classes):
    if num_classes <= MAX_DENSE_CLASSES:
        return np.eye(num_classes, dtype=np.uint8)[classes]
    ones = np.ones(len(classes), np.float32)
    rows = np.arange(len(classes) + 1)
    return scipy.sparse.csr_array((ones, classes, rows), shape=(len(classes), num_classes))
