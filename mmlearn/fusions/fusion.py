"""The contract of a fusion, and the parts that fusions share.

A fusion is a Keras layer `fusion(features, masks, training=...)`:

- `features`: dict of modality to `(batch_size, length, hidden_dim)`, one or more modalities;
- `masks`: dict of modality to bool `(batch_size, length)`.

It returns a dict with `fused_features (batch_size, fused_dim)` and, if it has them,
`attention_scores {direction: (batch_size, num_layers, num_heads, query_length, key_length)}` and
`modality_weights (batch_size, num_modalities)`. Modalities are always taken in alphabetical order.
The direction `"text_to_images"` means that text queries attend to image keys.

The class attribute `combines` says what is fused: `"features"`, `"predictions"` or `"both"`.
Your own fusion is any such layer, registered with `@keras.saving.register_keras_serializable()`;
the repository needs no edit.
"""

from mmlearn.layers.masked_mean import masked_mean


def pool(features, masks):
    """Pools each modality's tokens: a list of `(batch_size, hidden_dim)`, in modality order."""
    return [masked_mean(features[modality], masks[modality]) for modality in sorted(features)]
