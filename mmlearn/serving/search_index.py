"""An index of embeddings on disk that is searched, added to and deleted from."""

import json
import math
import os
import shutil

import faiss
import numpy as np

from data_prep.names import find
from mmlearn.serving.index_files import FORMAT, NOTE, read_note, read_rows

KINDS = ("auto", "exact", "hnsw", "ivf")
EXACT_UP_TO, HNSW_UP_TO = 50_000, 500_000  # embeddings, where the kind is `auto`
TARGET = (
    0.97  # recall@10 of an approximate index against the exact one, on the queries it is tuned on
)
NUM_QUERIES = 200  # on which it is tuned, and on which recall is reported
DELETED_SHARE = 0.25  # from which on what is deleted is thrown out


class SearchIndex:
    """Embeddings with their ids, and a label each: the path of an image, or a text.

    In memory until it is saved. `exact` compares a query with everything; `hnsw` walks a graph; `ivf`
    looks into the nearest of many cells. How far the last two look is set by `tune` so that they find
    97 % of what is exactly the nearest.

    Args:
        dim: int, of the embeddings.
        fingerprint: str, of the model that makes them, see `mmlearn.models.fingerprint`.
        kind: one of `KINDS`; `auto` takes one by the number of embeddings, when it is saved or searched.

    Raises:
        ValueError: when the kind is unknown.

    Example:

    >>> index = SearchIndex(dim=2, fingerprint="abc")
    >>> index.add(["a", "b"], [[1.0, 0.0], [0.0, 1.0]], ["a.jpg", "b.jpg"])
    >>> ids, labels, cosines = index.search([[0.6, 0.8]], top=1)
    >>> ids, labels, cosines.round(2).tolist()
    ([['b']], [['b.jpg']], [[0.800000011920929]])

    Reference:
        Douze et al. 2024, "The Faiss library".
    """

    def __init__(self, dim, fingerprint, kind="auto"):
        find(kind, KINDS, "kind of index")
        self.dim = dim
        self.fingerprint = fingerprint
        self.kind = kind
        self.ids, self.labels = [], []  # of all rows, those that are deleted among them
        self.is_deleted = np.zeros(0, bool)
        self.recall = 1.0  # against the exact index, when it was tuned
        self._is_tuned = True
        self._rows = {}  # id: row, of those that are not deleted
        self._deleted_ids = set()
        self._index = faiss.IndexFlatIP(dim)

    def __len__(self):
        return len(self._rows)

    def __contains__(self, name):
        return name in self._rows

    # --- Changes -----------------------------------------------------------------------------

    def add(self, ids, embeddings, labels):
        """Adds embeddings; one whose id is there takes its place.

        Args:
            ids: list of different str.
            embeddings: float array `(count, dim)`, L2-normalised.
            labels: list of str: paths of images, or texts.

        Raises:
            ValueError: when the shapes do not fit, or an id comes twice.
        """
        embeddings = self._check(embeddings)
        ids, labels = list(ids), list(labels)
        if not len(ids) == len(labels) == len(embeddings) or len(set(ids)) < len(ids):
            raise ValueError(
                "Each embedding needs a label and an id of its own. Received: "
                f"{len(embeddings)} embeddings, {len(labels)} labels, {len(set(ids))} different ids."
            )
        if not ids:
            return
        self._forget([name for name in ids if name in self._rows])
        start = len(self.ids)
        self.ids += ids
        self.labels += labels
        self.is_deleted = np.concatenate([self.is_deleted, np.zeros(len(ids), bool)])
        self._rows.update({name: start + place for place, name in enumerate(ids)})
        self._deleted_ids -= set(ids)
        self._index.add(embeddings)
        self._is_tuned = False

    def delete(self, ids):
        """Deletes embeddings.

        Args:
            ids: list of str.

        Raises:
            ValueError: when one is not there.
        """
        ids = list(ids)
        for name in ids:
            self._row(name)
        self._forget(ids)
        self._deleted_ids.update(ids)

    def _forget(self, ids):
        self.is_deleted[[self._rows.pop(name) for name in ids]] = True
        self._is_tuned = False

    def _row(self, name):
        if name not in self._rows:
            why = "It was deleted" if name in self._deleted_ids else "It was never added"
            raise ValueError(f"The index has no {name!r}. {why}. Fix: add it, or name another one.")
        return self._rows[name]

    def embedding(self, name):
        """The embedding of an id: float32 `(dim,)`.

        Raises:
            ValueError: when it is not there, or was deleted.
        """
        return self._vectors(np.array([self._row(name)]))[0]

    # --- Search ------------------------------------------------------------------------------

    def search(self, queries, top=10):
        """Finds the nearest embeddings of each query.

        Args:
            queries: float array `(num_queries, dim)`, L2-normalised.
            top: int. How many, or all that there are.

        Returns:
            ids and labels, lists of lists of str, the nearest first, and their cosines, float32
            `(num_queries, top)`.

        Raises:
            ValueError: when the size of the queries is another one, or there is nothing to find.
        """
        if top < 1:
            raise ValueError(f"`top` must be at least 1. Received: top={top}.")
        if not len(self):
            raise ValueError("The index is empty. Fix: add something first.")
        cosines, rows = self._search(self._check(queries), min(top, len(self)))
        ids, labels = (
            [[column[row] for row in found if row >= 0] for found in rows.tolist()]
            for column in (self.ids, self.labels)
        )
        return ids, labels, cosines

    def _search(self, queries, top):
        parameters = None
        if self.is_deleted.any():
            kept = faiss.IDSelectorBitmap(np.packbits(~self.is_deleted, bitorder="little"))
            kinds = {"IndexHNSWFlat": "HNSW", "IndexIVFFlat": "IVF"}
            kind = kinds.get(type(self._index).__name__, "")
            far = {"HNSW": "efSearch", "IVF": "nprobe"}.get(kind)
            how_far = {} if far is None else {far: self.how_far}
            parameters = getattr(faiss, f"SearchParameters{kind}")(sel=kept, **how_far)
        return self._index.search(queries, top, params=parameters)

    def _check(self, embeddings):
        embeddings = np.ascontiguousarray(embeddings, np.float32)
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dim:
            raise ValueError(
                f"The index is of embeddings of {self.dim} numbers. Received: shape "
                f"{embeddings.shape}. Fix: embed with the model that made the index."
            )
        return embeddings

    # --- Kinds -------------------------------------------------------------------------------

    @property
    def how_far(self):
        """How far an approximate index looks: cells of `ivf`, candidates of `hnsw`; else `None`."""
        if isinstance(self._index, faiss.IndexHNSWFlat):
            return self._index.hnsw.efSearch
        if isinstance(self._index, faiss.IndexIVFFlat):
            return self._index.nprobe
        return None

    def _look(self, how_far):
        if isinstance(self._index, faiss.IndexHNSWFlat):
            self._index.hnsw.efSearch = how_far
        else:
            self._index.nprobe = how_far

    @property
    def built_kind(self):
        """What it is now: `exact`, `hnsw` or `ivf`."""
        kinds = {"IndexHNSWFlat": "hnsw", "IndexIVFFlat": "ivf"}
        return kinds.get(type(self._index).__name__, "exact")

    def build(self, queries=None, seed=0):
        """Throws out what is deleted, makes the index that the kind asks for, and tunes it.

        Args:
            queries: float array `(num_queries, dim)`, such as will be asked, on which it is tuned; by
                default some of its own embeddings.
            seed: int. Of which of these.
        """
        kept = np.flatnonzero(~self.is_deleted)
        vectors = self._vectors(kept)
        self.ids, self.labels = ([own[row] for row in kept] for own in (self.ids, self.labels))
        self.is_deleted = np.zeros(len(kept), bool)
        self._rows = {name: row for row, name in enumerate(self.ids)}
        self._index = self._make(self._wanted(len(kept)), vectors)
        self.tune(queries, seed)

    def _wanted(self, size):
        if not size:
            return "exact"
        if self.kind != "auto":
            return self.kind
        return "exact" if size <= EXACT_UP_TO else "hnsw" if size <= HNSW_UP_TO else "ivf"

    def _vectors(self, rows):
        if not len(rows):
            return np.zeros((0, self.dim), np.float32)
        if self.built_kind == "ivf" and self._index.direct_map.type == 0:
            self._index.make_direct_map()
        return self._index.reconstruct_batch(rows)

    def _make(self, kind, vectors):
        if kind == "exact":
            index = faiss.IndexFlatIP(self.dim)
        elif kind == "hnsw":
            index = faiss.IndexHNSWFlat(self.dim, 32, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = 80
        else:
            cells = max(1, min(int(math.sqrt(len(vectors))), len(vectors) // 40))
            coarse = faiss.IndexFlatIP(self.dim)
            index = faiss.IndexIVFFlat(coarse, self.dim, cells, faiss.METRIC_INNER_PRODUCT)
            index.own_fields = True
            coarse.this.disown()
            # Four times as fast as FAISS's own settings, and `tune` makes up for coarser cells.
            index.cp.niter, index.cp.max_points_per_centroid = 10, 64
            index.train(vectors)
        index.add(vectors)
        return index

    def tune(self, queries=None, seed=0):
        """Looks as far as it must to find `TARGET` of what the exact index finds, and notes `recall`.

        Args:
            queries: see `build`; the first 200 count.
            seed: likewise.
        """
        self.recall, self._is_tuned = 1.0, True
        if self.built_kind == "exact" or not len(self):
            return
        if queries is None:
            rows = np.flatnonzero(~self.is_deleted)
            queries = self._vectors(np.random.default_rng(seed).permutation(rows)[:NUM_QUERIES])
        queries = self._check(queries)[:NUM_QUERIES]
        top = min(10, len(self))
        exact = self._exact(queries, top)
        most = self._index.nlist if self.built_kind == "ivf" else 1024
        how_far = 1 if self.built_kind == "ivf" else 16
        while True:
            self._look(how_far)
            self.recall = _recall(self._search(queries, top)[1], exact)
            if self.recall >= TARGET or how_far >= most:
                return
            how_far = min(2 * how_far, most)

    def recall_at(self, queries, top=10):
        """The share of the exactly nearest embeddings that are found, a float.

        Args:
            queries: float array `(num_queries, dim)`.
            top: int.
        """
        queries = self._check(queries)
        top = min(top, len(self))
        return _recall(self._search(queries, top)[1], self._exact(queries, top))

    def _exact(self, queries, top):
        rows, step = np.flatnonzero(~self.is_deleted), 100_000
        best = np.full((len(queries), top), -np.inf, np.float32)
        places = np.full((len(queries), top), -1)
        for start in range(0, len(rows), step):
            own = rows[start : start + step]
            scores = np.hstack([best, queries @ self._vectors(own).T])
            names = np.hstack([places, np.broadcast_to(own, (len(queries), len(own)))])
            chosen = np.argpartition(-scores, top - 1, axis=1)[:, :top]
            best, places = (np.take_along_axis(v, chosen, axis=1) for v in (scores, names))
        return places

    # --- Files -------------------------------------------------------------------------------

    def save(self, folder, queries=None):
        """Writes the index; one that is there already is replaced at the end, at once.

        The files are written beside those that are there, and a note that names them is renamed over
        the old one: who is killed before that leaves the old index, which still opens.

        Args:
            folder: str.
            queries: see `build`, which is called where the size, or what is deleted, asks for it.
        """
        if self._is_outgrown():
            self.build(queries)
        elif not self._is_tuned:
            self.tune(queries)
        os.makedirs(folder, exist_ok=True)
        note = read_note(folder) if os.path.exists(os.path.join(folder, NOTE)) else None
        version = 1 + (note.version if note else 0)
        own = os.path.join(folder, str(version))
        shutil.rmtree(own, ignore_errors=True)  # of one that was killed
        os.makedirs(own)
        faiss.write_index(self._index, os.path.join(own, "index.faiss"))
        entries = {
            "ids": self.ids,
            "labels": self.labels,
            "deleted": np.flatnonzero(self.is_deleted).tolist(),
            "deleted_ids": sorted(self._deleted_ids),
        }
        _write(os.path.join(own, "entries.json"), entries)
        note = {
            "format": FORMAT,
            "version": version,
            "dim": self.dim,
            "fingerprint": self.fingerprint,
            "kind": self.kind,
            "count": len(self),
            "recall": self.recall,
            "how_far": self.how_far,
        }
        _write(os.path.join(folder, f"{NOTE}.partial"), note)
        os.replace(os.path.join(folder, f"{NOTE}.partial"), os.path.join(folder, NOTE))
        for name in os.listdir(folder):
            if name.isdigit() and name != str(version):
                shutil.rmtree(os.path.join(folder, name), ignore_errors=True)

    def _is_outgrown(self):
        is_full = self.is_deleted.sum() > DELETED_SHARE * len(self.is_deleted)
        return self._wanted(len(self)) != self.built_kind or is_full

    @classmethod
    def open(cls, folder, fingerprint=None):
        """Opens an index.

        Args:
            folder: str.
            fingerprint: str, that of the model whose queries are to be searched, or `None` for no check.

        Raises:
            ValueError: when there is none, it cannot be read, or it is of another model.
        """
        note = read_note(folder)
        if fingerprint is not None and note.fingerprint != fingerprint:
            raise ValueError(
                f"The index {folder!r} was made by another model (fingerprint {note.fingerprint}, this "
                f"one has {fingerprint}), whose embeddings mean something else. Fix: search with that "
                "model, or index the data again in another folder."
            )
        index = cls(note.dim, note.fingerprint, note.kind)
        index._index, entries = read_rows(folder, note)
        index.ids, index.labels = entries.ids, entries.labels
        index.is_deleted = np.zeros(len(index.ids), bool)
        index.is_deleted[entries.deleted] = True
        index._rows = {name: row for row, name in enumerate(index.ids) if not index.is_deleted[row]}
        index._deleted_ids = set(entries.deleted_ids)
        index.recall = note.recall
        if note.how_far is not None:
            index._look(note.how_far)
        return index


def _recall(found, exact):
    hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    return float(np.mean(hits) / exact.shape[1])


def _write(path, content):
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(content))
        file.flush()
        os.fsync(file.fileno())
