"""Retrieval on COCO or Flickr30k in Karpathy's splits, with pretrained encoders.

python -m mmlearn train coco_retrieval --data.root DIR

DIR holds `dataset_coco.json` and the images. `python -m mmlearn evaluate saved_models/coco_retrieval
--data.split test` scores the split that papers report: 5K, and 1K as the mean over five folds. For
Flickr30k (1K), DIR holds `dataset_flickr30k.json`.
"""

from mmlearn.experiments.config import (
    DataConfig,
    Experiment,
    ModelConfig,
    TaskConfig,
    TrainingConfig,
)
from mmlearn.training.phase import TrainingPhase

COCO_RETRIEVAL = Experiment(
    name="coco_retrieval",
    data=DataConfig(source="karpathy", augmentations=("flip", "crop")),
    model=ModelConfig(
        task=TaskConfig(name="retrieval", options={"embedding_dim": 512}),
        modality_dropout=0.0,
    ),
    training=TrainingConfig(
        phases=(
            TrainingPhase(
                "head",
                2,
                trainable=("head",),
                augment=False,
                learning_rate=1e-3,
                loss_weights={"contrast": 1.0},
            ),
            TrainingPhase(
                "embeddings",
                12,
                trainable=("encoders", "head"),
                learning_rate=3e-5,
                layer_decay=0.9,
                clip_norm=1.0,
                loss_weights={"contrast": 1.0},
                micro_batches=8,  # of 32, each compared with all 256
            ),
            TrainingPhase(
                "match",
                3,
                trainable=("fusion", "match"),
                augment=False,
                learning_rate=3e-4,
                loss_weights={"matching": 1.0},
                micro_batches=8,
            ),
        ),
        batch_size=256,
    ),
)
