"""An image with heat maps over it, as HTML: pick a word and see where it looks, or a region and see its words.

All maps are in the HTML, so that pointing at a word asks the server for nothing. `picture.js` shows them.
"""

from dataclasses import dataclass
from html import escape

import matplotlib

from mmlearn.demo.photos import png_url

OPACITY = 0.3, 0.75  # of a map over the image, where it is lowest and where it is highest
_COLORS = matplotlib.colormaps["inferno"]


@dataclass(frozen=True)
class Group:
    """Things to pick, each with a map.

    Attributes:
        title: str, what they are.
        maps: list of `(name, map)`; the maps, of one shape `(grid_height, grid_width)`, are of one scale.
    """

    title: str
    maps: list


def picture_html(pixels, groups, boxes=()):
    """Writes an image, the buttons that show maps over it, and the regions that can be picked.

    Args:
        pixels: uint8 array `(height, width, 3)`.
        groups: list of `Group`; those without maps are left out.
        boxes: list of `(left, top, right, bottom)` in shares of the sides, framed, and numbered from 1.

    Returns:
        str.
    """
    groups = [group for group in groups if group.maps]
    image = f'<img class="mm-image" src="{png_url(pixels)}" alt="The image that was given">'
    frames = "".join(_frame(number, *box) for number, box in enumerate(boxes, 1))
    if not groups:
        return f'<div class="mm-picture"><div class="mm-stage">{image}{frames}</div></div>'
    rows, columns = groups[0].maps[0][1].shape
    stage = (
        f'{image}<img class="mm-heat" alt="" hidden>{frames}<div class="mm-cell" hidden></div>'
        f'<div class="mm-regions" tabindex="0" role="application" data-rows="{rows}" '
        f'data-columns="{columns}" aria-label="Regions of the image, {rows} rows of {columns}: arrow '
        'keys go from one to the next, Escape ends"></div>'
    )
    return (
        f'<div class="mm-picture"><div class="mm-stage">{stage}</div>'
        '<p class="mm-says" role="status">Point at a word or a label, or pick it, to see its map; '
        "point at a region, or pick it, to see what goes with it.</p>"
        f"{''.join(map(_group, groups))}</div>"
    )


def _group(group):
    top = max(float(heat.max()) for _, heat in group.maps) or 1.0  # one scale for all
    buttons = []
    for name, heat in group.maps:
        shares = " ".join(str(round(1000 * share)) for share in heat.ravel().tolist())
        buttons.append(
            f'<button type="button" class="mm-pick" aria-pressed="false" data-shares="{shares}" '
            f'data-heat="{png_url(_paint(heat / top))}">{escape(name)}</button>'
        )
    title = escape(group.title)
    return (
        f'<div class="mm-group" role="group" aria-label="{title}"><p class="mm-title">{title}</p>'
        f"{' '.join(buttons)}</div>"
    )


def _paint(heat):
    lowest, highest = OPACITY
    return _COLORS(heat, alpha=lowest + (highest - lowest) * heat, bytes=True)


def _frame(number, left, top, right, bottom):
    place = f"left:{left:.2%};top:{top:.2%};width:{right - left:.2%};height:{bottom - top:.2%}"
    return f'<div class="mm-frame" style="{place}"><span>{number}</span></div>'
