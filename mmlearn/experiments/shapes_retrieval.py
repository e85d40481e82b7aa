"""Retrieval on the synthetic scenes: find the scene of a caption among 500, and the reverse.

python -m mmlearn train shapes_retrieval

The image encoder learns which words captions have, then the text encoder to say the same; then both learn
embeddings; then the fusion learns to re-rank, on features that stay as they are.
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

SHAPES_RETRIEVAL = Experiment(
    name="shapes_retrieval",
    data=DataConfig(
        source="shapes",
        root="data/shapes_retrieval",
        options={"num_train": 8000, "num_val": 500, "seed": 0},
    ),
    model=ModelConfig(
        images=ImagesConfig(name="resnet_tiny", image_size=96, options={"local": True}),
        # Which colour goes with which shape, neighbours tell: a small BERT was slower to learn that.
        text=TextConfig(name="lstm", sequence_length=24, options={"dropout": 0.0}),
        # Dense layers, so that each word can tell whether what it found is what it says.
        fusion=FusionConfig(
            options={
                "num_heads": 4,
                "intermediate_dim": 256,
                "combine": "concat",
                "dropout": 0.0,
            }
        ),
        task=TaskConfig(
            name="retrieval",
            options={"embedding_dim": 256, "projection_dim": 512, "pooling": "mean"},
        ),
        hidden_dim=128,
        head_hidden_dim=128,
        dropout=0.0,
        modality_dropout=0.0,  # who hides the caption cannot ask whether it matches
    ),
    training=TrainingConfig(
        # Which words a caption has: or colours are learned and shapes are not, which come later in contrast.
        pretrain=("caption_words",),
        pretrain_epochs=12,
        pretrain_rate=3e-3,
        phases=(
            TrainingPhase(
                "text",  # first to where the images are
                2,
                trainable=("text_encoder", "head"),
                learning_rate=2e-3,
                loss_weights={"contrast": 1.0},
            ),
            TrainingPhase(
                "embeddings",
                12,
                trainable=("encoders", "head"),
                learning_rate=1e-3,
                clip_norm=1.0,
                loss_weights={"contrast": 1.0},
            ),
            TrainingPhase(
                "match",
                4,
                trainable=("fusion", "match"),
                augment=False,
                learning_rate=2e-3,
                loss_weights={"matching": 1.0},
            ),
        ),
        batch_size=64,
        monitor_contribution=False,
    ),
)
