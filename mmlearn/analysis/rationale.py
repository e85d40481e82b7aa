"""An answer with its reasons: the regions of the image that the question's words attend to.

What attention looks at need not be what decides. So the answer is asked for once more with those regions
in the image's mean colour: where it stays as likely, they were no reason for it.
"""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmlearn.analysis.attention import DIRECTION, pointing_heads, read_tokens, word_maps

DIGITS = 5  # of the numbers in the record


def rationale(task, image, question, count=3):
    """Answers a question and says which regions its words attend to.

    Args:
        task: `VisualQuestionAnswerer` of images and text, with a preprocessor.
        image: uint8 array `(height, width, 3)`.
        question: str.
        count: int. Regions to name.

    Returns:
        A dict of plain JSON types: `question`, `answer`, `probability`; `regions`, a list of dicts, the
        most attended first, of `box` (left, top, right, bottom in pixels), `share` of the attention, the
        mean over the words, and `word`, the one that attends to it most; `answer_without` and
        `probability_without`, what becomes of the answer, and of its probability, without these regions.
        `None` where the model has no attention of words to regions.
    """
    x = {"images": [image], "text": [question]}
    explanation, tokens = task.explain(x), read_tokens(task, question)
    grids = task.backbone.encoders["images"].grids
    if DIRECTION not in explanation.get("attention_scores", {}) or tokens is None:
        return None
    if max(map(math.prod, grids)) == 1:
        return None  # attention to one region is no choice
    maps = word_maps(explanation, tokens, grids, *pointing_heads(task))
    heat = np.mean([each for _, each in maps], axis=0)
    regions, hidden = [], image.copy()
    nothing = image.mean(axis=(0, 1)).round().astype(np.uint8)
    for cell in np.argsort(-heat, axis=None, kind="stable")[:count]:
        row, column = np.unravel_index(cell, heat.shape)
        (top, bottom), (left, right) = (
            (place * pixels // cells, (place + 1) * pixels // cells)
            for place, pixels, cells in zip((row, column), image.shape, heat.shape, strict=False)
        )
        hidden[top:bottom, left:right] = nothing
        word = max(maps, key=lambda pair: pair[1][row, column])[0]
        regions.append(
            {
                "box": [int(left), int(top), int(right), int(bottom)],
                "share": round(float(heat[row, column]), DIGITS),
                "word": word,
            }
        )
    before = explanation[task.main_output][0]
    # Not by `predict`, which takes a second to prepare for a batch of one.
    after = task.explain({"images": [hidden], "text": [question]})[task.main_output][0]
    best = int(before.argmax())
    return {
        "question": question,
        "answer": task.label_names[best],
        "probability": round(float(before[best]), DIGITS),
        "regions": regions,
        "answer_without": task.label_names[int(after.argmax())],
        "probability_without": round(float(after[best]), DIGITS),
    }


def plot_rationale(image, found, path):
    """Draws the image with the regions framed, and the question and the answer above.

    Args:
        image: uint8 array `(height, width, 3)`.
        found: dict, as `rationale` returns.
        path: where the PNG goes.
    """
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(5.2, 5.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image)
    axes.axis("off")
    for region in found["regions"]:
        left, top, right, bottom = region["box"]
        frame = (left - 0.5, top - 0.5), right - left, bottom - top
        axes.add_patch(Rectangle(*frame, fill=False, edgecolor="tab:red", linewidth=2))
        axes.text(
            *(left, top, f"{region['word']} {region['share']:.0%}"),
            fontsize=8,
            color="white",
            va="top",
            parse_math=False,
            bbox={"facecolor": "tab:red", "edgecolor": "none", "pad": 1},
        )
    figure.suptitle(
        f"{found['question']}\n{found['answer']} ({found['probability']:.2f}); without these regions "
        f"{found['answer_without']} ({found['answer']}: {found['probability_without']:.2f})",
        fontsize=9,
        parse_math=False,  # a "$" is a dollar
    )
    figure.savefig(path, dpi=110)
