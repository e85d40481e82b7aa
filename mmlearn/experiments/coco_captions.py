r"""Captions of COCO at full size: a pretrained ResNet50 and six decoder layers.

    python -m mmlearn train coco_captions --data.root DIR

The decoder learns first, on regions of the image encoder as it is, then both.
"""

from mmlearn.experiments.config import (
    DataConfig,
    Experiment,
    ModelConfig,
    TaskConfig,
    TextConfig,
    TrainingConfig,
)
from mmlearn.training.phase import TrainingPhase

COCO_CAPTIONS = Experiment(
    name="coco_captions",
    data=DataConfig(
        source="coco", augmentations=("crop", "color")
    ),  # a flip would move left to right
    model=ModelConfig(
        text=TextConfig(name="words", sequence_length=32),  # the tokenizer alone
        task=TaskConfig(name="captioning", options={"num_layers": 6, "num_heads": 8}),
        hidden_dim=512,
    ),
    training=TrainingConfig(
        phases=(
            TrainingPhase(
                "decoder",
                10,
                trainable=("head",),
                augment=False,
                learning_rate=3e-4,
                clip_norm=5.0,
                label_smoothing=0.1,
            ),
            TrainingPhase("end to end", 8, learning_rate=5e-5, clip_norm=5.0, label_smoothing=0.1),
        ),
        batch_size=64,
    ),
)
