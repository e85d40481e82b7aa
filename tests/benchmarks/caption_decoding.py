"""What a token costs in writing captions, with a cache and without, by the length of a caption.

    python -m tests.benchmarks.caption_decoding

A decoder with random weights writes captions that never end. With a cache, a token costs one position
of the decoder and attention to the ones before; without, all positions again.
"""

import time
from dataclasses import dataclass

import keras
import keras_hub
import numpy as np
import tensorflow as tf
import tyro

from mmlearn import ImageCaptioner, MultimodalBackbone, MultimodalPreprocessor, encoders
from mmlearn.encoders.text_tokenizers import SPECIAL_TOKENS, make_tokenizer

REGIONS = (49, 512)


@dataclass(frozen=True)
class Options:
    """Measures time per token."""

    lengths: tuple[int, ...] = (16, 32, 64, 128)
    batch_size: int = 16
    hidden_dim: int = 256
    num_layers: int = 4
    vocabulary_size: int = 8192
    repeats: int = 3


def build(options, length):
    """A captioner of features with random weights."""
    count = options.vocabulary_size - len(SPECIAL_TOKENS)
    tokenizer = make_tokenizer([*SPECIAL_TOKENS, *(f"w{number}" for number in range(count))])
    backbone = MultimodalBackbone({"images": encoders.Features(*REGIONS)}, fusion=None)
    converter = encoders.TextConverter(tokenizer, sequence_length=length)
    return ImageCaptioner(
        backbone,
        MultimodalPreprocessor({"text": converter}),
        hidden_dim=options.hidden_dim,
        num_layers=options.num_layers,
        num_heads=8,
    )


def seconds(function, repeats):
    """The fastest of some calls, after one that traces."""
    function()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def measure(options, length):
    """Seconds per token and image: greedy and five beams with a cache, greedy without."""
    task = build(options, length)
    random = np.random.default_rng(0)
    x = {
        "images_features": random.normal(size=(options.batch_size, *REGIONS)).astype("float32"),
        "images_mask": np.ones((options.batch_size, REGIONS[0]), "int32"),
        "images_present": np.ones(options.batch_size, "int32"),
    }
    x = {name: tf.constant(values) for name, values in x.items()}
    known = tf.constant(np.arange(length)[None] < np.ones((options.batch_size, 1)))
    first = tf.where(known, 2, 0)
    endless = _Endless(task)
    found = {}
    for name, sampler in (
        ("greedy", keras_hub.samplers.GreedySampler()),
        ("5 beams", keras_hub.samplers.BeamSampler(num_beams=5)),
    ):
        run = tf.function(
            lambda x, first, known, sampler=sampler: endless(x, first, known, sampler)
        )
        found[name] = seconds(lambda run=run: run(x, first, known).numpy(), options.repeats)
    decoder = task.heads["decoder"]

    @tf.function
    def without_cache(x, token_ids):
        encoded = task.backbone(x, training=False)
        memory, mask = encoded["features"]["images"], encoded["masks"]["images"]
        for place in range(1, length):
            logits, _ = decoder(token_ids[:, :place], memory, mask, training=False)
            token = tf.argmax(logits[:, -1], axis=-1, output_type=tf.int32)
            token_ids = tf.concat([token_ids, token[:, None]], axis=1)
        return token_ids

    found["greedy, no cache"] = seconds(
        lambda: without_cache(x, first[:, :1]).numpy(), options.repeats
    )
    return {name: value / (length - 1) / options.batch_size * 1000 for name, value in found.items()}


class _Endless:
    """Writes to the full length: no token ends a caption."""

    def __init__(self, task):
        self.task = task

    def __call__(self, x, token_ids, is_known, sampler):
        def without_end(*args, stop_token_ids, **kwargs):
            return sampler(*args, stop_token_ids=None, **kwargs)

        without_end.num_beams = getattr(sampler, "num_beams", None)
        return self.task.write(x, token_ids, is_known, without_end)


def main():
    """Prints a table of milliseconds per token and image."""
    options = tyro.cli(Options)
    keras.utils.set_random_seed(0)
    for number, length in enumerate(options.lengths):
        found = measure(options, length)
        if not number:
            print("| tokens | " + " | ".join(f"{name}, ms" for name in found) + " |")
            print("|---" * (len(found) + 1) + "|")
        print(f"| {length} | " + " | ".join(f"{v:.2f}" for v in found.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
