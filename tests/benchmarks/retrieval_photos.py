"""Retrieval on real photos: a retriever of pixels and words beside canonical correlation analysis.

    python -m tests.benchmarks.retrieval_photos --data ../shared/data --output DIR

`coco_subset`: trained on 1,339 photos with their captions, searched in 350 others and their captions; then,
as it is, in the 300 photos of `flickr8k_subset`. The image encoder is SqueezeNet, passed as a `keras.Model`
of the user's own and frozen; the words are trained here, from scratch.

The baseline is a sceptic's: SqueezeNet's grid, mean and max pooled, reduced to 128 by PCA, TF-IDF of one
and two words reduced to 128 by LSA, and 48 canonical pairs of these.

With `--folds 5`, everything is trained and judged inside the training split instead, which is how the
settings below were chosen.
"""

import os
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
import tyro
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import StandardScaler

from data_prep.sources.captions_csv import CaptionsCsvSource
from data_prep.sources.coco import CocoSource
from data_prep.splits import assign
from mmlearn import (
    ImageTextRetriever,
    MultimodalBackbone,
    MultimodalPreprocessor,
    encoders,
    fusions,
)
from mmlearn.evaluation.intervals import difference
from mmlearn.evaluation.retrieval import DIRECTIONS, draw_ranks, rank_both, with_intervals
from mmlearn.training.data import from_dataset
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests.benchmarks import real_photos, sceptic

IMAGE_SIZE = 288
PAIRS, REDUCED = 48, 128  # of the baseline
BATCH_SIZE = 256
PHASE = TrainingPhase(
    "embeddings",
    20,
    trainable=("text_encoder", "head"),
    learning_rate=2e-3,
    weight_decay=0.1,
    loss_weights={"contrast": 1.0},
)


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    data: str
    """Folder with coco_subset, flickr8k_subset and squeezenet_imagenet."""
    output: str
    """Folder of features, which are computed once."""
    seeds: tuple[int, ...] = (0, 1, 2)
    folds: int | None = None
    """Cross-validation inside the training split, with that many folds by photo."""
    max_folds: int | None = None
    """Only the first ones of these."""
    image_size: int = IMAGE_SIZE
    epochs: int = PHASE.epochs
    learning_rate: float = PHASE.learning_rate
    weight_decay: float = PHASE.weight_decay
    dropout: float = 0.5
    embedding_dim: int = 256
    loss: str = "info_nce"
    pooling: str = "mean"


def features_of(options, name, source, split):
    """The features of the encoder and those of the baseline, each kept in a file."""
    folder = os.path.join(options.output, name)
    os.makedirs(folder, exist_ok=True)
    own = real_photos.Options(data=options.data, output=folder, image_size=options.image_size)
    examples = source.examples(split)
    labels = np.zeros((len(examples), 1))
    grid = real_photos.encode(own, source, split)
    photos = real_photos.Photos(examples.images, grid, [c[:5] for c in examples.captions], labels)
    return photos, sceptic.pool(real_photos.sceptic_maps(own, source, split))


def flat(captions):
    """Captions one after the other, and the number of the photo of each."""
    rows = np.repeat(np.arange(len(captions)), [len(several) for several in captions])
    return [text for several in captions for text in several], rows


# --- Baseline --------------------------------------------------------------------------------------


class Correlations:
    """Canonical correlation analysis of pooled image features and TF-IDF of captions.

    Reference:
        Hotelling 1936, "Relations between two sets of variates".
    """

    def __init__(self, pooled, captions):
        texts, rows = flat(captions)
        self.scaler = StandardScaler().fit(pooled)
        self.pca = PCA(REDUCED, random_state=0).fit(self.scaler.transform(pooled))
        self.vectorizer = TfidfVectorizer(ngram_range=(1, 2))
        counts = self.vectorizer.fit_transform(texts)
        self.lsa = TruncatedSVD(REDUCED, random_state=0).fit(counts)
        images, words = self._images(pooled)[rows], self.lsa.transform(counts)
        self.means = images.mean(axis=0), words.mean(axis=0)
        images, words = images - self.means[0], words - self.means[1]
        whiten = [_inverse_root(each.T @ each / len(rows)) for each in (images, words)]
        left, strength, right = np.linalg.svd(
            whiten[0] @ (images.T @ words / len(rows)) @ whiten[1]
        )
        self.projections = whiten[0] @ left[:, :PAIRS], whiten[1] @ right[:PAIRS].T
        self.strength = strength[:PAIRS]

    def _images(self, pooled):
        return self.pca.transform(self.scaler.transform(pooled))

    def embed(self, pooled, captions):
        """Unit vectors of photos and of their captions."""
        words = self.lsa.transform(self.vectorizer.transform(flat(captions)[0]))
        both = (
            (self._images(pooled) - self.means[0]) @ self.projections[0],
            (words - self.means[1]) @ self.projections[1],
        )
        return [_unit(each * self.strength) for each in both]


def _inverse_root(covariance):
    values, vectors = np.linalg.eigh(covariance)
    return vectors @ np.diag(1 / np.sqrt(values + 1e-3 * values.mean())) @ vectors.T


def _unit(values):
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


# --- Retriever -------------------------------------------------------------------------------------


def build(options, statistics, captions):
    """The retriever on image files, and the same on features that are known."""
    own = real_photos.Options(data=options.data, output="", image_size=options.image_size)
    image = real_photos.image_encoder(own, statistics)
    text, converter = real_photos.text_parts(captions)
    task = ImageTextRetriever(
        MultimodalBackbone(
            {"images": image, "text": text},
            fusions.get("concat"),
            hidden_dim=128,
            modality_dropout=0.0,
        ),
        MultimodalPreprocessor(
            {"images": encoders.ImageConverter(options.image_size), "text": converter}
        ),
        embedding_dim=options.embedding_dim,
        pooling=options.pooling,
        loss=options.loss,
        dropout=options.dropout,
    )
    return task, image, converter


def training_data(photos, converter, seed):
    """Every caption once an epoch, each with its photo."""
    texts, rows = flat(photos.captions)
    x = real_photos.inputs(photos, rows[:1], texts, converter)
    x = {name: tf.constant(values) for name, values in x.items() if not name.startswith("images")}
    features, photo = tf.constant(photos.features), tf.constant(rows)

    def batch(places):
        own = {name: tf.gather(values, places) for name, values in x.items()}
        own["group"] = tf.gather(photo, places)
        own["images_features"] = tf.gather(features, own["group"])
        own["images_mask"] = tf.ones((BATCH_SIZE, photos.features.shape[1]), tf.int32)
        own["images_present"] = tf.ones((BATCH_SIZE,), tf.int32)
        return own, tf.zeros((BATCH_SIZE, 1)), tf.ones((BATCH_SIZE,))

    dataset = tf.data.Dataset.range(len(texts)).shuffle(len(texts), seed=seed)
    return from_dataset(dataset.batch(BATCH_SIZE, drop_remainder=True).map(batch).prefetch(2))


def train(options, photos, statistics, seed):
    """Trains on known features; returns the retriever on features and its converter."""
    keras.utils.set_random_seed(seed)
    task, image, converter = build(options, statistics, photos.captions)
    photos = real_photos.with_positions(photos, image)
    learner = real_photos.on_features(task, photos)
    phase = TrainingPhase(
        PHASE.name,
        options.epochs,
        trainable=PHASE.trainable,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        loss_weights=PHASE.loss_weights,
    )
    run_phases(learner, [phase], training_data(photos, converter, seed))
    return learner, image, converter


def embed(learner, image, converter, photos):
    """Embeddings of photos and of their captions."""
    photos = real_photos.with_positions(photos, image)
    texts, _ = flat(photos.captions)
    x = real_photos.inputs(photos, np.arange(len(photos.paths)), texts, converter)
    images = [
        learner.encode_inputs(
            {name: x[name][start : start + 64] for name in ("images_features", "images_mask")},
            "images",
        )["embedding"]
        for start in range(0, len(photos.paths), 64)
    ]
    words = learner.encode_inputs(x, "text")["embedding"]
    return np.concatenate([np.asarray(each) for each in images]), np.asarray(words)


# --- Comparison ------------------------------------------------------------------------------------


def compare(options, train_set, others):
    """Ranks by baseline and retriever in each of some sets: a dict of set to dict of row to ranks.

    Args:
        options: `Options`.
        train_set: `Photos` and pooled features.
        others: dict of name to the same.
    """
    photos, pooled = train_set
    names = list(others)
    scaled = [real_photos.standardise(photos, others[name][0]) for name in names]
    statistics = scaled[0][2]
    found = {name: {} for name in names}
    baseline = Correlations(pooled, photos.captions)
    runs = [train(options, scaled[0][0], statistics, seed) for seed in options.seeds]
    for name, (_, own, _) in zip(names, scaled, strict=True):
        _, rows = flat(own.captions)
        numbers = np.arange(len(own.paths))
        found[name]["cca"] = rank_both(
            *baseline.embed(others[name][1], own.captions), numbers, rows
        )
        for seed, run in zip(options.seeds, runs, strict=True):
            found[name][f"seed {seed}"] = rank_both(*embed(*run, own), numbers, rows)
    return found


def table(found, captions):
    """Lines of a Markdown table: recall of the baseline, of the first seed with its interval, of all."""
    rows = flat(captions)[1]
    drawn = {
        name: draw_ranks(ranks, np.arange(len(captions)), rows) for name, ranks in found.items()
    }
    lines = ["| direction | from | R@1 | R@5 | R@10 |", "|---|---|---|---|---|"]
    for direction in DIRECTIONS:
        seeds = [name for name in found if name != "cca"]
        for name in ("cca", *seeds):
            own = with_intervals(drawn[name])[direction]
            cells = [
                f"{own[m]['value']:.3f} [{own[m]['low']:.3f}, {own[m]['high']:.3f}]"
                for m in ("R@1", "R@5", "R@10")
            ]
            lines.append(f"| {direction} | {name} | {' | '.join(cells)} |")
        means = [
            np.mean([drawn[name][direction][metric][0] for name in seeds])
            for metric in ("R@1", "R@5", "R@10")
        ]
        lines.append(f"| {direction} | mean of seeds | {' | '.join(f'{m:.3f}' for m in means)} |")
        gain = difference(drawn[seeds[0]][direction]["R@10"], drawn["cca"][direction]["R@10"])
        lines.append(
            f"{seeds[0]} minus cca, R@10: {gain['difference']:+.3f} [{gain['low']:+.3f}, "
            f"{gain['high']:+.3f}], p = {gain['p']:.3f}"
        )
    return "\n".join(lines)


def main():
    """Prints the tables."""
    options = tyro.cli(Options)
    coco = CocoSource(os.path.join(options.data, sceptic.PHOTOS))
    whole, pooled = features_of(options, "coco", coco, "train")
    if options.folds:
        dealt = assign(coco.examples("train").groups, [1 / options.folds] * options.folds, 0)
        scores = {}
        for fold in range(options.folds)[: options.max_folds]:
            rows, held = np.flatnonzero(dealt != fold), np.flatnonzero(dealt == fold)
            parts = {"fold": (whole.take(held), pooled[held])}
            found = compare(options, (whole.take(rows), pooled[rows]), parts)["fold"]
            for name, ranks in found.items():
                for direction, own in ranks.items():
                    key = ("cca" if name == "cca" else "retriever", direction)
                    scores.setdefault(key, []).append([(own <= cut).mean() for cut in (1, 5, 10)])
        for key, values in scores.items():
            print(*key, np.round(np.mean(values, axis=0), 4).tolist())
        return
    flickr = CaptionsCsvSource(os.path.join(options.data, "flickr8k_subset"))
    others = {
        "coco val": features_of(options, "coco", coco, "val"),
        "flickr8k": features_of(options, "flickr", flickr, "all"),
    }
    for name, found in compare(options, (whole, pooled), others).items():
        print(f"\n{name}, {len(others[name][0].paths)} photos\n")
        print(table(found, others[name][0].captions))


if __name__ == "__main__":
    main()
