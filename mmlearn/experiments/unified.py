"""One transformer for both modalities, as the architecture document's long-term direction has it.

python -m mmlearn train unified

Patches of the images and words are only embedded; everything else is the joint transformer, in which
every word sees every patch from the first layer on. There is nothing to train before that, hence one
phase, and the auxiliary heads would see embeddings alone, hence no loss of theirs: their rows in the
results are those of heads that were never trained.
"""

import dataclasses

from mmlearn.experiments.config import (
    Experiment,
    FusionConfig,
    ImagesConfig,
    ModelConfig,
    TextConfig,
    TrainingConfig,
)
from mmlearn.experiments.shapes import SHAPES
from mmlearn.training.phase import TrainingPhase

UNIFIED = Experiment(
    name="unified",
    data=SHAPES.data,
    model=ModelConfig(
        # 8x8 patches of 12 px: an object is two to four of them wide.
        images=ImagesConfig(name="patches", image_size=96, options={"patch_size": 12, "dim": 128}),
        text=TextConfig(name="words", options={"hidden_dim": 128}),
        fusion=FusionConfig(
            name="merged_attention",
            options={"num_layers": 6, "num_heads": 4, "intermediate_dim": 512},
        ),
        hidden_dim=128,
        head_hidden_dim=128,
    ),
    training=TrainingConfig(
        phases=(
            TrainingPhase(
                "end to end",
                10,
                trainable=("encoders", "fusion", "head"),
                learning_rate=1e-3,
                loss_weights={"classes": 1.0},
            ),
        ),
        batch_size=64,
    ),
)


def with_layers(experiment, name, num_layers):
    """Returns the experiment under another name, with a joint transformer of another depth."""
    fusion = experiment.model.fusion
    fusion = dataclasses.replace(fusion, options={**fusion.options, "num_layers": num_layers})
    model = dataclasses.replace(experiment.model, fusion=fusion)
    return dataclasses.replace(experiment, name=name, model=model)
