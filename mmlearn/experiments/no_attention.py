"""The synthetic experiment without attention across modalities, and everything else equal.

python -m mmlearn train no_attention

The documents' row "No Attention": the modalities are pooled and weighed, but no token of one sees a
token of the other.
"""

import dataclasses

from mmlearn.experiments.config import FusionConfig
from mmlearn.experiments.shapes import SHAPES

_FUSION = SHAPES.model.fusion

NO_ATTENTION = dataclasses.replace(
    SHAPES,
    name="no_attention",
    model=dataclasses.replace(
        SHAPES.model,
        fusion=FusionConfig(name=_FUSION.name, options={**_FUSION.options, "num_layers": 0}),
    ),
)
