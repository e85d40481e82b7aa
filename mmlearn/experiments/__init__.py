"""Named experiments. `EXPERIMENTS` maps each name to its default config."""

from data_prep.names import find
from mmlearn.experiments.coco import COCO
from mmlearn.experiments.coco_captions import COCO_CAPTIONS
from mmlearn.experiments.coco_retrieval import COCO_RETRIEVAL
from mmlearn.experiments.coco_small import COCO_SMALL
from mmlearn.experiments.early import EARLY
from mmlearn.experiments.no_attention import NO_ATTENTION
from mmlearn.experiments.report_cnn import REPORT_CNN
from mmlearn.experiments.shapes import SHAPES
from mmlearn.experiments.shapes_captions import SHAPES_CAPTIONS
from mmlearn.experiments.shapes_retrieval import SHAPES_RETRIEVAL
from mmlearn.experiments.shapes_series import SHAPES_SERIES
from mmlearn.experiments.shapes_vqa import SHAPES_VQA
from mmlearn.experiments.unified import UNIFIED
from mmlearn.experiments.vqa import VQA

EXPERIMENTS = {
    "coco": COCO,
    "coco_captions": COCO_CAPTIONS,
    "coco_retrieval": COCO_RETRIEVAL,
    "coco_small": COCO_SMALL,
    "early": EARLY,
    "no_attention": NO_ATTENTION,
    "report_cnn": REPORT_CNN,
    "shapes": SHAPES,
    "shapes_captions": SHAPES_CAPTIONS,
    "shapes_retrieval": SHAPES_RETRIEVAL,
    "shapes_series": SHAPES_SERIES,
    "shapes_vqa": SHAPES_VQA,
    "unified": UNIFIED,
    "vqa": VQA,
}


def get(name):
    """Returns the experiment of that name."""
    return find(name, EXPERIMENTS, "experiment")
