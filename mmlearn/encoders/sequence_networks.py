"""Layers over a sequence that encoders of several modalities are built of."""

import functools

import keras_hub
from keras import layers


def stack_recurrent(x, cell, hidden_dim, num_layers, bidirectional, dropout):
    """Puts recurrent layers on a sequence; the arguments are those of the encoders.

    Args:
        x: tensor `(batch_size, length, dim)`.
        cell: `"lstm"` or `"gru"`.
        hidden_dim: int. Size of the result.
        num_layers: int.
        bidirectional: bool.
        dropout: float.

    Returns:
        A tensor `(batch_size, length, hidden_dim)`.

    Raises:
        ValueError: when `hidden_dim` cannot be halved for two directions.
    """
    if bidirectional and hidden_dim % 2:
        raise ValueError(
            "`hidden_dim` must be even, one half per direction. "
            f"Received: hidden_dim={hidden_dim}. Fix: another size, or bidirectional=false."
        )
    make = functools.partial(
        {"lstm": layers.LSTM, "gru": layers.GRU}[cell],
        hidden_dim // 2 if bidirectional else hidden_dim,
        return_sequences=True,
    )
    for number in range(num_layers):
        if number and dropout:
            x = layers.Dropout(dropout, name=f"block{number}_dropout")(x)
        if bidirectional:
            x = layers.Bidirectional(make(), name=f"block{number}_{cell}")(x)
        else:
            x = make(name=f"block{number}_{cell}")(x)
    return x


def stack_transformer(x, mask, num_layers, num_heads, intermediate_dim, dropout):
    """Puts blocks of self-attention on a sequence, normalised before each part.

    Args:
        x: tensor `(batch_size, length, dim)`.
        mask: bool tensor `(batch_size, length)`, or `None`.
        num_layers: int.
        num_heads: int.
        intermediate_dim: int.
        dropout: float.

    Returns:
        A tensor of the same shape.
    """
    if x.shape[-1] % num_heads:
        raise ValueError(
            "`hidden_dim` must be divisible by `num_heads`. "
            f"Received: hidden_dim={x.shape[-1]}, num_heads={num_heads}. Fix: a multiple of it."
        )
    for number in range(num_layers):
        block = keras_hub.layers.TransformerEncoder(
            intermediate_dim,
            num_heads,
            dropout=dropout,
            activation="gelu",
            normalize_first=True,
            name=f"transformer_layer_{number}",
        )
        x = block(x, padding_mask=mask)
    return layers.LayerNormalization(name="output_norm")(x)
