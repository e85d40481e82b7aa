"""The one place where a config becomes objects: source, preprocessor, task, phases, results."""

import hashlib
import json
import os
import platform
import shutil
import time
from importlib import metadata

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from data_prep import sources
from data_prep.errors import DataError
from data_prep.names import call
from data_prep.pipeline import build_dataset, find_unreadable
from mmlearn import encoders, fusions
from mmlearn.analysis.attention import DIRECTION, plot_attention, word_maps
from mmlearn.analysis.curves import plot_curves
from mmlearn.encoders import text as text_encoders
from mmlearn.evaluation.evaluate import evaluate
from mmlearn.experiments.config import to_dict
from mmlearn.models import MultimodalBackbone, MultimodalClassifier, MultimodalPreprocessor
from mmlearn.models.presets import find_preset
from mmlearn.training.callbacks import RichProgress
from mmlearn.training.distribution import make_strategy, synchronize_batch_norm
from mmlearn.training.phases import run_phases

DEFAULT_ROOTS = {"shapes": os.path.join("data", "shapes")}  # sources that make their data
NUM_OVERLAYS = 6


def run(experiment, console=None):
    """Trains, evaluates and saves as an experiment says.

    The results are written beside the output folder and renamed at the end: an interrupted or
    failed run leaves nothing behind, and the results of an earlier one in place.

    Args:
        experiment: `Experiment`.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The record of the run, which is also in `run.json`: a dict of `config`, `metrics`,
        `history`, `seconds`, `data`, `versions` and `output`.

    Raises:
        ValueError: when the config, the data (`DataError`) or the output folder is not right.
        FloatingPointError: when the loss is no number.
    """
    console = console or Console(quiet=True)
    clock = _Clock()
    output = experiment.output or os.path.join("saved_models", experiment.name)
    check_output(output)
    training = experiment.training
    source = build_source(experiment.data)
    reports = {split: source.report(split) for split in ("train", "val")}
    for split, report in reports.items():
        found = ", ".join(f"{count} {what}" for what, count in report.items())
        console.print(f"[bold]{split}[/]: {found}")
    clock.lap("data")
    # Devices before the first op: logical ones cannot be made afterwards.
    strategy = make_strategy(training.strategy, training.num_replicas)
    keras.utils.set_random_seed(training.seed)
    tf.config.experimental.enable_op_determinism()
    with strategy.scope():
        task = build_classifier(experiment.model, source, strategy.num_replicas_in_sync)
    console.print(
        f"[bold]model[/]: {task.count_params():,} parameters, "
        f"{strategy.num_replicas_in_sync} replica(s)"
    )
    train_dataset, validation_dataset = build_datasets(experiment, source, task.preprocessor)
    clock.lap("build")
    callbacks = [] if console.quiet else [lambda phase: RichProgress(console, phase)]
    prior = source.examples("train").labels.mean(axis=0)
    try:
        with strategy.scope():
            records = run_phases(
                task, training.phases, train_dataset, validation_dataset, callbacks
            )
        clock.lap("train")
        metrics, predictions = evaluate(task, validation_dataset, prior, source.oracles("val"))
    except tf.errors.InvalidArgumentError as error:
        raise _name_bad_images(source) or error from None
    clock.lap("evaluate")

    partial = f"{output.rstrip(os.sep)}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(os.path.join(partial, "figures"))
    try:
        task.save_to_preset(os.path.join(partial, "preset"))
        os.makedirs(os.path.join(partial, "serving"))
        task.export(os.path.join(partial, "serving", "1"))
        np.savez_compressed(os.path.join(partial, "predictions.npz"), **predictions)
        clock.lap("export")
        plot_curves(records, os.path.join(partial, "figures", "curves.png"))
        draw_attention(task, source, os.path.join(partial, "figures"))
        clock.lap("figures")
        record = {
            "output": output,
            "config": to_dict(experiment),
            "metrics": metrics,
            "history": records,
            "seconds": clock.seconds(),
            "data": {
                "fingerprint": fingerprint(source),
                "reports": reports,
                "label_names": source.label_names,
                "label_prior": prior.tolist(),
            },
            "parameters": task.count_params(),
            "versions": versions(),
        }
        with open(os.path.join(partial, "run.json"), "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
        _replace(output, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def evaluate_model(model, data, split="val", batch_size=32):
    """Scores a saved model on a split of a data set.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str.
        batch_size: int.

    Returns:
        The metrics of `mmlearn.evaluation.evaluate`. The prior is that of the run's training
        split, else that of the data's, else that of the split itself.
    """
    task = MultimodalClassifier.from_preset(find_preset(model))
    source = build_source(data)
    if list(source.label_names) != task.label_names:
        raise ValueError(
            f"The labels of the data ({len(source.label_names)}, the first "
            f"{source.label_names[0]!r}) are not those of the model ({task.num_classes}, the first "
            f"{task.label_names[0]!r}). Fix: evaluate on the data set that the model was made for."
        )
    record = os.path.join(model, "run.json")
    if os.path.isfile(record):
        with open(record, encoding="utf-8") as file:
            prior = np.array(json.load(file)["data"]["label_prior"])
    else:
        prior = source.examples("train" if "train" in source.splits else split).labels.mean(axis=0)
    dataset = build_dataset(source, split, task.preprocessor, batch_size)
    try:
        return evaluate(task, dataset, prior, source.oracles(split))[0]
    except tf.errors.InvalidArgumentError as error:
        raise _name_bad_images(source, (split,)) or error from None


def build_source(config):
    """Builds the source of a `DataConfig`."""
    cls = sources.get(config.source)
    root = config.root or DEFAULT_ROOTS.get(config.source)
    if root is None:
        raise ValueError(f"The source {config.source!r} needs a folder. Fix: pass --data.root DIR.")
    return call(cls, {"root": root, **config.options}, f"source {config.source!r}")


def build_classifier(config, source, num_replicas=1):
    """Builds the classifier of a `ModelConfig`, under the current strategy's scope.

    Args:
        config: `ModelConfig`.
        source: a source; its labels name the classes, its captions train a missing vocabulary.
        num_replicas: int. With more than one, batch normalisation is synchronised.
    """
    built, converters = {}, {}
    for modality in config.modalities:
        if modality == "images":
            built[modality] = encoders.get(
                modality,
                config.images.name,
                image_size=config.images.image_size,
                weights=config.images.weights,
            )
            converters[modality] = encoders.ImageConverter(config.images.image_size)
        elif modality == "text":
            tokenizer = build_tokenizer(config.text, source)
            built[modality] = encoders.get(
                modality,
                config.text.name,
                sequence_length=config.text.sequence_length,
                vocabulary_size=tokenizer.vocabulary_size(),
                weights=config.text.weights,
            )
            converters[modality] = encoders.TextConverter(tokenizer, config.text.sequence_length)
        else:
            raise ValueError(
                f"Unknown modality {modality!r} in `model.modalities`. Known: images, text."
            )
        if num_replicas > 1:
            built[modality] = synchronize_batch_norm(built[modality])
    backbone = MultimodalBackbone(
        built,
        fusions.get(config.fusion.name, **config.fusion.options),
        hidden_dim=config.hidden_dim,
        dropout=config.dropout,
        modality_dropout=config.modality_dropout,
    )
    return MultimodalClassifier(
        backbone,
        num_classes=len(source.label_names),
        preprocessor=MultimodalPreprocessor(converters),
        label_names=source.label_names,
        hidden_dim=config.head_hidden_dim,
        dropout=config.dropout,
    )


def build_tokenizer(config, source):
    """Builds the tokenizer of a `TextConfig`: from a file, with the weights, or from captions."""
    if config.vocabulary is not None:
        return text_encoders.read_vocabulary(config.vocabulary)
    if text_encoders.has_tokenizer(config.name, config.weights):
        return text_encoders.load_tokenizer(config.name, config.weights)
    captions = source.examples("train").captions
    return text_encoders.train_tokenizer(
        [text for texts in captions for text in texts], config.vocabulary_size
    )


def build_datasets(experiment, source, preprocessor):
    """Builds the training and validation datasets of an experiment."""
    batch_size = experiment.training.batch_size
    train = build_dataset(
        source,
        "train",
        preprocessor,
        batch_size,
        shuffle=True,
        augmentations=experiment.data.augmentations,
        # Replicas must get equal shares, or their gradients are weighted wrongly.
        drop_remainder=True,
        seed=experiment.training.seed,
    )
    return train, build_dataset(source, "val", preprocessor, batch_size)


def draw_attention(task, source, folder):
    """Draws what the words of a few validation captions attend to; nothing without attention."""
    if f"attention_scores/{DIRECTION}" not in _explained(task):
        return
    index = source.examples("val")
    converter = task.preprocessor.converters["text"]
    for row in [r for r, captions in enumerate(index.captions) if captions][:NUM_OVERLAYS]:
        caption = index.captions[row][0]
        with open(index.images[row], "rb") as file:
            example = {"images": [file.read()], "text": [caption]}
        explanation = task.explain(example)
        token_ids = task.preprocessor({"text": tf.constant([caption])})["token_ids"].numpy()[0]
        real = token_ids[token_ids != converter.tokenizer.pad_token_id]
        tokens = [converter.tokenizer.id_to_token(int(i)) for i in real]
        maps = word_maps(explanation, tokens, task.backbone.encoders["images"].grid)
        probabilities = explanation["classes"][0]
        top = np.argsort(-probabilities)[:4]
        title = ", ".join(f"{source.label_names[c]} {probabilities[c]:.2f}" for c in top)
        image = tf.io.decode_image(example["images"][0], channels=3).numpy()
        path = os.path.join(folder, f"attention_{row:03d}.png")
        plot_attention(image, maps, path, title=f"{caption}\n{title}")


def _explained(task):
    names = set()
    for name, value in task._explained.items():
        names |= {f"{name}/{key}" for key in value} if isinstance(value, dict) else {name}
    return names


def check_output(output):
    """Raises a `ValueError` when a folder exists that is not the result of a run."""
    is_run = os.path.isfile(os.path.join(output, "run.json"))
    is_empty = os.path.isdir(output) and not os.listdir(output)
    if os.path.exists(output) and not is_run and not is_empty:
        raise ValueError(
            f"The output {output!r} exists and is not the result of a run. Fix: pass another "
            "folder, --output DIR, or remove it."
        )


def _replace(output, partial):
    """Puts the new results in the place of the old ones, which go last."""
    old = f"{partial}.old"
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    if os.path.exists(output):
        os.rename(output, old)
    os.rename(partial, output)
    shutil.rmtree(old, ignore_errors=True)


def _name_bad_images(source, splits=("train", "val")):
    for split in splits:
        bad = find_unreadable(source, split)
        if bad:
            return DataError(
                f"{len(bad)} image file(s) of {split!r} cannot be decoded, the first is {bad[0]!r}. "
                "Fix: restore them, or take their entries out of the annotations."
            )
    return None


def fingerprint(source):
    """Hashes what a model learns from: ids, captions, labels and image sizes of both splits."""
    digest = hashlib.sha256()
    for split in ("train", "val"):
        index = source.examples(split)
        sizes = [os.path.getsize(path) for path in index.images]
        digest.update(json.dumps([index.ids, index.captions, sizes]).encode())
        digest.update(index.labels.tobytes())
    return digest.hexdigest()


def versions():
    """The versions that a run depends on."""
    names = (
        "tensorflow",
        "keras",
        "keras-hub",
        "tensorflow-text",
        "numpy",
        "opencv-python-headless",
    )
    return {"python": platform.python_version(), **{n: metadata.version(n) for n in names}}


class _Clock:
    """Seconds per stage."""

    def __init__(self):
        self._start = self._last = time.monotonic()
        self._laps = {}

    def lap(self, name):
        now = time.monotonic()
        self._laps[name] = round(now - self._last, 2)
        self._last = now

    def seconds(self):
        return {**self._laps, "total": round(time.monotonic() - self._start, 2)}
