"""COCO with small encoders trained from scratch: minutes on a CPU for a few thousand photos.

python -m mmlearn train coco_small --data.root DIR

The rates are ten times those of `coco`, whose encoders are pretrained and only need tuning.
"""

from mmlearn.experiments.config import (
    DataConfig,
    Experiment,
    ImagesConfig,
    ModelConfig,
    TextConfig,
    TrainingConfig,
    three_phases,
)

COCO_SMALL = Experiment(
    name="coco_small",
    data=DataConfig(source="coco", augmentations=("flip", "crop", "color")),
    model=ModelConfig(
        images=ImagesConfig(name="resnet_tiny", image_size=128),
        text=TextConfig(name="bert_tiny"),
    ),
    training=TrainingConfig(
        phases=three_phases(epochs=(15, 3, 8), learning_rates=(2e-3, 1e-3, 5e-4)),
        batch_size=32,
    ),
)
