"""Whether prepared shards and the served model see the same photos.

    python -m mmlearn train coco_small --data.root DIR
    python -m tests.benchmarks.train_serve_skew --model saved_models/coco_small --photos DIR --work DIR

For 200 validation photos, with their first caption: the probabilities from shards, through the
training pipeline and the Keras model, against those from the files' bytes, through the SavedModel's
`explain` signature; and the pixels that reach the two. Needs the extra `shards`.
"""

import os
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401
import tyro

from data_prep import images
from data_prep.pipeline import build_dataset
from data_prep.shards import write_shards
from data_prep.sources.coco import CocoSource
from data_prep.splits import Selection
from mmlearn import MultimodalClassifier

SPLIT, BATCH_SIZE = "val", 20


@dataclass(frozen=True)
class Options:
    """Compares the two ways."""

    model: str
    """Output folder of a run on the same data."""
    photos: str
    """Folder in COCO's format."""
    work: str
    """Folder for the shards; kept between runs."""
    count: int = 200
    """Photos."""
    image_size: int = 224
    """Side of the images in the shards, by default that of `data_prep shards`."""


def main():
    """Prints mean and largest differences."""
    options = tyro.cli(Options)
    source = CocoSource(options.photos)
    first = Selection(source, {SPLIT: (SPLIT, np.arange(options.count))})
    classifier = MultimodalClassifier.from_preset(os.path.join(options.model, "preset"))
    image_size = classifier.preprocessor.image_size
    folder = os.path.join(options.work, f"skew-{options.image_size}")
    shards, _ = write_shards(first, folder, image_size=options.image_size)
    dataset = build_dataset(shards, SPLIT, classifier.preprocessor, BATCH_SIZE, with_ids=True)
    names, pixels, prepared = [], [], {}
    for ids, (x, _, _) in dataset:
        names += [name.decode() for name in ids.numpy()]
        pixels.append(x["images"].numpy())
        for name, values in classifier.predict_on_batch(x).items():
            prepared.setdefault(name, []).append(values)
    prepared = {name: np.concatenate(values) for name, values in prepared.items()}
    pixels = np.concatenate(pixels)
    served = tf.saved_model.load(os.path.join(options.model, "serving", "1")).signatures["explain"]
    index = first.examples(SPLIT)
    rows = [index.ids.index(name) for name in names]
    differences = {"fused": [], "image head": [], "pixels of 255": []}
    for start in range(0, len(rows), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        files = []
        for row in rows[part]:
            with open(index.images[row], "rb") as file:
                files.append(file.read())
        texts = [index.captions[row][0] for row in rows[part]]
        outputs = served(images=tf.constant(files), text=tf.constant(texts))
        seen, _ = images.decode_batch(tf.constant(files), image_size)
        for name, ours, theirs in (
            ("fused", prepared["classes"][part], outputs["probabilities"]),
            ("image head", prepared["images_classes"][part], outputs["images_probabilities"]),
            ("pixels of 255", pixels[part], seen),
        ):
            differences[name].append(np.abs(ours - theirs.numpy()))
    for name, values in differences.items():
        values = np.concatenate(values)
        per_photo = values.reshape(len(values), -1).mean(axis=1)
        print(
            f"{name}: mean {values.mean():.5f}, largest {values.max():.5f}, "
            f"worst photo {per_photo.max():.5f}"
        )


if __name__ == "__main__":
    main()
