"""`python -m mmlearn index MODEL --data.source coco --data.root DIR --data.split val`."""

import json
from dataclasses import dataclass, field
from typing import Literal

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.evaluate import EvaluationData, data_config
from mmlearn.cli.paths import check_model


@dataclass(frozen=True)
class Index:
    """Makes an index of a data set by a saved retriever, adds to it, or deletes from it."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes_retrieval, or a preset directory."""
    data: EvaluationData = field(default_factory=EvaluationData)
    of: Literal["images", "text"] = "images"
    """What is indexed: the images, or the captions."""
    kind: Literal["auto", "exact", "hnsw", "ivf"] = "auto"
    """How a new index is searched; `auto` is exact up to 50,000, `hnsw` up to 500,000, then `ivf`."""
    delete: tuple[str, ...] = ()
    """Ids that are deleted instead."""
    batch_size: int = 32
    """Images per step."""
    index: str | None = None
    """Folder of the index. By default MODEL-index-images, or -text."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Indexes and prints what there is."""
    options = tyro.cli(Index, prog="python -m mmlearn index", args=args)
    data = data_config(options)
    check_model(options.model)
    with quiet_start():
        indexing = import_indexing("index")

    folder = options.index or indexing.default_folder(options.model, options.of)
    console = Console(stderr=options.json)
    if options.delete:
        summary = {"folder": folder, "count": indexing.delete(folder, options.delete)}
        console.print(f"Deleted {len(options.delete)}; {summary['count']} are left in {folder}")
    else:
        summary = indexing.index_data(
            *(options.model, data, options.data.split, folder),
            *(options.of, options.kind, options.batch_size, console),
        )
        console.print(
            f"Added {summary['added']}; {summary['count']} are in {folder} ({summary['kind']}, "
            f"recall@10 against exact {summary['recall']:.3f})",
            highlight=False,
        )
    if options.json:
        print(json.dumps(summary))


def import_indexing(verb):
    """Returns `mmlearn.experiments.indexing`.

    Args:
        verb: str, of the command.

    Raises:
        ValueError: when FAISS is not installed.
    """
    try:
        import faiss  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"`{verb}` needs FAISS, which is not installed ({error}). Fix: pip install "
            "'mmlearn-keras[search]', or pip install faiss-cpu."
        ) from None
    from mmlearn.experiments import indexing

    return indexing
