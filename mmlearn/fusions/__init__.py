"""Ways to make one feature vector of the features of several modalities.

`FUSIONS` maps names to classes. Importing this package registers every class.
"""

import keras

from data_prep import names
from mmlearn.fusions.bilinear import BilinearFusion
from mmlearn.fusions.concat import ConcatFusion
from mmlearn.fusions.cross_attention import CrossAttentionFusion
from mmlearn.fusions.elementwise import ElementwiseFusion
from mmlearn.fusions.extended import ExtendedFusion
from mmlearn.fusions.gated import GatedFusion
from mmlearn.fusions.hybrid import HybridFusion
from mmlearn.fusions.late import LateFusion
from mmlearn.fusions.linear_attention import LinearAttentionFusion
from mmlearn.fusions.merged_attention import MergedAttentionFusion

__all__ = [
    "FUSIONS",
    "BilinearFusion",
    "ConcatFusion",
    "CrossAttentionFusion",
    "ElementwiseFusion",
    "ExtendedFusion",
    "GatedFusion",
    "HybridFusion",
    "LateFusion",
    "LinearAttentionFusion",
    "MergedAttentionFusion",
    "get",
]

FUSIONS = {
    "bilinear": BilinearFusion,
    "concat": ConcatFusion,
    "cross_attention": CrossAttentionFusion,
    "elementwise": ElementwiseFusion,
    "gated": GatedFusion,
    "hybrid": HybridFusion,
    "late": LateFusion,
    "linear_attention": LinearAttentionFusion,
    "merged_attention": MergedAttentionFusion,
}


def get(identifier, **options):
    """Returns a fusion: by name with options, from a config, or the instance itself.

    Args:
        identifier: str, dict or fusion.
        **options: of the fusion's constructor, only with a name.

    Raises:
        ValueError: when the name is unknown or an option does not fit.
    """
    if isinstance(identifier, dict):
        return keras.saving.deserialize_keras_object(identifier)
    if not isinstance(identifier, str):
        return identifier
    cls = names.find(identifier, FUSIONS, "fusion")
    return names.call(cls, {**options, "name": "fusion"}, f"fusion {identifier!r}")
