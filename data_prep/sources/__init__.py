"""One file per data format. `SOURCES` maps each name to its module and class, loaded on use."""

import importlib

from data_prep import names

SOURCES = {
    "coco": ("data_prep.sources.coco", "CocoSource"),
    "shapes": ("data_prep.sources.shapes", "ShapesSource"),
}


def get(name):
    """Returns the source class of that name."""
    module, cls = names.find(name, SOURCES, "source")
    return getattr(importlib.import_module(module), cls)
