"""The task that writes captions of images."""

import os
import textwrap

import numpy as np
from matplotlib.figure import Figure

from data_prep.names import call
from data_prep.pipeline import build_dataset
from mmlearn.analysis.attention import caption_maps, plot_attention
from mmlearn.analysis.example_slices import find_objects
from mmlearn.evaluation.caption_baselines import hold_out, most_frequent, nearest_captions
from mmlearn.evaluation.captioning import score_captions
from mmlearn.evaluation.faithfulness import faithfulness, faithfulness_counts
from mmlearn.experiments.task_kind import Measured, TaskKind
from mmlearn.layers.masked_mean import masked_mean
from mmlearn.models import ImageCaptioner, MultimodalBackbone, MultimodalPreprocessor

BATCH_SIZE = 64
WRITTEN_TOGETHER = 256  # captions; each step of fewer takes nearly as long
SHOWN = 12  # images with their captions in the figure
LINE = 48  # characters above an image
ATTENDED = 3  # with the regions of each word


def check_captioning(config, source):
    """Checks that there are images to describe and captions to learn from, see `TaskKind`."""
    needed = ("images", "text")
    there = source.examples("train").modalities
    for modality in needed:
        if modality not in there:
            raise ValueError(
                f"The data in {source.root!r} have no {modality}, and a captioner needs both. Fix: "
                "another source (python -m mmlearn list sources)."
            )
    if set(config.modalities) != set(needed):
        raise ValueError(
            f"A captioner is of images and text. Received: {', '.join(config.modalities)}. Fix: "
            "--model.modalities images text."
        )


def build_captioning(config, source, encoders, preprocessor=None, dtype=None):
    """Builds a captioner on the image encoder; of the text, it takes the tokenizer alone."""
    options = {
        "backbone": MultimodalBackbone({"images": encoders["images"]}, fusion=None, dtype=dtype),
        "preprocessor": preprocessor,
        "hidden_dim": config.hidden_dim,
        "dropout": config.dropout,
    }
    return call(ImageCaptioner, {**options, **config.task.options}, "task 'captioning'")


def no_prior(source, split):
    """Nothing is known of captions before an image is seen but the baselines, see `TaskKind`."""


def open_captioning(task, source):
    """The source itself, if it has captions, see `TaskKind`."""
    if source.examples(source.splits[0]).captions is None:
        raise ValueError(f"The data in {source.root!r} have no captions. Fix: another data set.")
    return source


def measure_captioning(task, source, split, dataset, prior=None):
    """Scores captions beside those of baselines and of a person, see `TaskKind`.

    The first caption of each image is the person's; all are judged by the others. Images with a single
    caption do not count, unless all are such, and then there is no person. Rows: `model` (greedy, as an
    exported model writes), `beam`, `most_frequent` and `nearest`, of the training split, and `person`.
    """
    index = source.examples(split)
    held_out, references = hold_out(index.captions)
    if not any(references):
        held_out, references = None, index.captions
    kept = [row for row, own in enumerate(references) if own]
    large = dataset.rebatch(WRITTEN_TOGETHER)
    rows = {"model": task.generate(large), "beam": task.generate(large, "beam")}
    if "train" in source.splits:
        train = source.examples("train")
        rows["most_frequent"] = [most_frequent(train.captions)] * len(index)
        rows["nearest"] = nearest_captions(
            pooled_features(task, dataset),
            pooled_features(task, _images(task, source, "train")),
            train.captions,
        )
    if held_out is not None:
        rows["person"] = held_out
    chosen = {name: [captions[row] for row in kept] for name, captions in rows.items()}
    objects = find_objects(source, split)
    measures = []
    if objects is not None and any(item.color for own in objects for item in own):
        measures = [_measure_faithfulness([objects[row] for row in kept])]
    metrics, details = score_captions(
        chosen, [references[row] for row in kept], index.groups[kept], measures
    )
    written = {name: np.array([c or "" for c in captions]) for name, captions in rows.items()}
    return Measured(metrics, **details, predictions=written)


def pooled_features(task, dataset):
    """The mean over the regions of each image, as the task's encoder sees it.

    Args:
        task: a task with images.
        dataset: batches of model inputs `(x, y, sample_weight)`.

    Returns:
        float array `(num_images, dim)`.
    """
    found = []
    for x, *_ in dataset:
        names = task.backbone.encoders["images"].model_inputs("images")
        features, masks = task.backbone.encode({name: x[name] for name in names}, training=False)
        found.append(np.asarray(masked_mean(features["images"], masks["images"])))
    return np.concatenate(found)


def _images(task, source, split):
    images = MultimodalPreprocessor({"images": task.preprocessor.converters["images"]})
    return build_dataset(source, split, images, BATCH_SIZE)


def _measure_faithfulness(objects):
    scenes = [[(item.color, item.category) for item in own] for own in objects]
    colors = {color for own in scenes for color, _ in own}
    names = {name for own in scenes for _, name in own}

    def measure(captions):
        counts = faithfulness_counts(captions, scenes, colors, names)
        return lambda weights: faithfulness(counts, weights)

    return measure


def draw_captioning(task, source, measured, folder):
    """Draws images with their captions, and what each word was written from, see `TaskKind`."""
    written = measured.predictions
    count = min(SHOWN, len(written["model"]))
    examples = list(build_dataset(source, "val").take(count).as_numpy_iterator())
    figure = Figure(figsize=(14, 3.4 * -(-count // 4)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(-(-count // 4), 4)).ravel()
    for ax in axes:
        ax.axis("off")
    for row, (ax, example) in enumerate(zip(axes, examples, strict=False)):
        if example["images"].size:
            ax.imshow(example["images"])
        lines = [
            line
            for name in ("model", "person")
            if name in written
            for line in textwrap.wrap(f"{name}: {written[name][row]}", LINE)
        ]
        ax.set_title("\n".join(lines), fontsize=8, parse_math=False)
    figure.savefig(os.path.join(folder, "captions.png"), dpi=120)
    for row, example in enumerate(examples[:ATTENDED]):
        if example["images"].size:
            draw_words(task, example["images"], os.path.join(folder, f"attention_{row:03d}.png"))


def draw_words(task, image, path):
    """Writes a caption of an image, and draws where each of its words was found.

    Args:
        task: an `ImageCaptioner`.
        image: uint8 array `(height, width, 3)`.
        path: where the PNG goes.

    Returns:
        The caption.
    """
    explanation = task.explain({"images": [image]})
    (caption,) = explanation["captions"]
    plot_attention(image, caption_maps(task, explanation), path, title=caption)
    return caption


CAPTIONING = TaskKind(
    task=ImageCaptioner,
    check=check_captioning,
    build=build_captioning,
    prior=no_prior,
    open=open_captioning,
    measure=measure_captioning,
    draw=draw_captioning,
)
