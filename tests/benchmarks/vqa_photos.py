"""Questions about real photos: a model of pixels and words beside models of the question alone.

    python -m tests.benchmarks.vqa_photos --data ../shared/data --output DIR

`vqa_subset`: 4,302 training questions about 499 photos and 1,027 validation questions about 120 others,
397 answers. The image encoder is SqueezeNet, passed as a `keras.Model` of the user's own and frozen; the
text encoder is trained here, from scratch. Beside the fusions: the question's and the image's own heads,
each trained alone, which all rows share; the most frequent answers; and a sceptic's logistic regressions,
on TF-IDF of one and two words and on these with the pooled features of the image.

The accuracy is the official one of VQA, its intervals are over photos. Of several seeds, each question
counts with the mean of its accuracies. With `--folds 3`, everything is trained and judged inside the
training split instead, with photos held out, to choose settings by.
"""

import dataclasses
import os
import time
import warnings
import zlib
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
import tyro
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from data_prep.sources.vqa_v2 import VqaV2Source
from data_prep.splits import assign
from mmlearn import (
    MultimodalBackbone,
    VisualQuestionAnswerer,
    encoders,
    fusions,
)
from mmlearn.evaluation.vqa import answer_accuracies, describe_answers
from mmlearn.evaluation.vqa_baselines import most_frequent, question_kinds
from mmlearn.training.data import from_dataset
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests.benchmarks import sceptic
from tests.benchmarks.real_photos import own_model, text_parts
from tests.benchmarks.squeezenet import NORMALIZATION

QUESTIONS = "vqa_subset"
IMAGE_SIZE = 288
BATCH_SIZE = 64
DROPOUT = 0.5
SCEPTIC_C = 10
EXPERTS = TrainingPhase(
    "experts",
    30,
    trainable=("text_encoder", "auxiliary_heads"),
    learning_rate=3e-3,
    weight_decay=0.1,
    loss_weights={"auxiliary": 1.0},
)
FUSION = TrainingPhase(
    "fusion",
    5,
    trainable=("fusion", "head"),
    learning_rate=1e-3,
    weight_decay=0.1,
    loss_weights={"main": 1.0},
)


def of_logits(images):
    """Options of a fusion that averages logits, those of the image so many times as the question's."""
    return {"average": "logits", "modality_weights": {"images": images, "text": 1.0}}


# The first of them is ours.
ROWS = {
    "late, logits 1 : 0.25": ("late", of_logits(0.25)),
    "cross_attention": ("cross_attention", {"num_heads": 4, "combine": "concat"}),
    "bilinear": ("bilinear", {}),
}
WEIGHTS = {f"late, logits 1 : {each}": ("late", of_logits(each)) for each in (0.25, 0.5, 1.0)}
EXPERT_NAMES = {"text": "question only, trained", "images": "image only, trained"}


@dataclass(frozen=True)
class Options:
    """Trains and compares."""

    data: str
    """Folder with vqa_subset and squeezenet_imagenet."""
    output: str
    """Folder of features and answers; what is there already is not made again."""
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: tuple[str, ...] = tuple(ROWS)
    """Names of the table, ours first, or `weights` for late fusion with several weights of the image."""
    folds: int | None = None
    """Cross-validation inside the training split, with that many folds by photo."""


# --- Data ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Questions:
    """Questions with their photos: features `(num_photos, length, dim)`, and the photo of each question."""

    texts: list
    photos: np.ndarray
    features: np.ndarray
    labels: sparse.csr_array
    answers: list
    answer_types: list
    kinds: list

    def __len__(self):
        return len(self.texts)

    def take(self, rows):
        """These questions alone, about any of the photos."""
        lists = ("texts", "answers", "answer_types", "kinds")
        own = {name: [getattr(self, name)[row] for row in rows] for name in lists}
        return dataclasses.replace(self, photos=self.photos[rows], labels=self.labels[rows], **own)


def image_encoder(options):
    """SqueezeNet as an encoder, frozen."""
    model = own_model(os.path.join(options.data, sceptic.WEIGHTS), IMAGE_SIZE)
    return encoders.ImageEncoder(model, normalization=NORMALIZATION, trainable=False)


def encode(options, paths, split):
    """The features of photos, with what tells their place, kept in a file."""
    path = os.path.join(options.output, f"features-{split}.npy")
    if not os.path.exists(path):
        encoder, converter = image_encoder(options), encoders.ImageConverter(IMAGE_SIZE)
        found = []
        for start in range(0, len(paths), 32):
            batch = converter.read_raw(paths[start : start + 32], "images")
            inputs = converter.convert(tf.constant(batch), "images")
            features, _ = encoder({"images": inputs["images"]})
            found.append(np.asarray(features, np.float16))
        np.save(path, np.concatenate(found))
    return np.load(path).astype(np.float32)


def read(options, source, split):
    """The `Questions` of a split."""
    examples = source.examples(split)
    paths = sorted(set(examples.images))
    place = {path: number for number, path in enumerate(paths)}
    texts, details = [each[0] for each in examples.captions], examples.details
    return Questions(
        texts,
        np.array([place[path] for path in examples.images]),
        encode(options, paths, split),
        examples.labels,
        details["answers"],
        details["answer_type"],
        question_kinds(details["question_type"], texts),
    )


def standardise(train, val):
    """Each channel with mean 0 and deviation 1 over the regions of the training photos."""
    regions = train.features[np.unique(train.photos)].reshape(-1, train.features.shape[-1])
    mean, deviation = regions.mean(axis=0), regions.std(axis=0) + 1e-2
    return [
        dataclasses.replace(each, features=(each.features - mean) / deviation)
        for each in (train, val)
    ]


# --- Models ----------------------------------------------------------------------------------------


def build(row, encoder, questions, answers):
    """The task of a row of the table, on features that are known and a text encoder that rows share."""
    name, options = {**ROWS, **WEIGHTS}[row]
    known = encoders.Features(*questions.features.shape[1:])
    task = VisualQuestionAnswerer(
        MultimodalBackbone(
            {"images": known, "text": encoder},
            fusions.get(name, **options),
            hidden_dim=256,
            dropout=DROPOUT,
            modality_dropout=0.0,
        ),
        len(answers),
        label_names=answers,
        activation="softmax",  # each question has one answer
        hidden_dim=None,
        dropout=DROPOUT,
    )
    task.start_from(np.asarray(questions.labels.mean(axis=0)).ravel())
    return task


def batches(questions, converter, seed=None):
    """Batches of model inputs and targets, shuffled if there is a seed."""
    convert = tf.function(lambda values: converter.convert(values, "text"))
    x = convert(tf.constant(questions.texts))
    photos, features = tf.constant(questions.photos), tf.constant(questions.features)
    labels = tf.constant(questions.labels.toarray(), tf.float32)

    def look_up(places):
        own = {name: tf.gather(values, places) for name, values in x.items()}
        own["images_features"] = tf.gather(features, tf.gather(photos, places))
        own["images_mask"] = tf.ones(tf.shape(own["images_features"])[:2], tf.int32)
        own["images_present"] = tf.ones_like(places, tf.int32)
        return own, tf.gather(labels, places), tf.ones_like(places, tf.float32)

    dataset = tf.data.Dataset.range(len(questions))
    if seed is not None:
        dataset = dataset.shuffle(len(questions), seed=seed)
    return dataset.batch(BATCH_SIZE, drop_remainder=seed is not None).map(look_up).prefetch(2)


def train_and_answer(options, train, val, answers, seed):
    """The columns of the answers of each row, and of the heads of one modality, to the validation split."""
    keras.utils.set_random_seed(seed)
    encoder, converter = text_parts([[each] for each in train.texts])
    data = from_dataset(batches(train, converter, seed))
    asked = batches(val, converter).map(lambda x, *_: x)
    found, experts = {}, None
    for row in options.rows:
        start = time.perf_counter()
        task = build(row, encoder, train, answers)
        heads = [task.heads[f"{modality}_classes"] for modality in EXPERT_NAMES]
        if experts is None:  # trained once, for all rows
            run_phases(task, [EXPERTS], data)
            experts = [head.get_weights() for head in heads]
        else:
            for head, weights in zip(heads, experts, strict=True):
                head.set_weights(weights)
        if task.backbone.combines != "predictions":
            run_phases(task, [FUSION], data)
        outputs = task.predict_outputs(asked, verbose=0)
        found[row] = outputs["classes"].argmax(axis=1)
        for modality, name in EXPERT_NAMES.items():
            found[name] = outputs[f"{modality}_classes"].argmax(axis=1)
        print(f"{row}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    return found


# --- The sceptic -----------------------------------------------------------------------------------


def sceptic_answers(train, val):
    """The columns of a sceptic's answers: from the question, and from it with the pooled image."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2))
    words = [vectorizer.fit_transform(train.texts), vectorizer.transform(val.texts)]
    pooled = [np.hstack([q.features.mean(axis=1), q.features.max(axis=1)]) for q in (train, val)]
    scaler = StandardScaler().fit(pooled[0][train.photos])
    # So that all channels together weigh what all words do, whose squares sum to 1.
    size = np.sqrt(pooled[0].shape[1])
    seen = [
        scaler.transform(each)[questions.photos] / size
        for each, questions in zip(pooled, (train, val), strict=True)
    ]
    both = [sparse.hstack(pair).tocsr() for pair in zip(words, seen, strict=True)]
    columns = np.asarray(train.labels.argmax(axis=1)).ravel()
    found = {}
    for name, (known, asked) in {"sceptic question": words, "sceptic both": both}.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=SCEPTIC_C, max_iter=100).fit(known, columns)
        found[name] = model.predict(asked)
    return found


# --- Figures ---------------------------------------------------------------------------------------


def compare(options, train, val, answers, name):
    """The accuracies of all rows, the mean over the seeds: dict of row to `(num_questions,)`."""
    train, val = standardise(train, val)
    rows, runs = zlib.crc32(repr(options.rows).encode()), {}
    for seed in options.seeds:
        path = os.path.join(options.output, f"{name}-{seed}-{rows:08x}.npz")
        if not os.path.exists(path):
            np.savez(path, **train_and_answer(options, train, val, answers, seed))
        for row, columns in np.load(path).items():
            runs.setdefault(row, []).append(columns)
    path = os.path.join(options.output, f"{name}-sceptic.npz")
    if not os.path.exists(path):
        np.savez(path, **sceptic_answers(train, val))
    runs.update({row: [columns] for row, columns in np.load(path).items()})
    runs["prior by question type"] = [most_frequent(train.labels, train.kinds, val.kinds)]
    runs["prior"] = [np.full(len(val), most_frequent(train.labels))]
    names = np.array(answers)
    return {
        row: np.mean([answer_accuracies(names[own].tolist(), val.answers) for own in each], axis=0)
        for row, each in runs.items()
    }


def table(accuracies, answer_types, photos):
    """Markdown: the accuracy of each row with its interval over photos, and the first minus each."""
    metrics, details = describe_answers(accuracies, answer_types, photos)
    first = next(iter(metrics))
    columns = list(metrics[first])
    title = ["", columns[0], "95 %", *columns[1:], f"{first} minus it"]
    lines = ["| " + " | ".join(title) + " |", "|---" * len(title) + "|"]
    for row, scores in metrics.items():
        cells = [f"{scores[column]:.3f}" for column in columns]
        cells.insert(1, "[{low:.3f}, {high:.3f}]".format(**details["intervals"][row][columns[0]]))
        found = details["comparisons"].get(f"over_{row}")
        text = "{difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {p:.3f}"
        cells.append("" if found is None else text.format(**found))
        lines.append("| " + " | ".join([row, *cells]) + " |")
    return "\n".join(lines)


def main():
    """Prints the table of the validation split, or of the training split, by cross-validation."""
    options = tyro.cli(Options)
    if options.rows == ("weights",):
        options = dataclasses.replace(options, rows=tuple(WEIGHTS))
    os.makedirs(options.output, exist_ok=True)
    source = VqaV2Source(os.path.join(options.data, QUESTIONS))
    train, answers = read(options, source, "train"), source.label_names
    if not options.folds:
        val = read(options, source, "val")
        found = compare(options, train, val, answers, "val")
        print(table(found, val.answer_types, val.photos))
        return
    dealt = assign(train.photos, [1 / options.folds] * options.folds, 0)
    parts = []
    for fold in range(options.folds):
        own = np.flatnonzero(dealt == fold)
        rest = train.take(np.flatnonzero(dealt != fold))
        found = compare(options, rest, train.take(own), answers, f"fold-{fold}")
        parts.append((own, found))
    rows = np.concatenate([own for own, _ in parts])
    held_out = train.take(rows)
    found = {name: np.concatenate([each[name] for _, each in parts]) for name in parts[0][1]}
    print(table(found, held_out.answer_types, held_out.photos))


if __name__ == "__main__":
    main()
