"""The synthetic experiment with three modalities: scenes, captions and a sensor.

python -m mmlearn train shapes_series
"""

from mmlearn.experiments.config import (
    DataConfig,
    Experiment,
    FusionConfig,
    ImagesConfig,
    ModelConfig,
    SeriesConfig,
    TextConfig,
    TrainingConfig,
    three_phases,
)

SHAPES_SERIES = Experiment(
    name="shapes_series",
    data=DataConfig(source="shapes_series", options={"num_train": 2000, "num_val": 500, "seed": 0}),
    model=ModelConfig(
        modalities=("images", "text", "series"),
        images=ImagesConfig(name="resnet_tiny", image_size=64),
        text=TextConfig(name="bert_tiny"),
        series=SeriesConfig(name="transformer", options={"hidden_dim": 64, "patch_size": 4}),
        fusion=FusionConfig(options={"num_heads": 4}),
        hidden_dim=128,
        head_hidden_dim=128,
    ),
    training=TrainingConfig(
        phases=three_phases(epochs=(5, 1, 2), learning_rates=(3e-3, 2e-3, 5e-4)),
        batch_size=32,
    ),
)
