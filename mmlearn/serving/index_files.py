"""The files of a search index, read and checked: what others made may be damaged, or worse."""

import os
from typing import Annotated

import faiss
import msgspec

NOTE = "index.json"
FORMAT = 1
_COUNT = Annotated[int, msgspec.Meta(ge=0)]
# The kinds that are written, by the four letters that FAISS begins a file with. Others may name files.
_KINDS = {b"IxFI": "exact", b"IHNf": "hnsw", b"IwFl": "ivf"}


class Note(msgspec.Struct):
    """What `index.json` says of an index, see `SearchIndex`."""

    format: int
    version: _COUNT
    dim: _COUNT
    fingerprint: str
    kind: str
    count: _COUNT
    recall: float
    how_far: int | None


class Entries(msgspec.Struct):
    """What each row of an index is of, and which are deleted."""

    ids: list[str]
    labels: list[str]
    deleted: list[_COUNT]
    deleted_ids: list[str]


def read_note(folder):
    """Reads the note of an index.

    Args:
        folder: str.

    Raises:
        ValueError: when there is none, or it is not in its format.
    """
    path = os.path.join(folder, NOTE)
    if not os.path.isfile(path):
        raise ValueError(
            f"{str(folder)!r} holds no index. Fix: make one, python -m mmlearn index MODEL, or pass "
            "another folder."
        )
    note = _read(path, Note)
    if note.format != FORMAT:
        raise _unreadable(path, f"format {note.format}, and {FORMAT} is known")
    return note


def read_rows(folder, note):
    """Reads the embeddings of an index, and what they are of.

    Args:
        folder: str.
        note: its `Note`.

    Returns:
        An index of FAISS, and `Entries` that fit it.

    Raises:
        ValueError: when a file is damaged, or is of another kind than this package writes, which may
            read other files.
    """
    own = os.path.join(folder, str(note.version))
    path = os.path.join(own, "index.faiss")
    try:
        with open(path, "rb") as file:
            kind = _KINDS.get(file.read(4))
        if kind is None:
            raise _unreadable(path, "it is of a kind that is never written here")
        # So that a list of vectors in another file would not be opened for writing.
        index = faiss.read_index(path, faiss.IO_FLAG_READ_ONLY)
    except (OSError, RuntimeError) as error:
        raise _unreadable(path, error) from None
    if kind == "ivf":
        lists = faiss.downcast_InvertedLists(index.invlists)
        if not isinstance(lists, faiss.ArrayInvertedLists):
            raise _unreadable(path, "its vectors are in another file")
    entries = _read(os.path.join(own, "entries.json"), Entries)
    count = index.ntotal
    if index.d != note.dim or not len(entries.ids) == len(entries.labels) == count:
        raise _unreadable(
            own,
            f"{count} embeddings of {index.d} numbers, {len(entries.ids)} ids, {len(entries.labels)} "
            f"labels, and embeddings of {note.dim} numbers in the note",
        )
    if max(entries.deleted, default=-1) >= count:
        raise _unreadable(own, "it deletes what is not there")
    return index, entries


def _read(path, kind):
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path, error):
    reason = " ".join(str(error).split())[:200]
    return ValueError(
        f"The index at {path!r} cannot be read ({reason}). Fix: index the data again."
    )
