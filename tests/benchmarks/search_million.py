"""Search among a million captions by images, by a trained retriever: how fast, how right, how large.

    python -m mmlearn train shapes_retrieval
    python -m tests.benchmarks.search_million saved_models/shapes_retrieval

Captions of synthetic scenes, all different, are embedded and indexed; the queries are the images of the
validation scenes, which the retriever has not seen. `auto` makes a million an inverted file, tuned on images
of the training scenes. A query is timed from its embedding on, one at a time, on one thread; exact search and
how long the embedding of a query takes stand beside.
"""

import os
import resource
import tempfile
import time
from dataclasses import dataclass

import faiss
import numpy as np
import tyro

from data_prep.sources import shapes
from mmlearn.evaluation.embedded import embed_texts, text_batches
from mmlearn.experiments.indexing import open_retriever
from mmlearn.models.fingerprint import fingerprint
from mmlearn.serving.search_index import NUM_QUERIES, SearchIndex

CHUNK = 20_000  # captions that are embedded at a time


@dataclass(frozen=True)
class Options:
    """Measures."""

    model: tyro.conf.Positional[str]
    """Output folder of a run of `shapes_retrieval`."""
    count: int = 1_000_000
    data: str = "data/shapes_retrieval"
    """Folder of the scenes that the run was trained on."""
    seed: int = 1000
    """Of the captions; the scenes of the data have others."""
    embeddings: str | None = None
    """File in which embeddings are kept, so that they are computed once."""


def captions(count, seed):
    """Different captions of synthetic scenes, in the order in which they are drawn."""
    random, found = np.random.default_rng(seed), {}
    while len(found) < count:
        scene = shapes._draw_scene(random)
        for _ in range(20):
            found[shapes._write_caption(scene, random)[0]] = None
    return list(found)[:count]


def embed(task, texts):
    """Embeddings of texts, without the features that matching needs."""
    parts = [
        embed_texts(task, text_batches(task, texts[start : start + CHUNK]))[0]
        for start in range(0, len(texts), CHUNK)
    ]
    return np.concatenate(parts)


def scenes(task, options, split, count):
    """Embeddings of the images of the first scenes of a split."""
    paths = shapes.ShapesSource(options.data).examples(split).images[:count]
    return task.embed({"images": list(paths)})


def seconds_per_query(index, queries):
    """How long the search for each of the queries takes, by itself."""
    seconds = []
    for query in queries:
        start = time.perf_counter()
        index.search(query[None], top=10)
        seconds.append(time.perf_counter() - start)
    return "p50 {:.2f} ms, p99 {:.2f} ms".format(*np.quantile(seconds, [0.5, 0.99]) * 1000)


def memory():
    """The memory of this process at its fullest so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main():
    """Prints what was measured."""
    options = tyro.cli(Options)
    task = open_retriever(options.model)
    texts = captions(options.count, options.seed)
    start = time.perf_counter()
    if options.embeddings and os.path.exists(options.embeddings):
        embeddings = np.load(options.embeddings)
    else:
        embeddings = embed(task, texts)
        print(f"embedded {len(texts):,} captions in {time.perf_counter() - start:.0f} s")
        if options.embeddings:
            np.save(options.embeddings, embeddings)
    names = [str(row) for row in range(len(texts))]
    queries = scenes(task, options, "val", None)
    before, start = memory(), time.perf_counter()
    index = SearchIndex(task.embedding_dim, fingerprint(task))
    index.add(names, embeddings, texts)
    with tempfile.TemporaryDirectory() as folder:
        index.save(folder, scenes(task, options, "train", NUM_QUERIES))
        print(
            f"{index.built_kind} of {len(index):,} embeddings of {index.dim}, built, tuned and saved in "
            f"{time.perf_counter() - start:.0f} s; {memory() - before:.2f} GB at its fullest"
        )
        size = sum(
            os.path.getsize(os.path.join(parent, name))
            for parent, _, names in os.walk(folder)
            for name in names
        )
        start = time.perf_counter()
        index = SearchIndex.open(folder, fingerprint(task))
        print(f"{size / 1e9:.2f} GB on disk, opened in {time.perf_counter() - start:.1f} s")
    print(
        f"recall@10 against exact, {len(queries)} held-out scenes: {index.recall_at(queries):.4f}"
    )
    faiss.omp_set_num_threads(1)
    print(f"search: {seconds_per_query(index, queries)}, looking at {index.how_far} cells")
    exact = SearchIndex(task.embedding_dim, fingerprint(task), "exact")
    exact.add(names, embeddings, texts)
    print(f"exact search: {seconds_per_query(exact, queries[:100])}")
    seconds = []
    for path in shapes.ShapesSource(options.data).examples("val").images[:50]:
        start = time.perf_counter()
        task.embed({"images": [path]})
        seconds.append(time.perf_counter() - start)
    print(f"embedding of one query, its file included: p50 {np.median(seconds) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
