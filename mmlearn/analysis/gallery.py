"""A figure of examples: images with text under them."""

import textwrap

from matplotlib.figure import Figure

COLUMNS = 4
LINE = 34  # characters under a picture


def plot_gallery(examples, path):
    """Draws examples side by side, each with its text and what is to be said of it.

    Args:
        examples: list of dicts: `image` (uint8 array, maybe of no pixels, or `None`), `text` (str) and
            `lines` (list of str, shown below).
        path: where the PNG goes.
    """
    rows = max(-(-len(examples) // COLUMNS), 1)
    texts = []
    for example in examples:
        lines = [example["text"], *example["lines"]]
        texts.append([part for line in lines for part in textwrap.wrap(line, LINE)])
    tallest = max(map(len, texts), default=1)
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(3.1 * COLUMNS, rows * (2.6 + 0.17 * tallest)), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for panel in panels[len(examples) :]:
        panel.axis("off")
    for panel, example, lines in zip(panels, examples, texts, strict=False):
        image = example["image"]
        if image is not None and image.size:
            panel.imshow(image)
        panel.set_xticks([])
        panel.set_yticks([])
        text = "\n".join(lines + [""] * (tallest - len(lines)))
        panel.set_xlabel(text, fontsize=9, loc="left", linespacing=1.25, parse_math=False)
    figure.savefig(path, dpi=100)
