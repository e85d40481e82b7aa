"""Named experiments. `EXPERIMENTS` maps each name to its default config."""

from data_prep.names import find
from mmlearn.experiments.coco import COCO
from mmlearn.experiments.coco_small import COCO_SMALL
from mmlearn.experiments.shapes import SHAPES

EXPERIMENTS = {"coco": COCO, "coco_small": COCO_SMALL, "shapes": SHAPES}


def get(name):
    """Returns the experiment of that name."""
    return find(name, EXPERIMENTS, "experiment")
