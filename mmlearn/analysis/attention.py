"""Attention maps from words to image regions."""

import os

import cv2
import numpy as np
from matplotlib.figure import Figure

from data_prep.pipeline import build_dataset

DIRECTION = "text_to_images"


def word_maps(explanation, tokens, grid, layer=-1):
    """Turns the attention scores of one example into a heat map per word.

    Heads are averaged; the pieces of a word that the tokenizer split are averaged too; special
    tokens are left out.

    Args:
        explanation: dict of `MultimodalClassifier.explain`, of one example
            (`attention_scores[direction]` of shape `(1, num_layers, num_heads, query, key)`).
        tokens: list of str, the tokens of the text without padding, special ones included.
        grid: `(grid_height, grid_width)` of the image encoder.
        layer: int. Which attention layer.

    Returns:
        A list of `(word, map)`, in reading order; each map `(grid_height, grid_width)` sums to 1
        where the image is present.
    """
    scores = explanation["attention_scores"][DIRECTION][0, layer].mean(axis=0)
    words = []
    for position, token in enumerate(tokens):
        if token in ("[CLS]", "[SEP]", "[PAD]"):
            continue
        if token.startswith("##") and words:
            words[-1] = (words[-1][0] + token[2:], [*words[-1][1], scores[position]])
        else:
            words.append((token, [scores[position]]))
    return [(word, np.mean(rows, axis=0).reshape(grid)) for word, rows in words]


def plot_attention(image, maps, path, title="", columns=6):
    """Draws the image and, for each word, its map laid over it.

    Args:
        image: uint8 array `(height, width, 3)`.
        maps: list of `(word, map)`, as `word_maps` returns.
        path: where the PNG goes.
        title: str. Shown above.
        columns: int. Pictures in a row.
    """
    count = len(maps) + 1
    rows = -(-count // columns)
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(1.7 * columns, 1.9 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns)
    axes = np.atleast_1d(axes).ravel()
    height, width = image.shape[:2]
    top = max((heat.max() for _, heat in maps), default=1.0)  # one scale for all words
    for i, ax in enumerate(axes):
        ax.axis("off")
        if i < count:
            ax.imshow(image)
        if 0 < i < count:
            word, heat = maps[i - 1]
            heat = cv2.resize(
                heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
            )
            ax.imshow(np.clip(heat, 0, top), cmap="inferno", alpha=0.6, vmin=0, vmax=top)
            ax.set_title(word, fontsize=10, parse_math=False)
    figure.suptitle(title, fontsize=9, parse_math=False)  # a "$" is a dollar
    figure.savefig(path, dpi=120)


def draw_attention(task, source, folder, split="val", count=6):
    """Draws what the words of the first captions of a split attend to.

    Args:
        task: a task with images, text and a fusion with attention; with any other, nothing is
            drawn.
        source: a source (see `data_prep.sources.source`).
        folder: where `attention_{row}.png` go.
        split: str.
        count: int. Examples to draw.

    Returns:
        A list of the paths.
    """
    paths = []
    if {"images", "text"} - set(task.backbone.modalities):
        return paths
    dataset = build_dataset(source, split).enumerate()
    dataset = dataset.filter(lambda row, example: example["text"] != "").take(count)
    for row, example in dataset.as_numpy_iterator():
        caption, image = example["text"].decode(), example["images"]
        explanation = task.explain({"images": [image], "text": [caption]})
        if DIRECTION not in explanation.get("attention_scores", {}):
            break
        tokenizer = task.preprocessor.converters["text"].tokenizer
        token_ids = task.preprocessor({"text": [caption]})["token_ids"].numpy()[0]
        real = token_ids[token_ids != tokenizer.pad_token_id]
        tokens = [tokenizer.id_to_token(int(token_id)) for token_id in real]
        maps = word_maps(explanation, tokens, task.backbone.encoders["images"].grid)
        probabilities = explanation["classes"][0]
        best = np.argsort(-probabilities)[:4]
        title = ", ".join(f"{source.label_names[c]} {probabilities[c]:.2f}" for c in best)
        paths.append(os.path.join(folder, f"attention_{row:03d}.png"))
        plot_attention(image, maps, paths[-1], title=f"{caption}\n{title}")
    return paths
