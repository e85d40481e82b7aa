"""`python -m mmlearn search MODEL "two red circles"`, or `--image a.jpg`."""

import json
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table

from data_prep.quiet import quiet_start
from mmlearn.cli.index import import_indexing
from mmlearn.cli.paths import check_model


@dataclass(frozen=True)
class Search:
    """Finds images by a text or an image, or captions, in an index."""

    model: tyro.conf.Positional[str]
    """Output folder of a run, such as saved_models/shapes_retrieval, or a preset directory."""
    text: tyro.conf.Positional[str | None] = None
    """What to look for, such as "a red star left of a blue ring"."""
    image: str | None = None
    """Image file to look for instead."""
    top: int = 10
    """How many to show."""
    rerank: int = 0
    """How many of the nearest are ordered again by the match of image and text."""
    index: str | None = None
    """Folder of the index. By default MODEL-index-images."""
    collage: str | None = None
    """PNG file for a collage of the images that are found."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Searches and prints what is nearest."""
    options = tyro.cli(Search, prog="python -m mmlearn search", args=args)
    check_model(options.model)
    with quiet_start():
        indexing = import_indexing("search")

    folder = options.index or indexing.default_folder(options.model)
    found = indexing.search(
        *(options.model, folder, options.text, options.image, options.top, options.rerank)
    )
    if options.collage:
        indexing.draw_collage(found, options.collage)
    table = Table("", "id", "", "cosine", *(["match"] if options.rerank else []))
    for place, each in enumerate(found, 1):
        match = [f"{each['match']:.3f}" if "match" in each else ""] if options.rerank else []
        table.add_row(str(place), each["id"], each["label"], f"{each['cosine']:.3f}", *match)
    Console(stderr=options.json).print(table)
    if options.json:
        print(json.dumps({"index": folder, "found": found}))
