r"""The documents' system at full size: ResNet50 + BERT-base + 8-head cross-attention on COCO.

    python -m mmlearn train coco --data.root DIR

On a CPU, with small encoders:

    python -m mmlearn train coco --data.root DIR --model.images.name resnet_tiny \
        --model.images.weights none --model.text.name bert_tiny
"""

from mmlearn.experiments.config import (
    DataConfig,
    Experiment,
    FusionConfig,
    ModelConfig,
    TrainingConfig,
    three_phases,
)

COCO = Experiment(
    name="coco",
    data=DataConfig(source="coco", augmentations=("flip", "crop", "color")),
    model=ModelConfig(fusion=FusionConfig(options={"num_heads": 8, "num_layers": 1})),
    training=TrainingConfig(
        phases=three_phases(epochs=(4, 3, 8), learning_rates=(1e-4, 1e-4, 2e-5)),
        batch_size=32,
    ),
)
