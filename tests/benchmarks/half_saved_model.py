"""The full-size model as a SavedModel, in 32 and in 16 bits: size, difference, latency, memory.

    python -m tests.benchmarks.half_saved_model --work DIR

ResNet-50 at 224 px, BERT-base at 32 tokens, 8-head cross-attention; random weights. Both are called in
turn in one process, with one example each.
"""

import argparse
import os
import time

import keras
import numpy as np

from mmlearn import (
    MultimodalBackbone,
    MultimodalClassifier,
    MultimodalPreprocessor,
    encoders,
    fusions,
)
from mmlearn.analysis.profile import model_inputs, size_of
from mmlearn.encoders.text_tokenizers import SPECIAL_TOKENS, make_tokenizer
from mmlearn.models import formats

TOKENS = 30_522
ROUNDS = 9


def full_size():
    """The model of the documents, with a made-up vocabulary."""
    keras.utils.set_random_seed(0)
    tokenizer = make_tokenizer([*SPECIAL_TOKENS, *(f"w{n}" for n in range(TOKENS - 5))])
    built = {
        "images": encoders.get("images", "resnet50", weights="none"),
        "text": encoders.get(
            "text", "bert_base_en_uncased", weights="none", vocabulary_size=TOKENS
        ),
    }
    converters = {
        "images": encoders.ImageConverter(224),
        "text": encoders.TextConverter(tokenizer, 32),
    }
    backbone = MultimodalBackbone(built, fusions.get("cross_attention"), hidden_dim=512)
    return MultimodalClassifier(backbone, 80, MultimodalPreprocessor(converters))


def main():
    """Exports, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, help="folder that gets both exports")
    work = parser.parse_args().work
    calls, times = {}, {}
    for precision in ("float32", "float16"):
        task = full_size()  # anew: what one export has traced would be in the next one, too
        inputs = model_inputs(task, 4)
        folder = os.path.join(work, precision)
        task.export(folder, precision=precision)
        start = time.perf_counter()
        calls[precision] = formats.load(folder)
        seconds = time.perf_counter() - start
        apart = np.abs(calls[precision](inputs)["probabilities"] - task.predict(inputs, verbose=0))
        print(
            f"{precision}: {size_of(folder) / 1e6:.1f} MB, loaded in {seconds:.1f} s, largest "
            f"difference from Keras {apart.max():.1e}"
        )
        times[precision] = []
    for _ in range(ROUNDS):
        for precision, call in calls.items():
            start = time.perf_counter()
            call({name: values[:1] for name, values in inputs.items()})
            times[precision].append(1000 * (time.perf_counter() - start))
    for precision, own in times.items():
        print(f"{precision}: one example {np.median(own):.0f} ms (median of {ROUNDS} rounds)")


if __name__ == "__main__":
    main()
