"""A layer of the decoder."""

import keras_hub
import numpy as np

from mmlearn.layers.decoder_block import DecoderBlock
from tests import checks

DIM, HEADS = 8, 2


def test_agrees_with_keras_hub():
    random = np.random.default_rng(0)
    words = random.normal(size=(2, 5, DIM)).astype("float32")
    regions = random.normal(size=(2, 4, DIM)).astype("float32")
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], bool)
    block = DecoderBlock(DIM, HEADS, intermediate_dim=12)
    block.build(words.shape, regions.shape)
    for weight in block.weights:
        weight.assign(random.normal(size=weight.shape))
    found, scores, _ = block(words, block.read_memory(regions), mask)
    np.testing.assert_allclose(np.sum(scores, axis=-1), 1.0, rtol=1e-5)

    theirs = keras_hub.layers.TransformerDecoder(
        12, HEADS, activation="gelu", layer_norm_epsilon=1e-3, normalize_first=True
    )
    theirs.build(words.shape, regions.shape)
    pairs = [
        (block.self_norm, theirs._self_attention_layer_norm),
        (block.image_norm, theirs._cross_attention_layer_norm),
        (block.forward_norm, theirs._feedforward_layer_norm),
        (block.hidden_dense, theirs._feedforward_intermediate_dense),
        (block.output_dense, theirs._feedforward_output_dense),
    ]
    for own, other in (
        (block.self_attention, theirs._self_attention_layer),
        (block.image_attention, theirs._cross_attention_layer),
    ):
        for name in ("query", "key", "value", "output"):
            pairs.append((getattr(own, f"{name}_dense"), getattr(other, f"_{name}_dense")))
    for own, other in pairs:
        values = zip(own.get_weights(), other.get_weights(), strict=True)
        other.set_weights([value.reshape(shaped.shape) for value, shaped in values])
    expected = theirs(words, regions, encoder_padding_mask=mask)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_config():
    checks.check_layer_config(DecoderBlock(DIM, HEADS, 12, dropout=0.2))
