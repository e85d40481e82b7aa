"""Attention maps from words to image regions."""

import math
import os

import cv2
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from data_prep.pipeline import build_dataset

DIRECTION = "text_to_images"
SPECIAL_TOKENS = ("[CLS]", "[SEP]", "[PAD]", "<s>", "</s>", "<pad>")
# Before what goes on within a word (WordPiece), and before what begins one (SentencePiece, byte pairs).
GOES_ON, BEGINS = "##", ("\u2581", "\u0120")


def pointing_heads(task):
    """Where in a fusion's attention to read what words point at.

    Args:
        task: a task.

    Returns:
        layer, num_heads: those heads that are trained to find what words name (`grounded_heads` of the
        fusion), the first ones of the first layer; without any, -1 and `None`: all heads of the last.
    """
    attention = task.grounded_attention
    return (-1, None) if attention is None else (0, attention.grounded_heads)


def word_maps(explanation, tokens, grids, layer=-1, num_heads=None):
    """Turns the attention scores of one example into a heat map per word.

    Heads are averaged; the pieces of a word that the tokenizer split are averaged too; special
    tokens are left out.

    Args:
        explanation: dict of `MultimodalClassifier.explain`, of one example
            (`attention_scores[direction]` of shape `(1, num_layers, num_heads, query, key)`).
        tokens: list of str, the tokens of the text without padding, special ones included.
        grids: `(grid_height, grid_width)` of each stage of the image encoder, mostly one. The maps
            are of the finest; the weight of a region of another is spread over it evenly and added.
        layer: int. Which attention layer.
        num_heads: int, how many heads, the first ones, or `None` for all. See `pointing_heads`.

    Returns:
        A list of `(word, map)`, in reading order; each map `(grid_height, grid_width)` sums to 1
        where the image is present; with `merged_attention`, to the share that the image gets.
    """
    scores = explanation["attention_scores"][DIRECTION][0, layer, :num_heads].mean(axis=0)
    return [
        (word, to_map(scores[positions].mean(axis=0), grids))
        for word, positions in split_words(tokens)
    ]


def region_maps(explanation, tokens, grids, layer=-1):
    """How much each region attends to each word: a map per word, the other way round.

    Args:
        explanation: as in `word_maps`, with the direction `images_to_text`.
        tokens: likewise.
        grids: likewise. Of several stages, each cell has the mean of its regions.
        layer: int.

    Returns:
        A list of `(word, map)`; the maps of all words and of the special tokens, which are left out,
        sum to 1 in each cell.
    """
    scores = explanation["attention_scores"]["images_to_text"][0, layer].mean(axis=0)
    cells = [math.prod(grid) for grid in grids]
    # What `to_map` spreads and adds up is made the mean over stages again.
    shares = np.repeat([max(cells) / count / len(cells) for count in cells], cells)
    return [
        (word, to_map(scores[:, positions].sum(axis=1) * shares, grids))
        for word, positions in split_words(tokens)
    ]


def split_words(tokens):
    """Joins the pieces of words that the tokenizer split; special tokens are left out.

    Args:
        tokens: list of str, the tokens of a text without padding, special ones included.

    Returns:
        A list of `(word, positions)`, in reading order: str, and a list of int.

    Example:

    >>> split_words(["[CLS]", "a", "gira", "##ffe", "[SEP]"])
    [('a', [1]), ('giraffe', [2, 3])]
    """
    words, marks = [], BEGINS if "<s>" in tokens else (GOES_ON,)
    for position, token in enumerate(tokens):
        if token in SPECIAL_TOKENS:
            continue
        goes_on = token.startswith(GOES_ON) if GOES_ON in marks else not token.startswith(marks)
        piece = token[1:] if token.startswith(BEGINS) else token.removeprefix(GOES_ON)
        if goes_on and words:
            words[-1] = (words[-1][0] + piece, [*words[-1][1], position])
        else:
            words.append((piece, [position]))
    return words


def read_tokens(task, text):
    """The tokens of a text as a task reads them, or `None` where it does not attend with words.

    Args:
        task: a task with text and a preprocessor.
        text: str.

    Returns:
        A list of str without padding, special tokens included.
    """
    tokenizer = task.preprocessor.converters["text"].tokenizer
    token_ids = np.asarray(task.preprocessor({"text": [text]})["token_ids"])[0]
    if task.backbone.output["features"]["text"].shape[1] != len(token_ids):
        return None  # it attends with chunks
    real = token_ids[token_ids != tokenizer.pad_token_id]
    return [tokenizer.id_to_token(int(token_id)) for token_id in real]


def text_maps(task, explanation, text):
    """The maps of the words of a text, as far as the model has any, and what is to be said of them.

    Args:
        task: a task with images, text and a preprocessor.
        explanation: what `task.explain` returns for one example.
        text: str, that of the example.

    Returns:
        maps: what `word_maps` returns, or `None` where the model has no attention of words to regions.
        remark: str, why it has none, or why they say little; else `None`.
    """
    tokens = read_tokens(task, text)
    if tokens is None or DIRECTION not in explanation.get("attention_scores", {}):
        why = "its fusion has none" if tokens is not None else "it reads chunks, not words"
        return None, (
            f"The model has no attention of words to regions ({why}): Grad-CAM for the image and "
            "integrated gradients for the text explain it instead."
        )
    grids = task.backbone.encoders["images"].grids
    maps = word_maps(explanation, tokens, grids, *pointing_heads(task))
    if max(map(math.prod, grids)) > 1:
        return maps, None
    return maps, (
        "The image encoder pools the image to one region, and attention to one region is no choice: "
        "the maps are flat whatever the model has learned."
    )


def caption_maps(task, explanation):
    """The maps of the words that a captioner wrote.

    Args:
        task: `ImageCaptioner` with a preprocessor.
        explanation: what `task.explain` returns for one image.

    Returns:
        What `word_maps` returns: where the decoder looked when it wrote each word.
    """
    tokenizer, token_ids = (
        task.preprocessor.converters["text"].tokenizer,
        explanation["token_ids"][0],
    )
    real = token_ids[token_ids != tokenizer.pad_token_id]
    tokens = [tokenizer.id_to_token(int(token_id)) for token_id in real]
    return word_maps(explanation, tokens, task.backbone.encoders["images"].grids)


def plot_attention(image, maps, path, title="", columns=6):
    """Draws the image and, for each word, its map laid over it.

    Beside each word stands how many times the mean of all regions its brightest one has: a map is drawn in
    full colour also where it is all but uniform.

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
            peak = heat.max() / heat.mean() if heat.mean() > 0 else None
            heat = cv2.resize(
                heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
            )
            ax.imshow(np.clip(heat, 0, top), cmap="inferno", alpha=0.6, vmin=0, vmax=top)
            ax.set_title(f"{word}  {peak:.1f}x" if peak else word, fontsize=10, parse_math=False)
    figure.suptitle(title, fontsize=9, parse_math=False)  # a "$" is a dollar
    figure.supxlabel("1.0x: all regions alike", fontsize=7)
    figure.savefig(path, dpi=120)


def draw_attention(task, source, folder, split="val", count=6):
    """Draws what the words of the first captions of a split attend to.

    Args:
        task: a task with images, text and a fusion with attention; with any other, nothing is
            drawn.
        source: a source (see `data_prep.sources.source`). Without images and captions, likewise.
        folder: where `attention_{row}.png` go.
        split: str.
        count: int. Examples to draw.

    Returns:
        A list of the paths.
    """
    paths = []
    there = set(task.backbone.modalities) & set(source.examples(split).modalities)
    if {"images", "text"} - there:
        return paths
    dataset = build_dataset(source, split).enumerate()
    dataset = dataset.filter(
        lambda row, example: (example["text"] != "") & (tf.size(example["images"]) > 0)
    ).take(count)
    for row, example in dataset.as_numpy_iterator():
        caption, image = example["text"].decode(), example["images"]
        explanation = task.explain({"images": [image], "text": [caption]})
        maps, _ = text_maps(task, explanation, caption)
        if maps is None:
            break
        predicted = explanation[task.main_output][0]
        best, digits = np.argsort(-predicted)[:4], ".2f"
        if task.described[task.main_output].is_regression:
            best, digits = range(len(predicted)), ".4g"
        title = ", ".join(f"{source.label_names[c]} {predicted[c]:{digits}}" for c in best)
        paths.append(os.path.join(folder, f"attention_{row:03d}.png"))
        plot_attention(image, maps, paths[-1], title=f"{caption}\n{title}")
    return paths


def to_map(scores, grids):
    """Adds the scores of all regions, stage after stage, up on the finest grid.

    Args:
        scores: float array `(num_regions,)`.
        grids: `(grid_height, grid_width)` of each stage of the image encoder.

    Returns:
        float32 array `(grid_height, grid_width)`; its sum is that of the scores.
    """
    finest = max(grids, key=math.prod)
    ends = np.cumsum([math.prod(grid) for grid in grids])[:-1]
    result = np.zeros(finest, np.float32)
    for grid, part in zip(grids, np.split(scores, ends), strict=True):
        heat = part.reshape(grid)
        if tuple(grid) != tuple(finest):
            # By area, so that none is lost where one grid is no multiple of the other.
            for axis in (0, 1):
                heat = _spread(heat, finest[axis], axis)
        result += heat
    return result


def _spread(heat, count, axis):
    """Divides cells along an axis among `count` cells that cover the same length."""
    size = heat.shape[axis]
    starts, cells = np.arange(count)[:, None] / count, np.arange(size)[None] / size
    overlap = np.minimum(starts + 1 / count, cells + 1 / size) - np.maximum(starts, cells)
    shares = np.maximum(overlap, 0) * size
    return np.moveaxis(np.tensordot(shares, heat, axes=(1, axis)), 0, axis)
