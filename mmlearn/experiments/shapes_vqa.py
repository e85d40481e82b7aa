"""Questions about the synthetic scenes: offline, in minutes on two cores.

python -m mmlearn train shapes_vqa

The image encoder learns from the captions of the scenes how often each word is to be seen; then the rest
learns to answer from what it sees; then all learn together.
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
    UnlabeledConfig,
)
from mmlearn.training.phase import TrainingPhase

SHAPES_VQA = Experiment(
    name="shapes_vqa",
    data=DataConfig(
        source="shapes_questions", options={"num_train": 6000, "num_val": 1000, "seed": 0}
    ),
    model=ModelConfig(
        images=ImagesConfig(name="resnet_tiny", image_size=96, options={"local": True}),
        # Questions of a few words, each of which the regions read by itself.
        text=TextConfig(
            name="words", sequence_length=20, options={"hidden_dim": 128, "dropout": 0.0}
        ),
        # Dense layers, so that each region can tell whether it is what is asked about, and a sum over the
        # regions for how many are. Without dropout, which would make a count uncertain.
        fusion=FusionConfig(
            options={
                "num_heads": 4,
                "intermediate_dim": 512,
                "combine": "concat",
                "pooling": "sum_max",
                "dropout": 0.0,
            }
        ),
        task=TaskConfig(name="answering"),
        hidden_dim=128,
        head_hidden_dim=128,
        dropout=0.0,
        modality_dropout=0.05,
    ),
    unlabeled=UnlabeledConfig(source="shapes"),  # the same scenes, with captions
    training=TrainingConfig(
        pretrain=("caption_counts",),
        pretrain_epochs=10,
        pretrain_rate=2e-3,
        phases=(
            TrainingPhase(
                "answers",
                4,
                trainable=("text_encoder", "fusion", "head", "auxiliary_heads"),
                learning_rate=7e-4,
                # The loss is a mean over 12 answers, of which one is given.
                loss_weights={"main": 12.0, "auxiliary": 1.0},
            ),
            TrainingPhase(
                "end to end",
                5,
                learning_rate=7e-4,
                part_rates={"images_encoder": 0.3},  # faster, it forgets before it learns
                loss_weights={"main": 12.0, "auxiliary": 1.0},
            ),
        ),
        batch_size=32,
        monitor_contribution=False,
    ),
)
