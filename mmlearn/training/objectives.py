"""What a phase trains for: labels, or an objective that needs none and trains encoders alone."""

import functools
import math
from dataclasses import dataclass

import tensorflow as tf

from data_prep import augment
from data_prep.names import find
from mmlearn.models.pretraining import (
    CaptionCountsTask,
    CaptioningTask,
    CaptionWordsTask,
    ImageTextContrastTask,
    MaskedLanguageTask,
    ViewContrastTask,
)
from mmlearn.training.data import SourceData

LABELS = "labels"  # the task itself
# Of Chen et al. (2020), section 3, without their shifts of hue.
SMALLEST_VIEW = 0.4  # of each side
VIEW_AUGMENTATIONS = (
    functools.partial(augment.crop, smallest_fraction=SMALLEST_VIEW),
    augment.flip,
    functools.partial(augment.color, strength=0.4),
    augment.blur,
)


class ObjectiveInputs:
    """Turns examples into the model inputs of an objective. Base class.

    It stands in the place of the preprocessor in `build_dataset(with_seeds=True)`. What is random is a
    pure function of the seed of the example, as everything else in the pipeline.

    Args:
        preprocessor: `MultimodalPreprocessor`.
        modalities: iterable of str.
        host: `Host` that the batches are for.
    """

    def __init__(self, preprocessor, modalities, host):
        self.converters = {m: preprocessor.converters[m] for m in modalities}
        self.preprocessor = type(preprocessor)(self.converters)
        self.host = host

    @property
    def image_size(self):
        """The size that photos must have at least when they are decoded, or `None`."""
        return self.preprocessor.image_size

    def convert_example(self, example):
        """Does what must be done to single examples, which have their `seed`, before batching."""
        return self.preprocessor.convert_example(_without(example, "seed"))

    def __call__(self, batch):
        """Turns a batch into the dict of model inputs."""
        return self.preprocessor(batch)

    def numbers(self, groups):
        """The model input `pair (batch_size, 2)`: a number of each example, and its group."""
        # Small numbers, which stay exact where a row is lent to a replica that has none.
        number = tf.range(tf.size(groups), dtype=tf.int64) * self.host.count + self.host.index
        return tf.stack([number, groups], axis=1)


class MaskedLanguageInputs(ObjectiveInputs):
    """The inputs of `MaskedLanguageTask`: what decides which tokens are hidden is drawn here."""

    def convert_example(self, example):
        """Adds the draws."""
        length = self.converters["text"].length
        seed = tf.random.fold_in(example["seed"], 1)
        draws = tf.random.stateless_uniform((length, 3), seed)
        return {**super().convert_example(example), "text_draws": draws}

    def __call__(self, batch):
        """Turns a batch into the dict of model inputs."""
        x = self.preprocessor(_without(batch, "text_draws"))
        return {**x, "text_draws": batch["text_draws"]}


class ImageTextContrastInputs(ObjectiveInputs):
    """The inputs of `ImageTextContrastTask`."""

    def convert_example(self, example):
        """Keeps the group as one more input."""
        return {**super().convert_example(example), "images_group": example["group"]}

    def __call__(self, batch):
        """Turns a batch into the dict of model inputs."""
        x = self.preprocessor(_without(batch, "images_group"))
        return {**x, "pair": self.numbers(batch["images_group"])}


class ViewContrastInputs(ObjectiveInputs):
    """The inputs of `ViewContrastTask`: two views of each image are drawn here."""

    @property
    def image_size(self):
        """The size at which even the smallest view has all its pixels."""
        return math.ceil(self.preprocessor.image_size / SMALLEST_VIEW)

    def convert_example(self, example):
        """Makes the views, and keeps the group as one more input."""
        views, look = [], augment.compose(VIEW_AUGMENTATIONS)
        for number in (1, 2):
            view = look({"images": example["images"]}, tf.random.fold_in(example["seed"], number))
            views.append(self.preprocessor.convert_example(view))
        return {
            **{name: example[name] for name in ("id", "group", "labels")},
            "images_views": tf.stack([view["images"] for view in views]),
            "images_present": views[0]["images_present"],
            "images_group": example["group"],
        }

    def __call__(self, batch):
        """Turns a batch into the dict of model inputs."""
        return {
            "images_views": batch["images_views"],
            "images_present": batch["images_present"],
            "pair": self.numbers(batch["images_group"]),
        }


def _without(values, *names):
    return {name: value for name, value in values.items() if name not in names}


@dataclass(frozen=True)
class Objective:
    """An objective without labels.

    Attributes:
        task: subclass of `PretrainingTask`.
        inputs: subclass of `ObjectiveInputs`.
        compares: bool, whether the examples of a batch are compared with each other.
        augments: bool, whether it takes the augmentations of the data; else it has its own.
    """

    task: type
    inputs: type
    compares: bool = False
    augments: bool = True


OBJECTIVES = {
    LABELS: None,
    "caption_counts": Objective(CaptionCountsTask, ObjectiveInputs),
    "caption_words": Objective(CaptionWordsTask, ObjectiveInputs),
    "captioning": Objective(CaptioningTask, ObjectiveInputs),
    "masked_language": Objective(MaskedLanguageTask, MaskedLanguageInputs),
    "image_text_contrast": Objective(ImageTextContrastTask, ImageTextContrastInputs, compares=True),
    "image_contrast": Objective(
        ViewContrastTask, ViewContrastInputs, compares=True, augments=False
    ),
}


def data_of(phase, data, unlabeled=None):
    """The data that a phase reads: those of the labels, or others for objectives without."""
    is_labels = phase.objective == LABELS or unlabeled is None
    return data if is_labels else unlabeled


def check(phases, task, data, unlabeled=None):
    """Checks that model and data have what the objectives of phases need.

    Args:
        phases: iterable of `TrainingPhase`.
        task: a task.
        data: `TrainingData` of the labels.
        unlabeled: `SourceData` of phases without labels, or `None` for `data`.

    Raises:
        ValueError: when an objective is unknown, or something that it needs is missing.
    """
    for phase in phases:
        objective = find(phase.objective, OBJECTIVES, "objective")
        if objective is not None:
            what = f"The objective {phase.objective!r} of phase {phase.name!r}"
            _check(what, objective, phase, task, data_of(phase, data, unlabeled))


def _check(what, objective, phase, task, data):
    modalities = objective.task.modalities
    for modality in modalities:
        if modality not in task.backbone.modalities:
            raise ValueError(
                f"{what} needs {' and '.join(modalities)}. The model has "
                f"{' and '.join(task.backbone.modalities)}. Fix: --model.modalities "
                f"{' '.join(modalities)}, or another objective (python -m mmlearn list objectives)."
            )
    if not isinstance(data, SourceData) or task.preprocessor is None:
        raise ValueError(
            f"{what} draws at random from raw examples, and needs a source of them. Received: "
            f"{type(data).__name__}. Fix: `mmlearn.training.data.SourceData`, with a preprocessor."
        )
    columns = data.source.examples("train").modalities
    there = [m for m in ("images", "text") if any(columns.get(m, ()))]
    for modality in modalities:
        if modality not in there:
            raise ValueError(
                f"{what} needs {' and '.join(modalities)}. The data in {data.source.root!r} have "
                f"{' and '.join(there) or 'neither'}. Fix: another objective (python -m mmlearn "
                "list objectives), or other data, --unlabeled.source."
            )
    if objective.compares and phase.micro_batches > 1:
        raise ValueError(
            f"{what} compares all examples of a batch, which cannot be worked off in parts. Received: "
            f"micro_batches={phase.micro_batches}. Fix: 1, and a smaller batch size."
        )
    if phase.objective in ("caption_words", "captioning", "masked_language"):
        names = task.backbone.encoders["text"].model_inputs("text")
        if "token_ids" not in names:
            raise ValueError(
                f"{what} needs an encoder that reads token ids. Received: one of "
                f"{', '.join(sorted(names))}. Fix: an encoder of tokens, such as bert_tiny."
            )
        if task.backbone.output["features"]["text"].shape[1] != names["token_ids"].shape[1]:
            raise ValueError(
                f"{what} needs a feature per token. Received: an encoder that pools each chunk. Fix: "
                "--model.text.options chunk_pooling=none."
            )


def prepare(task, phase, data, unlabeled=None):
    """Makes what a phase without labels trains, and its data.

    Args:
        task: a task. Its parts are frozen but for what the phase trains: nothing else is to learn or
            to be measured.
        phase: `TrainingPhase` that `check` has seen.
        data: `SourceData`.
        unlabeled: `SourceData` of phases without labels, or `None` for `data`.

    Returns:
        A `PretrainingTask` with the parts of the phase trainable, and its `SourceData`.
    """
    objective = OBJECTIVES[phase.objective]
    data = data_of(phase, data, unlabeled)
    task.set_trainable(())
    learner = objective.task(task, data.options.get("seed", 0))
    learner.set_trainable(phase.trainable, phase.trainable_blocks)
    needed = set(objective.task.modalities)
    augmentations = data.for_phase(phase).augmentations if objective.augments else ()
    # What is not read cannot be changed.
    augmentations = [a for a in augmentations if augment.touched_modalities([a]) <= needed]
    inputs = functools.partial(objective.inputs, modalities=needed, host=data.host)
    return learner, data.without_labels(inputs, needed, augmentations)
