"""The backbone of a config."""

from mmlearn import fusions
from mmlearn.models import MultimodalBackbone


def build_backbone(config, encoders, dtype=None):
    """Joins encoders through the fusion of a `ModelConfig`.

    Args:
        config: `ModelConfig`.
        encoders: dict of modality to encoder.
        dtype: dtype policy of all layers, by default that of Keras.
    """
    return MultimodalBackbone(
        encoders,
        fusions.get(config.fusion.name, **config.fusion.options),
        hidden_dim=config.hidden_dim,
        dropout=config.dropout,
        modality_dropout=config.modality_dropout,
        dtype=dtype,
    )
