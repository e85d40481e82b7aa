r"""The student report's notebook: a small convolutional network on COCO images, 80 sigmoids.

    python -m mmlearn train report_cnn --data.root DIR

128 px, three convolutions, a dense layer of 512 units with dropout 0.2, binary cross-entropy, batches
of 256, 15 epochs of Adam from 1e-3. What differs: the data are read as they are needed instead of all
at once, the rate falls along a cosine, three more dense layers follow (the projection, the fusion's
and the head's, which all models here have), and the result is on the data's validation split. The
"accuracy" that the notebook prints is `categorical_accuracy` here.
"""

from mmlearn.experiments.config import (
    DataConfig,
    Experiment,
    FusionConfig,
    ImagesConfig,
    ModelConfig,
    TrainingConfig,
)
from mmlearn.training.phase import TrainingPhase

REPORT_CNN = Experiment(
    name="report_cnn",
    data=DataConfig(source="coco"),
    model=ModelConfig(
        modalities=("images",),
        images=ImagesConfig(name="cnn", image_size=128, options={"flatten": True}),
        fusion=FusionConfig(name="concat"),
        dropout=0.0,  # the network has its own
        modality_dropout=0.0,
    ),
    training=TrainingConfig(
        phases=(
            TrainingPhase(
                "end to end",
                15,
                learning_rate=1e-3,
                warmup_fraction=0.0,
                weight_decay=0.0,  # AdamW is then Adam
                loss_weights={"classes": 1.0},
            ),
        ),
        batch_size=256,
    ),
)
