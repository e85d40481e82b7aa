"""How long ranking takes at the size of COCO 5K, and how much memory.

    python -m tests.benchmarks.retrieval_protocol

5,000 image and 25,000 text embeddings, both directions, 5K and 1K, intervals included. Not more than 20 s
and 1 GB beyond the embeddings themselves.
"""

import resource
import time
from dataclasses import dataclass

import numpy as np
import tyro

from mmlearn.evaluation.retrieval import draw_ranks, mean_over_folds, rank_both, with_intervals


@dataclass(frozen=True)
class Options:
    """Measures."""

    num_images: int = 5000
    captions: int = 5
    dim: int = 256


def unit(values):
    """Rows of length 1."""
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def main():
    """Prints seconds and memory."""
    options = tyro.cli(Options)
    random = np.random.default_rng(0)
    images = unit(random.normal(size=(options.num_images, options.dim)).astype(np.float32))
    groups = np.arange(options.num_images)
    rows = np.repeat(groups, options.captions)
    noise = random.normal(size=(len(rows), options.dim)).astype(np.float32)
    texts = unit(images[rows] + 0.2 * noise)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    ranks = rank_both(images, texts, groups, rows)
    ranked = time.perf_counter() - start
    mean_over_folds(images, texts, groups, rows)
    folds = time.perf_counter() - start - ranked
    found = with_intervals(draw_ranks(ranks, groups, rows))
    total = time.perf_counter() - start
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    print(f"both directions, {len(groups):,} x {len(rows):,}: {ranked:.1f} s")
    print(f"folds of 1,000: {folds:.1f} s; with intervals {total:.1f} s in all")
    print(f"memory beyond the embeddings: {more:.2f} GB")
    print({direction: own["R@1"] for direction, own in found.items()})


if __name__ == "__main__":
    main()
