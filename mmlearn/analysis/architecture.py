"""What a model is made of, and a drawing of it."""

import html
import math

from mmlearn.models.prediction_task import PredictionTask

# Of the drawing, in units of the SVG.
_LEFT = {"input": 10, "encoder": 178, "projection": 434, "fusion": 610, "head": 850}
_WIDTH = {"input": 132, "encoder": 216, "projection": 136, "fusion": 200, "head": 200}
_ROW, _ENCODER, _AUXILIARY, _GAP, _TOP = 148, 74, 36, 14, 14
_COLORS = {
    "input": ("#ffffff", "#8890a0"),
    "encoder": ("#e8f0fc", "#4a78b8"),
    "projection": ("#f2f2f4", "#8890a0"),
    "fusion": ("#fdeed8", "#c88420"),
    "head": ("#e6f4e6", "#4c9650"),
}
_COMBINED = {"both": "features, predictions"}
_CHARACTER = 7.1  # width of one at 13 px, a little more than it takes


def describe_architecture(task, names=None):
    """Says what a task is made of.

    Args:
        task: a task.
        names: dict of modality to the encoder's name in its config; by default the network's own.

    Returns:
        A dict of plain JSON types: `encoders`, a list of dicts `modality`, `name`, `input`, `grids`
        (of images: lists of height and width), `length`, `dim`, `parameters`; `fusion`, a dict of
        `name`, `options`, `combines` and `parameters`; `heads`, a list of dicts `name`, `kind`,
        `columns`, `hidden_dim`; `hidden_dim`, `dropout`, `modality_dropout`, `consistency` and `parts`,
        parameters by part of `task.parts`.
    """
    backbone = task.backbone
    encoders = []
    for modality, encoder in backbone.encoders.items():
        features = backbone.output["features"][modality]
        network = getattr(encoder, "model", encoder)
        grids = getattr(encoder, "grids", None)
        encoders.append(
            {
                "modality": modality,
                "name": (names or {}).get(modality) or network.name,
                "input": _input(modality, encoder),
                "grids": grids and [list(grid) for grid in grids],
                "length": features.shape[1],
                "dim": features.shape[2],
                "parameters": encoder.count_params(),
            }
        )
    fusion = backbone.fusion
    skipped = ("name", "trainable", "dtype")
    options = {k: v for k, v in fusion.get_config().items() if k not in skipped}
    is_predicting = isinstance(task, PredictionTask)
    described = task.described.values() if is_predicting else ()
    return {
        "encoders": encoders,
        "fusion": {
            "name": type(fusion).__name__.removesuffix("Fusion"),
            "options": {k: v for k, v in options.items() if isinstance(v, (int, float, str))},
            "combines": backbone.combines,
            "parameters": fusion.count_params(),
        },
        "heads": [
            {
                "name": head.name,
                "kind": head.kind.replace("_", " "),
                "columns": head.num_columns,
                "hidden_dim": head.hidden_dim,
            }
            for head in described
        ],
        "auxiliary": [name for name in task.heads if task.is_auxiliary(name)],
        "hidden_dim": backbone.hidden_dim,
        "dropout": backbone.dropout,
        "modality_dropout": backbone.modality_dropout,
        "consistency": task.consistency if is_predicting else None,
        "parts": parameters_by_part(task),
    }


def parameters_by_part(task):
    """Counts the parameters of each part of a task: dict of part to int.

    Args:
        task: a task.
    """
    return {
        part: sum(math.prod(weight.shape) for layer in layers for weight in layer.weights)
        for part, layers in task.parts.items()
    }


def _input(modality, encoder):
    """The model input of a modality in words: what it is called, and its size without the batch."""
    inputs = encoder.model_inputs(modality)
    # What is beside it says which of it counts.
    beside = ("mask", "present", "segment_ids")
    name = next((name for name in inputs if not name.endswith(beside)), next(iter(inputs)))
    tensor = inputs[name]
    size = " x ".join("any" if side is None else str(side) for side in tensor.shape[1:])
    return size if name == modality else f"{name} {size}".strip()


def draw_architecture(description):
    """Draws a model as SVG: encoders with their grids or lengths, projection, fusion, heads.

    Args:
        description: dict, as `describe_architecture` returns.

    Returns:
        str, an SVG file.
    """
    encoders, fusion = description["encoders"], description["fusion"]
    has_auxiliary = bool(description["auxiliary"])
    row = _ROW if has_auxiliary else _ROW - _AUXILIARY - _GAP
    height = _TOP + row * len(encoders)
    # From the first to the last of what it reads.
    combines = fusion["combines"]
    tall = height - _TOP - (row - _ENCODER if combines == "features" else _GAP)
    middle = _TOP + tall / 2
    parts = []

    options = [f"{name} {value}" for name, value in fusion["options"].items()]
    lines = [
        *options,
        f"combines {_COMBINED.get(combines, combines)}",
        _count(fusion["parameters"]),
    ]
    fusion_height = max(tall, 44 + 18 * len(lines))
    fusion_top = max(_TOP, middle - fusion_height / 2)
    height = max(height, fusion_top + fusion_height + _GAP)
    for number, encoder in enumerate(encoders):
        top = _TOP + number * row
        center = top + _ENCODER / 2
        modality = encoder["modality"]
        parts += _box("input", top, _ENCODER, modality, [encoder["input"]])
        lines_of = [_features(encoder), _count(encoder["parameters"])]
        parts += _box("encoder", top, _ENCODER, encoder["name"], lines_of)
        size = f"{encoder['length']} x {description['hidden_dim']}"
        parts += _box("projection", top, _ENCODER, "projection", [size, "missing token"])
        parts += _arrow("input", "encoder", center)
        parts += _arrow("encoder", "projection", center)
        parts += _arrow("projection", "fusion", center)
        if has_auxiliary:
            below = top + _ENCODER + _GAP
            own = [name for name in description["auxiliary"] if name.startswith(f"{modality}_")]
            parts += _box("head", below, _AUXILIARY, ", ".join(own), [], left=_LEFT["encoder"])
            x = _LEFT["encoder"] + _WIDTH["encoder"] / 2
            parts.append(_line(x, top + _ENCODER, x, below - 6))
            parts.append(_tip(x, below, down=True))
            if combines != "features":
                y = below + _AUXILIARY / 2
                right = _LEFT["encoder"] + _WIDTH["encoder"]
                parts.append(_line(right, y, _LEFT["fusion"] - 7, y, dashed=True))
                parts.append(_tip(_LEFT["fusion"], y))
    parts += _box("fusion", fusion_top, fusion_height, fusion["name"], lines)
    heads = description["heads"]
    step = 96
    start = fusion_top + fusion_height / 2 - (step * len(heads) - 22) / 2
    for number, head in enumerate(heads):
        top = max(start, 4) + number * step
        hidden = f"hidden {head['hidden_dim']}" if head["hidden_dim"] else "linear"
        plural = "columns" if head["columns"] != 1 else "column"
        lines = [f"{head['columns']} {plural}, {head['kind']}", hidden]
        parts += _box("head", top, _ENCODER, head["name"], lines)
        parts += _arrow("fusion", "head", top + _ENCODER / 2)
        height = max(height, top + _ENCODER + _GAP)
    width = _LEFT["head"] + _WIDTH["head"] + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" height="{height:.0f}" font-family="DejaVu Sans, Arial, sans-serif" '
        'font-size="13">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _features(encoder):
    sizes = [f"{height} x {width}" for height, width in encoder["grids"] or ()]
    positions = f"grid {' + '.join(sizes)}" if sizes else f"{encoder['length']} tokens"
    return f"{positions}, dim {encoder['dim']}"


def _count(parameters):
    if parameters < 1e4:
        return f"{parameters:,} parameters"
    if parameters < 1e6:
        return f"{parameters / 1e3:.0f} k parameters"
    return f"{parameters / 1e6:.1f} M parameters"


def _box(kind, top, height, title, lines, left=None):
    fill, stroke = _COLORS[kind]
    left = _LEFT[kind] if left is None else left
    width = _WIDTH["encoder"] if left == _LEFT["encoder"] else _WIDTH[kind]
    parts = [
        f'<rect x="{left}" y="{top:.1f}" width="{width}" height="{height:.1f}" rx="6" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="1.3"/>'
    ]
    texts = [(title, True), *((line, False) for line in lines)]
    first = top + height / 2 - 9 * (len(texts) - 1) + 4.5
    for number, (text, is_title) in enumerate(texts):
        style = 'font-weight="600" fill="#222222"' if is_title else 'font-size="12" fill="#444444"'
        size = 1.08 if is_title else 0.95
        most = int((width - 10) / (_CHARACTER * size))
        short = text if len(text) <= most else text[: most - 1] + "…"
        full = f"<title>{html.escape(text)}</title>" if short != text else ""
        parts.append(
            f'<text x="{left + width / 2:.1f}" y="{first + 18 * number:.1f}" '
            f'text-anchor="middle" {style}>{full}{html.escape(short)}</text>'
        )
    return parts


def _arrow(source, target, y):
    return [
        _line(_LEFT[source] + _WIDTH[source], y, _LEFT[target] - 7, y),
        _tip(_LEFT[target], y),
    ]


def _line(x1, y1, x2, y2, dashed=False):
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#667080" '
        f'stroke-width="1.4"{dash}/>'
    )


def _tip(x, y, down=False):
    """The point of an arrow; no marker, whose name would clash with that of another drawing."""
    corners = [(x, y), (x - 8, y - 4), (x - 8, y + 4)]
    if down:
        corners = [(x, y), (x - 4, y - 8), (x + 4, y - 8)]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return f'<polygon points="{points}" fill="#667080"/>'
