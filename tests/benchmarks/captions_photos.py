"""Captions of real photos, beside those of the most similar photo and of a person.

    python -m tests.benchmarks.captions_photos --data ../shared/data --output DIR

`coco_subset`: 1,339 training and 350 validation photos with four or five captions each. The image encoder
is SqueezeNet, frozen; the decoder is trained here, from scratch, on all captions of nine tenths of the
training photos, and stops by the likelihood of the others'. The first caption of each validation photo is
the person's; all are judged by the others.
"""

import os
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
import tyro

from data_prep.sources.coco import CocoSource
from mmlearn import ImageCaptioner, MultimodalBackbone, MultimodalPreprocessor, encoders
from mmlearn.evaluation.caption_baselines import hold_out, most_frequent, nearest_captions
from mmlearn.evaluation.captioning import score_captions
from mmlearn.training.data import from_dataset
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests.benchmarks import sceptic
from tests.benchmarks.real_photos import image_encoder, read, standardise, with_positions

BATCH_SIZE = 128
LENGTH = 24
KEPT_BACK = 0.1  # of the training photos, to stop by
PHASE = TrainingPhase(
    "captions",
    15,
    learning_rate=1e-3,
    weight_decay=0.05,
    clip_norm=5.0,
    label_smoothing=0.1,
    restore_best=True,
    patience=2,
)


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    data: str
    """Folder with coco_subset and squeezenet_imagenet."""
    output: str
    """Folder of the photos' features; what is there is not computed again."""
    seed: int = 0
    image_size: int = 288
    hidden_dim: int = 256
    num_layers: int = 1
    dropout: float = 0.4
    vocabulary_size: int = 2500
    shown: int = 5
    """Captions that are printed."""


def build(options, photos):
    """A captioner of the photos' features."""
    texts = [text for own in photos.captions for text in own]
    tokenizer = encoders.text_tokenizers.train_tokenizer(texts, options.vocabulary_size)
    converter = encoders.TextConverter(tokenizer, sequence_length=LENGTH)
    known = encoders.Features(*photos.features.shape[1:])
    return ImageCaptioner(
        MultimodalBackbone({"images": known}, fusion=None),
        MultimodalPreprocessor({"text": converter}),
        hidden_dim=options.hidden_dim,
        num_layers=options.num_layers,
        dropout=options.dropout,
    )


def inputs(photos, rows):
    """The model inputs of photos."""
    count, length = len(rows), photos.features.shape[1]
    return {
        "images_features": photos.features[rows],
        "images_mask": np.ones((count, length), "int32"),
        "images_present": np.ones(count, "int32"),
    }


def pairs(task, photos, rows, seed=None):
    """Batches of photos with each of their captions."""
    own = [row for row in rows for _ in photos.captions[row]]
    texts = tf.constant([text for row in rows for text in photos.captions[row]])
    words = task.preprocessor({"text": texts})
    words = {name: words[name] for name in ("token_ids", "padding_mask")}
    features, places = tf.constant(photos.features), tf.constant(own)
    length = photos.features.shape[1]

    def batch(chosen):
        count = tf.size(chosen)
        return {
            "images_features": tf.gather(features, tf.gather(places, chosen)),
            "images_mask": tf.ones((count, length), tf.int32),
            "images_present": tf.ones((count,), tf.int32),
            **{name: tf.gather(values, chosen) for name, values in words.items()},
        }, tf.zeros((count, 0))

    dataset = tf.data.Dataset.range(len(own))
    if seed is not None:
        dataset = dataset.shuffle(len(own), seed=seed)
    dataset = dataset.batch(BATCH_SIZE, drop_remainder=seed is not None)
    return dataset.map(batch).prefetch(2)


def train(options, photos):
    """A trained captioner."""
    keras.utils.set_random_seed(options.seed)
    task = build(options, photos)
    order = np.random.default_rng(options.seed).permutation(len(photos.captions))
    count = round(KEPT_BACK * len(order))
    data = from_dataset(pairs(task, photos, order[count:], options.seed))
    (record,) = run_phases(task, (PHASE,), data, pairs(task, photos, order[:count]))
    losses = " ".join(f"{loss:.2f}" for loss in record["history"]["val_loss"])
    print(f"Loss of the photos kept back, by epoch: {losses}")
    return task


def main():
    """Prints the metrics of each row, the comparisons, and some captions."""
    options = tyro.cli(Options)
    os.makedirs(options.output, exist_ok=True)
    source = CocoSource(os.path.join(options.data, sceptic.PHOTOS))
    photos = [read(options, source, split) for split in ("train", "val")]
    train_photos, val_photos, statistics = standardise(*photos)
    image = image_encoder(options, statistics)
    train_photos, val_photos = (with_positions(each, image) for each in (train_photos, val_photos))
    task = train(options, train_photos)
    held_out, references = hold_out(val_photos.captions)
    x = inputs(val_photos, np.arange(len(references)))
    pooled = [each.features.mean(axis=1) for each in (val_photos, train_photos)]
    rows = {
        "model": task.generate(x),
        "beam": task.generate(x, "beam"),
        "most_frequent": [most_frequent(train_photos.captions)] * len(references),
        "nearest": nearest_captions(*pooled, train_photos.captions),
        "person": held_out,
    }
    metrics, details = score_captions(rows, references)
    names = list(metrics["model"])
    print("| | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for row, found in metrics.items():
        ends = details["intervals"][row]
        cells = [f"{found[n]:.3f} [{ends[n]['low']:.3f}, {ends[n]['high']:.3f}]" for n in names]
        print(f"| {row} | " + " | ".join(cells) + " |")
    for name, found in details["comparisons"].items():
        text = "{difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {p:.3f}".format(**found)
        print(f"{name}: {text} CIDEr-D")
    for row in range(options.shown):
        print({name: captions[row] for name, captions in rows.items() if name != "most_frequent"})


if __name__ == "__main__":
    main()
