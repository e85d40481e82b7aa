"""One file per data format. `SOURCES` maps each name to its module and class, loaded on use."""

import importlib

from data_prep import names

SOURCES = {
    "captions_csv": ("data_prep.sources.captions_csv", "CaptionsCsvSource"),
    "coco": ("data_prep.sources.coco", "CocoSource"),
    "coco_tfds": ("data_prep.sources.coco_tfds", "CocoTfdsSource"),
    "image_folder": ("data_prep.sources.image_folder", "ImageFolderSource"),
    "karpathy": ("data_prep.sources.karpathy", "KarpathySource"),
    "shapes": ("data_prep.sources.shapes", "ShapesSource"),
    "shapes_questions": ("data_prep.sources.shapes_questions", "ShapesQuestionsSource"),
    "shapes_series": ("data_prep.sources.shapes_series", "ShapesSeriesSource"),
    "shards": ("data_prep.sources.shards", "ShardsSource"),
    "table": ("data_prep.sources.table", "TableSource"),
    "vqa_v2": ("data_prep.sources.vqa_v2", "VqaV2Source"),
}


def get(name):
    """Returns the source class of that name."""
    module, cls = names.find(name, SOURCES, "source")
    return getattr(importlib.import_module(module), cls)
