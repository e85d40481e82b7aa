"""Flickr8k and Flickr30k as they are distributed: one text file of captions, one image folder.

The caption file is `captions.txt` (`image,caption`), `results.csv` (`image_name| comment_number|
comment`) or `*.token.txt` / `*.token` (`1000268201.jpg#0<tab>caption`). Which of the three it is
says its first line, so it may have another name when it is passed itself.
"""

import csv
import functools
import os
import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from data_prep.errors import DataError
from data_prep.sources.files import ImageFolder, check_folder, read_lines
from data_prep.sources.source import Examples, Source

# Where the copies of these data sets keep the images, below the folder of the captions or there.
FLICKR_FOLDERS = (
    "images",
    "Images",
    "flickr30k-images",
    "flickr30k_images",
    "Flicker8k_Dataset",  # as the official archive spells it
    "Flickr8k_Dataset",
)
_TEXT_FOLDER = "Flickr8k_text"
_SPLIT_FILES = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
_FORMATS = (
    "a header 'image,caption', a header 'image_name| comment_number| comment', or rows like "
    "'name.jpg#0<tab>caption'"
)
_REPAIRED = "rows with a missing separator, repaired"
_NUM_PROBED = 100  # a first file that was lost does not make the folder unknown


@dataclass
class _Image:
    """What the caption file says of an image: `line` is its first one, `odd` goes to the report."""

    position: int
    line: int
    captions: list = field(default_factory=list)
    odd: list = field(default_factory=list)


class CaptionsCsvSource(Source):
    r"""Images with captions, one example per image, no labels.

    The splits are those of `Flickr_8k.trainImages.txt`, `Flickr_8k.devImages.txt` and
    `Flickr_8k.testImages.txt` if they lie beside the captions, else there is one, `"all"`. The
    group of an image is its position in the caption file.

    Args:
        root: path of the folder that holds the caption file and the images, or of the caption file.

    Raises:
        DataError: when a file is missing or a row cannot be read, naming it and the fix.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = pathlib.Path(folder)
        ...     _ = (root / "captions.txt").write_text("image,caption\ndog.jpg,A dog runs .\n")
        ...     (root / "dog.jpg").touch()
        ...     examples = CaptionsCsvSource(root).examples("all")
        >>> examples.ids, examples.captions
        (['all/dog.jpg'], [['A dog runs .']])

    Reference:
        Hodosh, Young and Hockenmaier, "Framing image description as a ranking task", JAIR 2013
        (Flickr8k); Young et al., "From image descriptions to visual denotations", TACL 2014
        (Flickr30k).
    """

    label_names = []

    def __init__(self, root):
        super().__init__(root)
        self._path = _find_captions(self.root)
        is_folder = os.path.isdir(self.root)
        self._folder = self.root if is_folder else os.path.dirname(self.root) or "."
        self._split_files = {}
        for split, name in _SPLIT_FILES.items():
            for parts in ((name,), (_TEXT_FOLDER, name)):
                path = os.path.join(self._folder, *parts)
                if os.path.isfile(path):
                    self._split_files.setdefault(split, path)
        self.splits = tuple(self._split_files) or ("all",)

    def _read_split(self, split):
        chosen, counts = self._images, Counter()
        if split != "all":
            chosen = {name: i for name, i in chosen.items() if self._listed.get(name) == split}
            num_listed = list(self._listed.values()).count(split)
            counts["listed images without captions, left out"] = num_listed - len(chosen)
            counts["images of the caption file in no split"] = len(
                self._images.keys() - self._listed
            )
            if not chosen:
                raise DataError(
                    f"{self._split_files[split]!r} lists no image of {self._path!r}. Fix: use the "
                    "two files of one data set."
                )
        captions = [image.captions for image in chosen.values()]
        counts.update(problem for image in chosen.values() for problem in image.odd)
        files = [(name, f"line {image.line} of {self._path!r}") for name, image in chosen.items()]
        examples = Examples(
            ids=[f"{split}/{name}" for name in chosen],
            groups=np.array([image.position for image in chosen.values()], np.int64),
            images=image_paths(self._folder, files),
            captions=captions,
            labels=np.zeros((len(chosen), 0), np.uint8),
        )
        return examples, {**count_captions(captions), **+counts}  # + drops the zeros

    @functools.cached_property
    def _images(self):
        """The images of the whole caption file, `{file name: _Image}`."""
        images = {}
        for line, name, caption, is_repaired in _read_rows(self._path):
            image = images.setdefault(name, _Image(position=len(images), line=line))
            text = " ".join(caption.split())
            if text:
                image.captions.append(text)
            else:
                image.odd.append("empty captions, left out")
            if is_repaired:
                image.odd.append(_REPAIRED)
        if not images:
            raise DataError(f"{self._path!r} has no rows. Fix: download it again.")
        return images

    @functools.cached_property
    def _listed(self):
        """The split of each image that a split file lists."""
        listed = {}
        for split, path in self._split_files.items():
            for line, name in enumerate(map(str.strip, read_lines(path)), 1):
                if name in listed:
                    raise DataError(
                        f"{path!r}, line {line}: the image {name!r} is already in the split "
                        f"{listed[name]!r}. Fix: list each image once."
                    )
                if name:
                    listed[name] = split
        return listed


def count_captions(captions):
    """What the report of images with captions begins with.

    Args:
        captions: list of lists of str, one list per image.

    Returns:
        A dict of str to int.
    """
    return {
        "images": len(captions),
        "captions": sum(map(len, captions)),
        "images without captions": sum(not texts for texts in captions),
        "images with other than five captions": sum(len(texts) != 5 for texts in captions),
    }


def image_paths(root, files):
    """Finds the image folder at or below `root`, and the paths of the images in it.

    The folder is `root` or one of `FLICKR_FOLDERS`: the one where the first file lies.

    Args:
        root: str. The folder that holds the captions.
        files: list of (file name, what the message calls its record), not empty.

    Returns:
        A list of str. That the other files exist is not checked.

    Raises:
        DataError: when no such folder has an image, or a file name is unsafe.
    """
    paths = [root, *(os.path.join(root, name) for name in FLICKR_FOLDERS)]
    folders = [ImageFolder(path) for path in paths if os.path.isdir(path)]
    for name, record in files[:_NUM_PROBED]:
        for folder in folders:
            if os.path.isfile(folder.find(name, record)):
                return [folder.find(*file) for file in files]
    raise DataError(
        f"There is no image {files[0][0]!r}, nor one of those after it, in {root!r} or its folders "
        f"{', '.join(FLICKR_FOLDERS)}. Fix: unpack the images into {paths[1]!r}."
    )


def _find_captions(root):
    if os.path.isfile(root):
        return root
    check_folder(root, "captions.txt, results.csv or a token file")
    for folder in (root, os.path.join(root, _TEXT_FOLDER)):
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for ending in ("captions.txt", "results.csv", ".token.txt", ".token"):
            for name in names:
                is_whole = not ending.startswith(".")
                fits = name == ending if is_whole else name.endswith(ending) and name[0] != "."
                path = os.path.join(folder, name)
                if fits and os.path.isfile(path):
                    return path
    raise DataError(
        f"{root!r} holds no captions.txt, results.csv, *.token.txt or *.token. Fix: put the caption "
        "file there, or pass its path, --data.root FILE."
    )


def _read_rows(path):
    """Yields `(line, file name, caption, is repaired)`; lines count from 1."""
    lines = read_lines(path)
    header = "".join(lines[0].split()).replace('"', "").lower() if lines else ""
    if header == "image,caption":
        return _read_commas(lines, path)
    if header == "image_name|comment_number|comment":
        return _read_bars(lines, path)
    if re.match(r".+#\d+\t", lines[0] if lines else ""):
        return _read_tokens(lines, path)
    shown = repr(lines[0][:60]) if lines else "nothing"
    raise DataError(f"{path!r}, line 1, is {shown}. Fix: use a caption file with {_FORMATS}.")


def _read_commas(lines, path):
    # `strict`: else a quote that is never closed would swallow all the rows after it.
    rows = csv.reader((f"{line}\n" for line in lines), strict=True)
    line = 1
    try:
        for row in rows:
            is_blank = not any(map(str.strip, row))
            if line > 1 and len(row) == 1 and not is_blank:
                raise _unreadable(path, line, lines, "the form 'name.jpg,caption'")
            if line > 1 and not is_blank:
                # What is left of a caption with commas and without quotes is joined again.
                yield line, row[0].strip(), ",".join(row[1:]), False
            line = rows.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path!r}, line {line}, is not CSV ({error}). Fix: put the caption in quotes, and "
            "double the quotes in it."
        ) from None


def _read_bars(lines, path):
    for line, text in enumerate(lines[1:], 2):
        if not text.strip():
            continue
        fields = text.split("|", 2)
        is_whole = len(fields) == 3 and re.fullmatch(r"\s*\d+\s*", fields[1])
        # The released results.csv has one row with a space for its second separator.
        broken = re.fullmatch(r"\s*\d+\s+(\S.*)", fields[1]) if len(fields) == 2 else None
        if not is_whole and not broken:
            raise _unreadable(path, line, lines, "the form 'name.jpg| 0| caption'")
        yield line, fields[0].strip(), broken[1] if broken else fields[2], bool(broken)


def _read_tokens(lines, path):
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        row = re.fullmatch(r"([^\t]+)#\d+\t(.*)", text)
        if row is None:
            raise _unreadable(path, line, lines, "the form 'name.jpg#0<tab>caption'")
        yield line, row[1].strip(), row[2], False


def _unreadable(path, line, lines, form):
    shown = lines[line - 1]
    shown = shown if len(shown) <= 60 else shown[:60] + "..."
    return DataError(f"{path!r}, line {line}, is {shown!r}. Fix: give it {form}.")
