"""Real photos: a model of pixels and words beside a sceptic's logistic regressions.

    python -m tests.benchmarks.real_photos --data ../shared/data --output DIR

`coco_subset`: 1,339 training and 350 validation photos with their captions, 80 labels. The image encoder
is SqueezeNet, passed as a `keras.Model` of the user's own and frozen; the text encoder is trained here,
from scratch. Each fusion is trained on the same encoders and heads of a seed. A validation photo comes
with its first caption; one more column has the mean over its first four, each alone.

With `--folds 5`, everything is trained and judged inside the training split instead, which is how the
settings below were chosen.
"""

import dataclasses
import os
import time
import zlib
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
import tyro
from keras import layers, ops
from scipy import special, stats

from data_prep.sources.coco import CocoSource
from data_prep.splits import assign
from mmlearn import (
    MultimodalBackbone,
    MultimodalClassifier,
    MultimodalPreprocessor,
    encoders,
    fusions,
)
from mmlearn.encoders.word_counts import inverse_document_frequencies
from mmlearn.evaluation.classification import multilabel_metrics
from mmlearn.evaluation.intervals import difference, draw, interval
from mmlearn.evaluation.paired_runs import paired_test
from mmlearn.training.data import from_dataset
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests.benchmarks import sceptic
from tests.benchmarks.squeezenet import NORMALIZATION, squeezenet

BAR = "sceptic late"
CAPTIONS = 4  # of a photo, each alone
GRID = 6
DROPOUT = 0.5
BATCH_SIZE = 128
EXPERTS = (
    TrainingPhase(
        "text",
        12,
        trainable=("text_encoder", "auxiliary_heads"),
        learning_rate=3e-3,
        weight_decay=0.1,
        loss_weights={"text_classes": 1.0},
    ),
    TrainingPhase(
        "images",
        10,
        trainable=("auxiliary_heads",),
        optimizer="sgd",
        learning_rate=0.5,
        weight_decay=3e-3,
        loss_weights={"images_classes": 1.0},
    ),
)
FUSION = TrainingPhase(
    "fusion",
    6,
    trainable=("fusion", "head"),
    learning_rate=1e-3,
    weight_decay=0.1,
    loss_weights={"main": 1.0},
)


def of_logits(text, **options):
    """Options of a fusion that averages logits, those of the text so many times as those of the images."""
    weights = {"images": 1.0, "text": text}
    return {"average": "logits", "modality_weights": weights, **options}


# The first of them is ours; `--folds 5 --rows weights` judges other weights of its text.
ROWS = {
    "late, logits 1 : 1.5": ("late", of_logits(1.5)),
    "late, learned": ("late", {}),
    "hybrid, logits 1 : 1.5": ("hybrid", of_logits(1.5, num_heads=4)),
    "hybrid, learned": ("hybrid", {"num_heads": 4}),
    "cross_attention": ("cross_attention", {"num_heads": 4}),
    "no attention": ("cross_attention", {"num_heads": 4, "num_layers": 0}),
    "concat": ("concat", {}),
}
WEIGHTS = {f"late, logits 1 : {text}": ("late", of_logits(text)) for text in (1, 1.5, 2, 3)}


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    data: str
    """Folder with coco_subset and squeezenet_imagenet."""
    output: str
    """Folder of predictions; what is there already is not trained again."""
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: tuple[str, ...] = tuple(ROWS)
    """Names of the table, ours first, or `weights` for late fusion with several weights of the text."""
    image_size: int = 288
    folds: int | None = None
    """Cross-validation inside the training split, with that many folds by photo."""
    max_folds: int | None = None
    """Only the first ones of these."""


# --- Data ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photos:
    """Photos with what the encoder says of them: features `(n, length, dim)`, captions, labels."""

    paths: list
    features: np.ndarray
    captions: list
    labels: np.ndarray

    def take(self, rows):
        """These photos alone."""
        paths, captions = ([own[row] for row in rows] for own in (self.paths, self.captions))
        return Photos(paths, self.features[rows], captions, self.labels[rows])


def own_model(weights, image_size, mean=None, variance=None):
    """The user's own model: SqueezeNet of a photo and of its mirror image, on a coarser grid.

    Args:
        weights: str. The file of SqueezeNet's.
        image_size: int.
        mean: list of float, of each of the 1,024 channels over the training photos, for
            standardisation; `None` for channels as they are.
        variance: likewise.
    """
    network = squeezenet(weights, image_size)
    step = -(-network.output.shape[1] // GRID)
    # What is somewhere in a part of the photo, and how much of it.
    pools = [
        layers.AveragePooling2D(step, padding="same"),
        layers.MaxPooling2D(step, padding="same"),
    ]
    inputs = keras.Input(network.input.shape[1:])
    mirrored = ops.flip(network(ops.flip(inputs, axis=2)), axis=2)
    maps = [
        layers.Concatenate()([pool(each) for pool in pools]) for each in (network(inputs), mirrored)
    ]
    x = layers.Average()(maps)
    if mean is not None:
        x = layers.Normalization(mean=mean, variance=variance)(x)
    return keras.Model(inputs, x, name="squeezenet_grid")


def image_encoder(options, statistics=(None, None)):
    """The model as an encoder, frozen."""
    weights = os.path.join(options.data, sceptic.WEIGHTS)
    model = own_model(weights, options.image_size, *statistics)
    return encoders.ImageEncoder(model, normalization=NORMALIZATION, trainable=False)


def encode(options, source, split):
    """The features of a split before standardisation, kept in a file."""
    path = os.path.join(options.output, f"features-{split}-{options.image_size}.npy")
    if not os.path.exists(path):
        encoder = image_encoder(options)
        converter = encoders.ImageConverter(options.image_size)
        names = source.examples(split).images
        found = []
        for start in range(0, len(names), 32):
            batch = converter.read_raw(names[start : start + 32], "images")
            images = converter.convert(tf.constant(batch), "images")["images"]
            maps = encoder.model(encoder._normalize(images), training=False)
            found.append(np.asarray(maps).reshape(len(batch), -1, maps.shape[-1]))
        np.save(path, np.concatenate(found).astype(np.float16))
    return np.load(path).astype(np.float32)


def read(options, source, split):
    """The `Photos` of a split."""
    examples = source.examples(split)
    features = encode(options, source, split)
    return Photos(examples.images, features, examples.captions, np.asarray(examples.labels))


def standardise(train, val):
    """Each channel with mean 0 and deviation 1 over the training photos, of which each is the mean."""
    pooled = train.features.mean(axis=1)
    mean, variance = pooled.mean(axis=0), pooled.var(axis=0) + 1e-3
    scaled = [
        dataclasses.replace(each, features=(each.features - mean) / np.sqrt(variance))
        for each in (train, val)
    ]
    return *scaled, (mean.tolist(), variance.tolist())


def sceptic_maps(options, source, split):
    """The sceptic's feature maps of a split, kept in a file."""
    path = os.path.join(options.output, f"sceptic-{split}.npy")
    if not os.path.exists(path):
        weights = os.path.join(options.data, sceptic.WEIGHTS)
        names = source.examples(split).images
        np.save(path, sceptic.grid_features(names, weights, sceptic.IMAGE_SIZE).astype(np.float16))
    return np.load(path).astype(np.float32)


# --- Model -----------------------------------------------------------------------------------------


def text_parts(captions):
    """The text encoder with its words weighed as the captions have them, and its converter."""
    texts = [text for several in captions for text in several]
    tokenizer = encoders.text_tokenizers.train_tokenizer(texts)
    converter = encoders.TextConverter(tokenizer)
    encoder = encoders.get(
        "text",
        "weighted_words",
        vocabulary_size=tokenizer.vocabulary_size(),
        dropout=0.0,  # the heads have their own
        inverse_frequencies=inverse_document_frequencies(texts, converter),
    )
    return encoder, converter


def build(options, row, image, text, num_classes):
    """The task of a row of the table, on encoders that all rows share."""
    encoder, converter = text
    name, fusion_options = {**ROWS, **WEIGHTS}[row]
    return MultimodalClassifier(
        MultimodalBackbone(
            {"images": image, "text": encoder},
            fusions.get(name, **fusion_options),
            hidden_dim=128,
            dropout=DROPOUT,
            modality_dropout=0.0,
        ),
        num_classes,
        MultimodalPreprocessor(
            {"images": encoders.ImageConverter(options.image_size), "text": converter}
        ),
        hidden_dim=None,
        dropout=DROPOUT,
    )


def with_positions(photos, image):
    """The features as the encoder gives them: it adds to each region what tells its place."""
    image(image.model_inputs("images"))  # makes these
    positions = keras.ops.convert_to_numpy(image.positions)
    return dataclasses.replace(photos, features=photos.features + positions)


def on_features(task, photos):
    """The same task on features that are known: it shares all that is trained."""
    known = encoders.Features(*photos.features.shape[1:])
    return task.with_backbone(task.backbone.with_encoders({"images": known}))


def inputs(photos, rows, texts, converter):
    """The model inputs of photos with a text each."""
    convert = tf.function(lambda values: converter.convert(values, "text"))
    shape = (len(rows), photos.features.shape[1])
    return {
        "images_features": photos.features[rows],
        "images_mask": np.ones(shape, "int32"),
        "images_present": np.ones(len(rows), "int32"),
        **{name: values.numpy() for name, values in convert(tf.constant(texts)).items()},
    }


def training_data(photos, converter, seed):
    """Every caption once an epoch, each with its photo."""
    rows = np.repeat(np.arange(len(photos.captions)), [len(c) for c in photos.captions])
    texts = [text for several in photos.captions for text in several]
    x = inputs(photos, rows[:1], texts, converter)
    x = {name: tf.constant(values) for name, values in x.items() if not name.startswith("images")}
    features, labels = tf.constant(photos.features), tf.constant(photos.labels, tf.float32)
    photo = tf.constant(rows)

    def batch(places):
        own = {name: tf.gather(values, places) for name, values in x.items()}
        own["images_features"] = tf.gather(features, tf.gather(photo, places))
        own["images_mask"] = tf.ones((BATCH_SIZE, photos.features.shape[1]), tf.int32)
        own["images_present"] = tf.ones((BATCH_SIZE,), tf.int32)
        return own, tf.gather(labels, tf.gather(photo, places)), tf.ones((BATCH_SIZE,))

    dataset = tf.data.Dataset.range(len(texts)).shuffle(len(texts), seed=seed)
    dataset = dataset.batch(BATCH_SIZE, drop_remainder=True).map(batch)
    return from_dataset(dataset.prefetch(2))


def start_from_prior(heads, labels):
    """Lets heads begin with the odds of each label, so that training need not find these first."""
    share = np.clip(labels.mean(axis=0), 0.5 / len(labels), 1 - 0.5 / len(labels))
    for head in heads:
        if getattr(head, "units", None) == len(share):  # not dropout, nor the share of a hybrid
            kernel, _ = head.get_weights()
            head.set_weights([kernel, special.logit(share)])


def train_and_predict(options, train, val, statistics, seed):
    """The predictions of each row and of the heads of one modality: `(captions, n, classes)`."""
    keras.utils.set_random_seed(seed)
    image, text = image_encoder(options, statistics), text_parts(train.captions)
    train, val = (with_positions(photos, image) for photos in (train, val))
    data = training_data(train, text[1], seed)
    found, experts = {}, None
    for row in options.rows:
        start = time.perf_counter()
        task = build(options, row, image, text, train.labels.shape[1])
        learner = on_features(task, train)
        heads = [learner.heads[f"{m}_classes"] for m in ("images", "text")]
        start_from_prior([*heads, *learner.parts["head"]], train.labels)
        if experts is None:  # trained once, for all rows
            run_phases(learner, EXPERTS, data)
            experts = [head.get_weights() for head in heads]
        else:
            for head, weights in zip(heads, experts, strict=True):
                head.set_weights(weights)
        if task.backbone.fusion.weights:
            run_phases(learner, [FUSION], data)
        outputs = [
            learner.predict_outputs(
                tf.data.Dataset.from_tensor_slices(x).batch(BATCH_SIZE), verbose=0
            )
            for x in by_caption(val, text[1])
        ]
        found[row] = np.stack([each["classes"] for each in outputs])
        for modality in ("images", "text"):
            found[modality] = np.stack([each[f"{modality}_classes"] for each in outputs])
        found[f"seconds {row}"] = np.float64(time.perf_counter() - start)
        if "from files" not in found:
            found["from files"] = difference_from_files(task, val, found[row][0])
    return found


def difference_from_files(task, photos, predicted, count=16):
    """How far the predictions of image files are from those of the features that were kept."""
    raw = {"images": photos.paths[:count], "text": [c[0] for c in photos.captions[:count]]}
    return np.abs(task.predict(raw, verbose=0) - predicted[:count]).max()


def by_caption(photos, converter):
    """Yields the model inputs with the first, second, ... caption of each photo."""
    for number in range(CAPTIONS):
        texts = [several[number % len(several)] for several in photos.captions]
        yield inputs(photos, np.arange(len(texts)), texts, converter)


def predict(options, train, val, name, seed):
    """The same, kept in a file with the rows in its name."""
    rows = zlib.crc32(repr(options.rows).encode())
    path = os.path.join(options.output, f"{name}-{seed}-{rows:08x}.npz")
    if not os.path.exists(path):
        train, val, statistics = standardise(train, val)
        np.savez(path, **train_and_predict(options, train, val, statistics, seed))
    return dict(np.load(path))


# --- The sceptic -----------------------------------------------------------------------------------


def sceptics(maps, train, val):
    """The decision values of the sceptic's rows, in the order of captions: `(captions, n, classes)`."""
    image = sceptic.image_values(*maps, train.labels)
    texts = [several[n % len(several)] for n in range(CAPTIONS) for several in val.captions]
    text = sceptic.text_values(train.captions, texts, train.labels)
    text = text.reshape(CAPTIONS, *image.shape)
    return {
        "sceptic images": np.stack([image] * CAPTIONS),
        "sceptic text": text,
        "sceptic late": np.stack([sceptic.late(image, own) for own in text]),
    }


# --- Figures ---------------------------------------------------------------------------------------


def as_ranks(values):
    """Decision values or probabilities as numbers in (0, 1] with the same order and ties."""
    return stats.rankdata(values, axis=0) / len(values)


def mean_ap(labels, values):
    """The macro mAP over the classes with a positive."""
    return multilabel_metrics(labels, as_ranks(values))["mAP"]


def drawn_map(labels, runs):
    """The mAP with the first caption, mean over the seeds, as it is and on resamples of the photos."""
    ranks = {str(number): as_ranks(run[0]) for number, run in enumerate(runs)}
    drawn = draw("multi_label", labels, ranks)
    return np.mean([own["mAP"] for own in drawn.values()], axis=0)


def plain(values):
    """A figure per seed, or the one that there is."""
    return " ".join(f"{value:.4f}" for value in dict.fromkeys(values))


def table(labels, found, own):
    """Markdown: the mAP of each row, with its interval over photos, and compared with two of them.

    Args:
        labels: int array `(n, classes)`.
        found: dict of row to dict, see `compare`.
        own: str. The row that all others are compared with, besides the sceptic's.
    """
    references = {BAR: "sceptic", own: "ours"}
    title = ["", "first caption, by seed", "95 %", f"mean of {CAPTIONS} captions"]
    title += [f"minus {word}" for word in references.values()]
    lines = ["| " + " | ".join((*title, "seconds")) + " |", "|---" * (len(title) + 1) + "|"]
    drawn = {name: drawn_map(labels, row["values"]) for name, row in found.items()}
    firsts = {
        name: [mean_ap(labels, run[0]) for run in row["values"]] for name, row in found.items()
    }
    for name, row in found.items():
        low_high = "[{low:.3f}, {high:.3f}]".format(**interval(drawn[name], limits=(0, 1)))
        means = [np.mean([mean_ap(labels, each) for each in run]) for run in row["values"]]
        against = [
            difference_between(drawn, firsts, name, other) if name != other else ""
            for other in references
        ]
        seconds = f"{row['seconds']:.0f}" if row["seconds"] else ""
        cells = (name, plain(firsts[name]), low_high, f"{np.mean(means):.4f}", *against, seconds)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference_between(drawn, firsts, name, other):
    """The difference of two rows, its interval and p over photos, and p over seeds."""
    found = difference(drawn[name], drawn[other])
    text = "{difference:+.4f} [{low:+.3f}, {high:+.3f}], p = {p:.3f}".format(**found)
    count = max(len(firsts[name]), len(firsts[other]))
    # The sceptic's has no seed: it is the same for all.
    runs = [np.resize(firsts[each], count) for each in (name, other)]
    p = paired_test(*runs)["p"]
    return text if p is None else f"{text}; seeds p = {p:.4f}"


def compare(options, train, val, maps, name):
    """The predictions of all rows, ours and the sceptic's, by seed: dict of name to dict."""
    path = os.path.join(options.output, f"{name}-sceptic.npz")
    if not os.path.exists(path):
        np.savez(path, **sceptics(maps, train, val))
    found = {row: {"values": [v], "seconds": None} for row, v in np.load(path).items()}
    runs = [predict(options, train, val, name, seed) for seed in options.seeds]
    for row in ("images", "text", *options.rows):
        seconds = [float(run.get(f"seconds {row}", 0.0)) for run in runs]
        found[row] = {"values": [run[row] for run in runs], "seconds": np.mean(seconds)}
    return found


def main():
    """Prints the table of the validation split, or that of each fold of the training split."""
    options = tyro.cli(Options)
    if options.rows == ("weights",):
        options = dataclasses.replace(options, rows=tuple(WEIGHTS))
    os.makedirs(options.output, exist_ok=True)
    source = CocoSource(os.path.join(options.data, sceptic.PHOTOS))
    splits = ("train",) if options.folds else ("train", "val")
    photos = {split: read(options, source, split) for split in splits}
    maps = {split: sceptic_maps(options, source, split) for split in splits}
    if not options.folds:
        found = compare(options, photos["train"], photos["val"], list(maps.values()), "val")
        print(table(photos["val"].labels.astype(int), found, options.rows[0]))
        far = max(
            predict(options, **photos, name="val", seed=s)["from files"] for s in options.seeds
        )
        print(f"\nThe same from image files: probabilities differ by {far:.5f} at most.")
        return
    whole, grids = photos["train"], maps["train"]
    groups = source.examples("train").groups
    dealt = assign(groups, [1 / options.folds] * options.folds, 0, whole.labels)
    scores = {}
    for fold in range(options.folds)[: options.max_folds]:
        rows = np.flatnonzero(dealt != fold), np.flatnonzero(dealt == fold)
        train, val = (whole.take(own) for own in rows)
        found = compare(options, train, val, [grids[own] for own in rows], f"fold-{fold}")
        for name, own in found.items():
            scores.setdefault(name, []).append(
                [[mean_ap(val.labels.astype(int), each) for each in run] for run in own["values"]]
            )
    for name, own in scores.items():
        first = np.mean([[run[0] for run in fold] for fold in own])
        print(f"{name:16} first {first:.4f}, mean of {CAPTIONS} captions {np.mean(own):.4f}")


if __name__ == "__main__":
    main()
