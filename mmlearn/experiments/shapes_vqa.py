"""Questions about the synthetic scenes: offline, in minutes on two cores.

python -m mmlearn train shapes_vqa
"""

from mmlearn.experiments.config import (
    DataConfig,
    Experiment,
    FusionConfig,
    ImagesConfig,
    ModelConfig,
    TaskConfig,
    TextConfig,
    TrainingConfig,
)
from mmlearn.training.phase import TrainingPhase

SHAPES_VQA = Experiment(
    name="shapes_vqa",
    data=DataConfig(
        source="shapes_questions", options={"num_train": 6000, "num_val": 1000, "seed": 0}
    ),
    model=ModelConfig(
        images=ImagesConfig(name="resnet_tiny", image_size=96, options={"local": True}),
        text=TextConfig(name="bert_tiny", sequence_length=12),
        fusion=FusionConfig(
            options={"num_heads": 4, "num_layers": 2, "combine": "concat", "grounded_heads": 2}
        ),
        task=TaskConfig(name="answering"),
        hidden_dim=128,
        head_hidden_dim=128,
        modality_dropout=0.05,
    ),
    training=TrainingConfig(
        phases=(
            TrainingPhase(
                "end to end",
                8,
                learning_rate=1e-3,
                loss_weights={"main": 1.0, "auxiliary": 0.2, "grounding": 1.0},
            ),
        ),
        batch_size=64,
        monitor_contribution=False,
    ),
)
