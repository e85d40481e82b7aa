"""The synthetic experiment: everything end to end, offline, in minutes on two cores.

python -m mmlearn train
"""

from mmlearn.experiments.config import (
    DataConfig,
    Experiment,
    FusionConfig,
    ImagesConfig,
    ModelConfig,
    TextConfig,
    TrainingConfig,
    three_phases,
)

SHAPES = Experiment(
    name="shapes",
    data=DataConfig(source="shapes", options={"num_train": 6000, "num_val": 1000, "seed": 0}),
    model=ModelConfig(
        # Regions that see little beyond themselves, and words that are trained to find theirs: or
        # attention shows what the caption leaves out.
        images=ImagesConfig(name="resnet_tiny", image_size=96, options={"local": True}),
        text=TextConfig(name="bert_tiny"),
        fusion=FusionConfig(options={"num_heads": 4, "grounded_heads": 2}),
        hidden_dim=128,
        head_hidden_dim=128,
    ),
    training=TrainingConfig(
        phases=three_phases(epochs=(7, 1, 2), learning_rates=(3e-3, 2e-3, 5e-4)),
        batch_size=64,
    ),
)
