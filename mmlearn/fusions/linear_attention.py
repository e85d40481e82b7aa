"""Bidirectional cross-attention whose cost grows linearly with the number of tokens."""

import keras

from mmlearn.fusions.cross_attention import CrossAttentionFusion
from mmlearn.layers.linear_attention import LinearAttention


@keras.saving.register_keras_serializable(package="mmlearn")
class LinearAttentionFusion(CrossAttentionFusion):
    """Cross-attention by products of feature maps, for many tokens: no scores are ever made.

    Everything but the attention itself is that of `cross_attention`, its options too.

    Args:
        num_heads: int. Attention heads; must divide the hidden dimension.
        num_layers: int. 0 means no attention across modalities, everything else equal.
        dropout: float in [0, 1). Rate on what is gathered.
        combine: `"weighted"` or `"concat"`.
        intermediate_dim: int or `None`, see `AttentionFusion`.
        pooling: `"mean"` or `"sum_max"`, see `mmlearn.layers.sum_max_pooling`.
        name: str or `None`.
        **kwargs: of `keras.layers.Layer`.

    Returns:
        A dict of `fused_features (batch_size, hidden_dim)` and `modality_weights (batch_size,
        num_modalities)` (only if weighted).

    Example:

    >>> import numpy as np
    >>> features = {"images": np.ones((2, 900, 8)), "text": np.ones((2, 500, 8))}
    >>> masks = {"images": np.ones((2, 900), bool), "text": np.ones((2, 500), bool)}
    >>> sorted(LinearAttentionFusion(num_heads=2)(features, masks))
    ['fused_features', 'modality_weights']

    Reference:
        Katharopoulos et al., "Transformers are RNNs", 2020, section 3.2, across modalities.
    """

    def __init__(
        self,
        num_heads=8,
        num_layers=1,
        dropout=0.1,
        combine="weighted",
        intermediate_dim=None,
        pooling="mean",
        name=None,
        **kwargs,
    ):
        # No `grounded_heads`, whose scores are trained.
        super().__init__(
            num_heads,
            num_layers,
            dropout,
            combine,
            intermediate_dim=intermediate_dim,
            pooling=pooling,
            name=name,
            **kwargs,
        )

    def get_config(self):
        config = super().get_config()
        del config["grounded_heads"]
        return config

    def make_attention(self, hidden_dim, name):
        return LinearAttention(hidden_dim, self.num_heads, dtype=self.dtype_policy, name=name)

    def gather(self, attention, query, value, mask, training):
        return attention(query, value, mask), None
