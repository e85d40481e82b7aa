"""What is wrong with a data set: a report, never silence.

`examine` reads every image once and every caption and label, and says what training would lose and
what is odd; `save` and `print_diagnosis` show it.
"""

import contextlib
import dataclasses
import functools
import json
import os
from dataclasses import dataclass

import numpy as np
from rich.table import Table
from rich.text import Text

from data_prep import describe, doctor_figures
from data_prep.duplicates import find_groups
from data_prep.measure import measure, num_files
from data_prep.screening import LARGEST_SHARE, find_bad_recordings, find_empty

NUM_SHOWN = 5  # examples of a finding
_MAX_NOTE = 80  # characters of a caption

# What the entries of a source's own report mean whose names have these words in them.
_LOSS_WORDS = ("left out", "unknown")
_WARNING_WORDS = ("repaired", "without")
# Entries that would repeat what is found here, where the examples are named, too.
_FOUND_HERE = (
    "images without captions",
    "images without labels",
    "categories without an example",
    "classes without an example",
    "classes without an image",
)


@dataclass(frozen=True)
class Diagnosis:
    """What was found. All values are plain JSON types: `Diagnosis(**diagnosis.to_dict())` is equal.

    Attributes:
        source: str, name of the source's class.
        root: str or `None`, its folder or file.
        label_names: list of str.
        label_kind: str, see `data_prep.sources.source.Source`.
        splits: dict of split to a dict of `examples` (number), `report` (the source's own), and
            `images`, `captions` and `labels`: dicts as `data_prep.describe` returns them, `None`
            where the split has none. `images` also has `unreadable`, a list of `id`, `path` and
            `reason` per example, and the numbers of images that are `repeated` in the split or
            `in_other_splits`.
        duplicates: list of groups of pictures that are the same or nearly: `same_file`,
            `cross_split` (bool) and `images`, a list of `split`, `id` and `path`. Every picture is
            a copy of the first.
        findings: list of what is odd, the worst first: `split`, `what`, `count`, `meaning`,
            `is_loss` and `examples`, a list of at most 5 of `id`, `path` and `note`.
        losses: list of str, sentences: what training would not see, or could not stand.
        warnings: list of str, sentences: what is odd and would still be used.
    """

    source: str
    root: str | None
    label_names: list
    label_kind: str
    splits: dict
    duplicates: list
    findings: list
    losses: list
    warnings: list

    @property
    def exit_code(self):
        """1 when something would be lost in training, else 0."""
        return 1 if self.losses else 0

    def to_dict(self):
        """The fields as a dict of plain JSON types."""
        return dataclasses.asdict(self)


def examine(source, splits=None, *, tokenizer_vocabulary=None, sequence_length=32, progress=None):
    """Examines the images, captions and labels of a data set.

    Args:
        source: a source. One with the option `strict` should have it off, or its first bad
            annotation is an error.
        splits: iterable of str; by default all of the source.
        tokenizer_vocabulary: path of the vocabulary of an uncased BERT, or `None`. With it, the
            tokens of captions are its word pieces, else words, of which there are no more.
        sequence_length: int. Tokens that a model will read of a caption, the two special ones
            ([CLS] and [SEP]) included.
        progress: callable `(done, total)`, called as images are read, or `None`.

    Returns:
        A `Diagnosis`.

    Raises:
        DataError: when the source or the vocabulary cannot be read at all.

    Example:

    >>> import tempfile
    >>> from data_prep.sources.shapes import ShapesSource
    >>> source = ShapesSource(tempfile.mkdtemp() + "/shapes", num_train=4, num_val=4)
    >>> diagnosis = examine(source, ["val"])
    >>> diagnosis.splits["val"]["images"]["sizes"], diagnosis.exit_code
    ([[96, 96, 4]], 0)
    """
    if sequence_length <= describe.SPECIAL_TOKENS:
        raise ValueError(
            "`sequence_length` must be at least 3: two special tokens and one more. "
            f"Received: sequence_length={sequence_length}."
        )
    tokenizer = None
    if tokenizer_vocabulary is not None:
        tokenizer = describe.read_tokenizer(tokenizer_vocabulary)
    splits = list(source.splits if splits is None else splits)
    findings, descriptions, measured = [], {}, {}
    total = sum(num_files(source, split) for split in splits)
    for split in splits:
        index = source.examples(split)
        found = _Findings(split, index)
        description = {"examples": len(index), "report": dict(source.report(split))}
        description |= dict.fromkeys(("images", "captions", "labels"))
        if index.images is not None:
            before = sum(len(m.rows) for m in measured.values())
            measured[split] = measure(
                source,
                split,
                None if progress is None else lambda n, _, b=before: progress(b + n, total),
            )
            is_prepared = source.records(split) is not None
            description["images"] = _examine_images(measured[split], is_prepared, found)
        if index.captions is not None:
            description["captions"] = _examine_captions(
                index.captions, sequence_length, tokenizer, found
            )
        if index.audio is not None:
            _examine_audio(index.audio, found)
        found.add(
            found.empty,
            "examples with nothing to see",
            "No image, no text or other modality: training leaves them out.",
            is_loss=True,
        )
        if index.labels.shape[1]:
            description["labels"] = _examine_labels(source, index.labels, found)
        _read_report(description["report"], found)
        findings += found.items
        descriptions[split] = description
    duplicates = _find_duplicates(source, measured)
    in_duplicates, counts = _examine_duplicates(duplicates, list(measured), source.root)
    findings += in_duplicates
    for split in measured:
        descriptions[split]["images"] |= counts[split]
    # What is in several splits, and so in none of these, makes every figure wrong.
    findings.sort(key=lambda f: (not f["is_loss"], f["split"] in descriptions, -f["count"]))
    return Diagnosis(
        source=type(source).__name__,
        root=source.root,
        label_names=list(source.label_names),
        label_kind=source.label_kind,
        splits=descriptions,
        duplicates=duplicates,
        findings=findings,
        losses=[_sentence(item) for item in findings if item["is_loss"]],
        warnings=[_sentence(item) for item in findings if not item["is_loss"]],
    )


def _sentence(item):
    what = item["what"][0].upper() + item["what"][1:]
    return f"{what} ({item['split']}): {item['count']:,}. {item['meaning']}"


def _finding(split, what, meaning, count, examples=(), is_loss=False):
    keys = ("id", "path", "note")
    return {
        "split": split,
        "what": what,
        "count": count,
        "meaning": meaning,
        "is_loss": is_loss,
        "examples": [dict(zip(keys, item, strict=True)) for item in examples],
    }


class _Findings:
    """Collects the findings of one split."""

    def __init__(self, split, index):
        self.split, self.index, self.items = split, index, []
        self.empty = find_empty(index).tolist() if index.modalities else []

    def place(self, row):
        """The id and path of an example."""
        return self.index.ids[row], self.index.images[row] if self.index.images else ""

    def add(self, rows, what, meaning, is_loss=False):
        """Adds a finding about examples: rows, or pairs of row and note; none of none."""
        items = [row if isinstance(row, tuple) else (row, "") for row in rows[:NUM_SHOWN]]
        examples = [(*self.place(row), note) for row, note in items]
        self.add_count(len(rows), what, meaning, examples, is_loss)

    def add_count(self, count, what, meaning, examples=(), is_loss=False):
        """Adds a finding, unless the count is zero."""
        if count:
            self.items.append(_finding(self.split, what, meaning, count, examples, is_loss))


def _examine_images(measured, is_prepared, found):
    description = describe.describe_sizes(measured)
    problems = sorted(measured.problems.items())
    if is_prepared:
        meaning = "Training would end at the first. Fix: make the shards anew."
    elif len(problems) <= LARGEST_SHARE * len(found.index):
        meaning = "Training leaves their examples out."
    else:
        meaning = f"More than {LARGEST_SHARE:.0%}: training starts only where that is allowed."
    found.add(problems, "images that cannot be read", meaning, is_loss=True)
    empty = set(found.empty)
    absent = [row for row, path in enumerate(found.index.images) if not path and row not in empty]
    found.add(absent, "examples without an image", "The model sees that it is missing.")
    description["unreadable"] = [
        dict(zip(("id", "path", "reason"), (*found.place(row), problem), strict=True))
        for row, problem in problems
    ]
    return description


def _examine_audio(files, found):
    problems = sorted(find_bad_recordings(files).items())
    notes = [(row, f"{os.path.basename(path)} {reason}") for row, (path, reason) in problems]
    meaning = "Training leaves their examples out, up to the share that is allowed."
    found.add(notes, "recordings that cannot be read", meaning, is_loss=True)


def _examine_captions(captions, sequence_length, tokenizer, found):
    description, odd = describe.describe_captions(captions, sequence_length, tokenizer)
    kind, empty = description["token_kind"], set(found.empty)
    odd["empty"] = [item for item in odd["empty"] if item[0] not in empty]
    for name, what, meaning in (
        ("empty", "examples without a caption", "The model sees that it is missing."),
        (
            "overlong",
            f"captions of more than {sequence_length} tokens ({kind}, [CLS] and [SEP])",
            "Their end is cut off, unless the model reads longer texts "
            "(--model.text.sequence-length).",
        ),
        ("no_text", "captions with characters that are no text", "Was their encoding mistaken?"),
        ("repeated", "captions that repeat one of the same example", "They count more often."),
    ):
        found.add([(row, _cut(text)) for row, text in odd[name]], what, meaning)
    return description


def _examine_labels(source, labels, found):
    if source.label_kind == "regression":
        description, odd = describe.describe_targets(labels)
        found.add(
            odd["not_finite"],
            "examples with a target that is no finite number",
            "The loss would become no number.",
            is_loss=True,
        )
        return description
    description, odd = describe.describe_labels(labels, source.label_kind)
    found.add(odd["without_label"], "examples without a label", "Does no class apply to them?")
    found.add(
        odd["several_labels"], "examples with several labels", "Exactly one class should be true."
    )
    names = [
        name for name, n in zip(source.label_names, description["counts"], strict=True) if not n
    ]
    found.add_count(
        len(names),
        "classes without an example",
        "They cannot be learned from this split, and it has no figure for them.",
        [("", "", name) for name in names[:NUM_SHOWN]],
    )
    return description


def _read_report(report, found):
    for what, count in report.items():
        is_loss = any(word in what for word in _LOSS_WORDS)
        if what in _FOUND_HERE or not (is_loss or any(word in what for word in _WARNING_WORDS)):
            continue
        meaning = "Training does not see them." if is_loss else "The source counted them."
        found.add_count(count, what, meaning, is_loss=is_loss)


def _find_duplicates(source, measured):
    """Returns the groups of pictures that are the same, over all splits."""
    thumbnails = [m.thumbnails[m.is_read] for m in measured.values()]
    contents = [m.contents[m.is_read] for m in measured.values()]
    places = [(split, row) for split, m in measured.items() for row in m.rows[m.is_read].tolist()]
    if not places:
        return []
    contents, groups = np.concatenate(contents), find_groups(np.concatenate(thumbnails))
    duplicates = []
    for group in groups:
        pictures = []
        for split, row in (places[position] for position in group.tolist()):
            index = source.examples(split)
            pictures.append({"split": split, "id": index.ids[row], "path": index.images[row]})
        same_file = len(set(contents[group].tolist())) == 1
        cross_split = len({picture["split"] for picture in pictures}) > 1
        duplicates.append({"same_file": same_file, "cross_split": cross_split, "images": pictures})
    return duplicates


def _examine_duplicates(duplicates, splits, root):
    """Returns the findings, and for each split how many images repeat, and are elsewhere, too."""
    repeated, elsewhere = {split: set() for split in splits}, {split: set() for split in splits}
    within, across = {split: [] for split in splits}, {}
    for group in duplicates:
        by_split = {split: [i for i in group["images"] if i["split"] == split] for split in splits}
        by_split = {split: members for split, members in by_split.items() if members}
        for split, (first, *others) in by_split.items():
            repeated[split].update(other["id"] for other in others)
            within[split] += [(first, other) for other in others]
            if len(by_split) > 1:
                elsewhere[split].update(picture["id"] for picture in (first, *others))
        if len(by_split) > 1:
            pair = [members[0] for members in by_split.values()][:2]
            across.setdefault(" and ".join(by_split), []).append(pair)

    def examples(pairs):
        for first, second in pairs[:NUM_SHOWN]:
            note = f"is {second['id']}  {_from_root(second['path'], root)}"
            yield first["id"], first["path"], note

    what = "pictures that are in several splits"
    meaning = "What was learned by heart counts as right: the figures will be too good."
    findings = [
        _finding(names, what, meaning, len(pairs), examples(pairs))
        for names, pairs in across.items()
    ]
    what, meaning = "images that repeat another one of the split", "They count more often."
    findings += [
        _finding(split, what, meaning, len(repeated[split]), examples(pairs))
        for split, pairs in within.items()
        if pairs
    ]
    counts = {
        split: {"repeated": len(repeated[split]), "in_other_splits": len(elsewhere[split])}
        for split in splits
    }
    return findings, counts


def save(diagnosis, folder):
    """Writes `doctor.json` and the figures; those of an earlier time that are not drawn now go.

    Args:
        diagnosis: `Diagnosis`.
        folder: path of a folder, which is made if there is none.

    Returns:
        A list of str, the paths that were written.
    """
    os.makedirs(folder, exist_ok=True)
    content = json.dumps(diagnosis.to_dict(), indent=1, allow_nan=False)
    files = {"doctor.json": lambda file: file.write(content.encode())}
    for name, figure in doctor_figures.draw(diagnosis).items():
        files[name] = functools.partial(doctor_figures.write, figure)
    for name, write in files.items():
        path = os.path.join(folder, name)
        with open(f"{path}.part", "wb") as file:
            write(file)
        os.replace(f"{path}.part", path)
    for name in set(doctor_figures.NAMES) - set(files):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, name))
    return [os.path.join(folder, name) for name in files]


def print_diagnosis(diagnosis, console):
    """Prints an overview with a column per split, the findings with examples, and the verdict.

    Args:
        diagnosis: `Diagnosis`.
        console: `rich.console.Console`.
    """
    title = f"{diagnosis.source} {_shown(diagnosis.root or '')}".strip()
    overview = Table(title=Text(title), title_justify="left")
    overview.add_column("")
    for split in diagnosis.splits:
        overview.add_column(Text(split), justify="right")
    columns = [_overview(description, diagnosis) for description in diagnosis.splits.values()]
    for name in dict.fromkeys(name for column in columns for name in column):
        overview.add_row(Text(name), *(Text(column.get(name, "-")) for column in columns))
    console.print(overview)
    if diagnosis.findings:
        table = Table(title="Findings, the worst first", title_justify="left", show_lines=True)
        table.add_column("split")
        table.add_column("count", justify="right")
        table.add_column("what", max_width=32)
        table.add_column(f"examples, at most {NUM_SHOWN}", overflow="fold")
        for item in diagnosis.findings:
            lines = [_line(example, diagnosis.root) for example in item["examples"]]
            style = "bold red" if item["is_loss"] else "yellow"
            count = Text(f"{item['count']:,}", style)
            what = Text(item["what"], style)
            table.add_row(Text(item["split"]), count, what, Text("\n".join(lines)))
        console.print(table)
    for kind, style, sentences in (
        ("Loss", "bold red", diagnosis.losses),
        ("Warning", "yellow", diagnosis.warnings),
    ):
        for sentence in sentences:
            console.print(Text.assemble((f"{kind}: ", style), _shown(sentence)), soft_wrap=True)
    if not diagnosis.losses:
        verdict = "Nothing would be lost: training sees every example and annotation."
        console.print(Text(verdict, "bold green"))


def _line(example, root):
    parts = (example["id"], _from_root(example["path"], root), example["note"])
    return "  ".join(_shown(part) for part in parts if part)


def _from_root(path, root):
    """A path without the root, which is in the title of the report."""
    return path.removeprefix(os.path.join(root, "")) if root else path


def _overview(description, diagnosis):
    """`{name: text}`, the rows of one split in the overview."""
    rows = {"examples": description["examples"]}
    part = description["images"]
    if part:
        rows["image files"] = part["files"]
        rows["images that cannot be read"] = len(part["unreadable"])
        rows["examples without an image"] = part["absent"]
        rows["height in pixels, min / median / max"] = part["height"]
        rows["width in pixels, min / median / max"] = part["width"]
        rows["images turned by EXIF orientation"] = part["not_upright"]
        rows["images that repeat another"] = part["repeated"]
        rows["images also in another split"] = part["in_other_splits"]
    part = description["captions"]
    if part:
        rows["captions"] = part["count"]
        rows["captions per example, min / median / max"] = part["per_example"]
        rows["examples without a caption"] = part["empty"]
        rows[f"tokens ({part['token_kind']} + 2) per caption, min / median / max"] = part["tokens"]
        rows[f"captions of more than {part['sequence_length']} tokens"] = part["overlong"]
        rows["captions with characters that are no text"] = part["no_text"]
        rows["captions that repeat one of the same example"] = part["repeated"]
    part = description["labels"]
    if part and "targets" in part:
        for name, spread in zip(diagnosis.label_names, part["targets"], strict=True):
            rows[f"{_shown(name)}, min / mean / max"] = spread
    elif part:
        num_classes = len(part["counts"])
        rows["classes"] = num_classes
        rows["classes without an example"] = part["classes_without_example"]
        rows["examples without a label"] = part["examples_without_label"]
        rows["labels per example, mean"] = part["labels_per_example"]
        rows["largest class / smallest class"] = part["imbalance"]
    return {name: _number(value) for name, value in rows.items()}


def _number(value):
    if isinstance(value, list):
        return " / ".join(map(_number, value))
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _shown(text):
    """Text for a terminal: signs that could steer it are written out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _cut(text):
    return text if len(text) <= _MAX_NOTE else text[: _MAX_NOTE - 3] + "..."
