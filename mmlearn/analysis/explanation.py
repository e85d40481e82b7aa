"""Everything that explains one prediction: maps, contributions of words, weights, as figures and numbers."""

import os

import cv2
import numpy as np
from matplotlib.figure import Figure

from mmlearn.analysis.attention import (
    DIRECTION,
    plot_attention,
    read_tokens,
    region_maps,
    split_words,
    text_maps,
    to_map,
)
from mmlearn.analysis.grad_cam import grad_cam
from mmlearn.analysis.integrated_gradients import integrated_gradients
from mmlearn.analysis.rationale import plot_rationale, rationale
from mmlearn.analysis.rollout import rollout
from mmlearn.models.visual_question_answerer import VisualQuestionAnswerer

DIGITS = 5  # of the numbers in the record


def explain_example(task, x, image, folder, label=None, count=3):
    """Explains what a task predicts for one example, as far as its model and the example allow.

    Args:
        task: a task with a preprocessor.
        x: dict of raw values of one example, see `MultimodalTask.predict`.
        image: uint8 array `(height, width, 3)` of its image, or `None`.
        folder: str. Where the figures go: `attention.png`, the words' maps; `heads.png`, those of each
            layer and head; `rollout.png`; `regions.png`, which regions attend to each word;
            `grad_cam.png`; `words.png`, integrated gradients; `rationale.png`, of an answer to a
            question.
        label: str, the class that Grad-CAM and integrated gradients are of, or `None` for the likeliest
            `count` ones.
        count: int.

    Returns:
        The record, of plain JSON types: `predictions`, `modality_weights`, `words`, `attention`,
        `grad_cam`, `integrated_gradients`, `rationale` (of an answer to a question), `figures`, and
        `remarks`, sentences on what there is not.

    Raises:
        ValueError: when there is no such label.
    """
    found, head = task.explain(x), task.described[task.main_output]
    predicted = found[task.main_output][0]
    names = list(head.label_names)
    if label is not None and label not in names:
        raise ValueError(
            f"The model has no label {label!r}. Fix: one of {', '.join(names[:20])}"
            f"{', ...' if len(names) > 20 else ''}."
        )
    columns = [names.index(label)] if label is not None else np.argsort(-predicted)[:count].tolist()
    record = {
        "predictions": {name: _round(value) for name, value in zip(names, predicted, strict=True)},
        "modality_weights": {},
        "figures": [],
        "remarks": [],
    }
    if "modality_weights" in found:
        weights = found["modality_weights"][0]
        record["modality_weights"] = dict(
            zip(task.backbone.modalities, _round(weights), strict=True)
        )
    title = ", ".join(f"{names[c]} {predicted[c]:.3g}" for c in columns)
    text = x["text"][0] if "text" in x else None

    def path(name):
        record["figures"].append(name)
        return os.path.join(folder, name)

    if image is not None and text is not None:
        _explain_attention(task, found, image, text, title, path, record)
    if image is not None and "images" in task.backbone.modalities:
        repeated = {m: [*values] * len(columns) for m, values in x.items()}
        maps = grad_cam(task, repeated, np.array(columns))
        record["grad_cam"] = {names[c]: _round(heat) for c, heat in zip(columns, maps, strict=True)}
        labelled = [(names[c], heat) for c, heat in zip(columns, maps, strict=True)]
        plot_attention(image, labelled, path("grad_cam.png"), title="Grad-CAM of the images' head")
    if text is not None and hasattr(task.backbone.encoders.get("text"), "split_at_embeddings"):
        shares = {names[c]: integrated_gradients(task, x, c) for c in columns}
        record["integrated_gradients"] = {
            name: {k: v if k == "words" else _round(v) for k, v in each.items()}
            for name, each in shares.items()
        }
        plot_contributions(shares, path("words.png"))
    if isinstance(task, VisualQuestionAnswerer) and image is not None and text is not None:
        found = rationale(task, image, text)
        if found is not None:
            record["rationale"] = found
            plot_rationale(image, found, path("rationale.png"))
    return record


def _explain_attention(task, found, image, text, title, path, record):
    maps, remark = text_maps(task, found, text)
    if remark is not None:
        record["remarks"].append(remark)
    if maps is None:
        return
    scores, tokens = found["attention_scores"], read_tokens(task, text)
    grids, words = task.backbone.encoders["images"].grids, split_words(tokens)
    record["words"] = [word for word, _ in words]
    plot_attention(image, maps, path("attention.png"), title=f"{text}\n{title}")
    values = scores[DIRECTION][0]
    by_head = [
        [[to_map(each[places].mean(axis=0), grids) for _, places in words] for each in layer]
        for layer in values
    ]
    plot_heads(image, record["words"], by_head, path("heads.png"))
    record["attention"] = {
        "mean": [_round(heat) for _, heat in maps],
        "layers_and_heads": [[[_round(h) for h in head] for head in layer] for layer in by_head],
    }
    rolled = rollout({direction: each[0] for direction, each in scores.items()})
    rolled = [(word, to_map(rolled[places].mean(axis=0), grids)) for word, places in words]
    record["attention"]["rollout"] = [_round(heat) for _, heat in rolled]
    if len(values) > 1:
        plot_attention(image, rolled, path("rollout.png"), title=f"rollout of {len(values)} layers")
    if "images_to_text" in scores:
        regions = region_maps(found, tokens, grids)
        record["attention"]["regions_to_words"] = [_round(heat) for _, heat in regions]
        plot_attention(image, regions, path("regions.png"), title="how much each region attends to")


def plot_heads(image, words, maps, path):
    """Draws a map per word and head, a row per layer and head, each on a scale of its own.

    Args:
        image: uint8 array `(height, width, 3)`.
        words: list of str.
        maps: list over layers, of lists over heads, of lists of maps, one per word.
        path: where the PNG goes.
    """
    rows = [(i, j, head) for i, layer in enumerate(maps) for j, head in enumerate(layer)]
    size = (1.1 * len(words) + 0.8, 1.15 * len(rows) + 0.4)
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(words), squeeze=False)
    for (i, j, head), row in zip(rows, axes, strict=True):
        for word, heat, ax in zip(words, head, row, strict=True):
            ax.imshow(image)
            large = cv2.resize(heat, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
            top = max(float(heat.max()), 1e-12)
            ax.imshow(np.clip(large, 0, top), cmap="inferno", alpha=0.6, vmin=0, vmax=top)
            ax.set(xticks=[], yticks=[])
            if i == j == 0:
                ax.set_title(word, fontsize=9, parse_math=False)
        row[0].set_ylabel(f"layer {i}\nhead {j}", fontsize=8)
    figure.savefig(path, dpi=110)


def plot_contributions(shares, path):
    """Draws what each word contributes to each class's score.

    Args:
        shares: dict of label to what `integrated_gradients` returns.
        path: where the PNG goes.
    """
    num_words = len(next(iter(shares.values()))["words"])
    figure = Figure(figsize=(3.2 * len(shares), 0.28 * (num_words + 1) + 1.2), layout="constrained")
    for ax, (label, each) in zip(
        np.ravel(figure.subplots(1, len(shares))), shares.items(), strict=True
    ):
        bars = [*each["words"], ("other tokens", each["special"])]
        values = [value for _, value in bars]
        colors = ["tab:blue" if value > 0 else "tab:orange" for value in values]
        ax.barh(range(len(bars)), values, color=colors)
        # A "$" is a dollar.
        ax.set_yticks(range(len(bars)), [word for word, _ in bars], parse_math=False)
        ax.invert_yaxis()
        ax.axvline(0, color="0.3", linewidth=0.8)
        ax.set_title(
            f"{label}: {each['baseline']:.1f} without words, {each['score']:.1f} with", fontsize=9
        )
        ax.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("contribution to the score (integrated gradients)", fontsize=9)
    figure.savefig(path, dpi=120)


def _round(value):
    return np.round(np.asarray(value, np.float64), DIGITS).tolist()
