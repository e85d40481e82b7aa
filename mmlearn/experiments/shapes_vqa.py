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
        text=TextConfig(name="bert_tiny", sequence_length=10),
        # Dense layers, so that each region can tell whether it is what is asked about, and the mean over
        # the regions how many are. Without dropout, which would make a count uncertain.
        fusion=FusionConfig(
            options={
                "num_heads": 4,
                "grounded_heads": 2,
                "intermediate_dim": 512,
                "combine": "concat",
                "dropout": 0.0,
            }
        ),
        task=TaskConfig(name="answering"),
        hidden_dim=128,
        head_hidden_dim=128,
        dropout=0.0,
        modality_dropout=0.05,
    ),
    training=TrainingConfig(
        phases=(
            TrainingPhase(
                "end to end",
                6,
                learning_rate=2e-3,
                # The loss is a mean over 12 answers, of which one is given.
                loss_weights={"main": 12.0, "auxiliary": 1.0, "grounding": 1.0},
            ),
        ),
        batch_size=64,
        monitor_contribution=False,
    ),
)
