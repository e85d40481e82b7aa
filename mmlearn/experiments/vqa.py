r"""VQA v2 at full size: ResNet50 and BERT-base, which attend to each other, and 3,000 answers.

    python -m mmlearn train vqa --data.root DIR

On a CPU, with small encoders:

    python -m mmlearn train vqa --data.root DIR --model.images.name resnet_tiny \
        --model.images.weights none --model.text.name bert_tiny --model.text.weights none
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

_WEIGHTS = {"main": 1.0, "auxiliary": 0.2, "grounding": 0.0}

VQA = Experiment(
    name="vqa",
    # Not augmented: a flip moves what is left to the right, a crop takes away what is counted.
    data=DataConfig(source="vqa_v2", options={"num_answers": 3000}),
    model=ModelConfig(
        images=ImagesConfig(image_size=448),
        text=TextConfig(sequence_length=24),
        fusion=FusionConfig(options={"num_heads": 8, "num_layers": 3, "combine": "concat"}),
        task=TaskConfig(name="answering"),
        head_hidden_dim=1024,
        modality_dropout=0.05,
    ),
    training=TrainingConfig(
        phases=(
            TrainingPhase(
                "fusion",
                3,
                trainable=("fusion", "head", "auxiliary_heads"),
                learning_rate=2e-4,
                loss_weights=_WEIGHTS,
            ),
            TrainingPhase(
                "end to end",
                7,
                learning_rate=5e-5,
                part_rates={"encoders": 0.4},
                loss_weights=_WEIGHTS,
            ),
        ),
        batch_size=64,
    ),
)
