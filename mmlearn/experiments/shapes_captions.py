"""Captions of synthetic scenes, beside those of a person, on two cores in minutes.

python -m mmlearn train shapes_captions
"""

from mmlearn.experiments.config import (
    DataConfig,
    Experiment,
    ImagesConfig,
    ModelConfig,
    TaskConfig,
    TextConfig,
    TrainingConfig,
)
from mmlearn.training.phase import TrainingPhase

SHAPES_CAPTIONS = Experiment(
    name="shapes_captions",
    data=DataConfig(source="shapes", options={"num_train": 6000, "num_val": 1000, "seed": 0}),
    model=ModelConfig(
        images=ImagesConfig(name="resnet_tiny", image_size=96),
        text=TextConfig(name="words", sequence_length=36),  # the tokenizer alone
        task=TaskConfig(name="captioning", options={"num_layers": 2}),
        hidden_dim=128,
    ),
    training=TrainingConfig(
        phases=(TrainingPhase("captions", 12, learning_rate=2e-3, clip_norm=5.0),),
        batch_size=64,
    ),
)
