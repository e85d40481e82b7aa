"""A report as a list of blocks, and how these become one HTML file or Markdown.

All text is plain: whatever it holds is shown as it is, in HTML as in Markdown.
"""

import base64
import html
import math
import re
from dataclasses import dataclass
from string import Template
from urllib.parse import quote

NOT_MEASURED = "not measured"

_TYPES = {"png": "image/png", "svg": "image/svg+xml"}
# A cell of words that is a number, or says that there is none.
_NUMBER = re.compile(r"([-+<] ?)?[\d.,]+(e[-+]?\d+)?( [\[(].*)?|-|")
# Of a column with numbers so far apart, each gets its own digits.
_WIDEST = 100


@dataclass(frozen=True)
class Heading:
    """A title of level 2 or 3."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Something to copy, such as a command; folded away under its title where there is one."""

    text: str
    title: str | None = None


@dataclass(frozen=True)
class Missing:
    """What was not measured, and the command that would."""

    what: str
    command: str | None = None


@dataclass(frozen=True)
class Table:
    """A table. A cell is a str, a number, `None` (not measured) or a dict `value`, `low`, `high`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple, ...]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure: the content of a PNG or SVG file, and the name that it has beside the Markdown."""

    name: str
    content: bytes
    caption: str


def to_html(title, blocks):
    """Makes one page that needs nothing but itself: no network, no scripts.

    Args:
        title: str.
        blocks: list of blocks.

    Returns:
        str.

    Example:

    >>> "<p>1 &lt; 2</p>" in to_html("Report", [Paragraph("1 < 2")])
    True
    """
    headings = [block for block in blocks if isinstance(block, Heading)]
    names = {id(heading): f"section-{number}" for number, heading in enumerate(headings, 1)}
    contents = "\n".join(
        f'<li class="level{h.level}"><a href="#{names[id(h)]}">{html.escape(h.text)}</a></li>'
        for h in headings
    )
    body = "\n".join(_html_of(block, names) for block in blocks)
    return _PAGE.substitute(title=html.escape(title), contents=contents, body=body)


def to_markdown(title, blocks, folder):
    r"""Makes Markdown that shows its figures from a folder beside it.

    Args:
        title: str.
        blocks: list of blocks.
        folder: str. The name of that folder.

    Returns:
        The text, and a dict of file name to bytes: what belongs in the folder.

    Example:

    >>> print(to_markdown("Report", [Table("", ("a|b",), ((0.25,),))], "figures")[0])
    # Report
    <BLANKLINE>
    | a\|b |
    | ---: |
    | 0.2500 |
    <BLANKLINE>
    """
    parts = [f"# {_plain(title)}", *(_markdown_of(block, folder) for block in blocks)]
    pictures = {block.name: block.content for block in blocks if isinstance(block, Picture)}
    return "\n\n".join(parts) + "\n", pictures


def format_column(cells):
    """Turns the cells of a column into text, numbers with as many decimals as each other.

    Args:
        cells: list of cells, see `Table`.

    Returns:
        A list of str.

    Example:

    >>> format_column([0.98, 0.5, None, {"value": 0.25, "low": 0.2, "high": 0.3}])
    ['0.9800', '0.5000', 'not measured', '0.2500 [0.2000, 0.3000]']
    >>> format_column([137030002, 0.5, "text"])
    ['137,030,002', '0.5', 'text']
    """
    values = [cell["value"] if isinstance(cell, dict) else cell for cell in cells]
    numbers = [abs(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v) and v]
    decimals = None
    if numbers and 0.01 <= max(numbers) <= 1 and min(numbers) >= 1e-4:
        decimals = 4  # shares
    elif numbers and max(numbers) <= _WIDEST * min(numbers):
        # Four digits of the largest.
        decimals = min(max(3 - math.floor(math.log10(max(numbers))), 0), 8)
    return [_format(cell, decimals) for cell in cells]


def is_number_column(cells):
    """Whether the cells of a column are numbers, maybe as text, or say that there is none.

    Args:
        cells: list of cells, see `Table`.

    Example:

    >>> is_number_column([0.5, None, "+0.0500 [+0.0400, +0.0600]", "< 0.0001", "-"])
    True
    >>> is_number_column(["4 objects", "2"])
    False
    """
    words = [cell for cell in cells if isinstance(cell, str) and cell != NOT_MEASURED]
    return bool(cells) and all(map(_NUMBER.fullmatch, words))


def _format(cell, decimals):
    if cell is None:
        return NOT_MEASURED
    if isinstance(cell, str):
        return cell
    if isinstance(cell, dict):
        value, low, high = (_format(cell[name], decimals) for name in ("value", "low", "high"))
        return f"{value} [{low}, {high}]"
    if isinstance(cell, int):
        return f"{cell:,}"
    if not math.isfinite(cell):
        return "not defined"
    return f"{cell:.4g}" if decimals is None else f"{cell:,.{decimals}f}"


def _formatted(table):
    """The rows of a table as text, and which columns hold numbers."""
    columns = [[row[c] for row in table.rows] for c in range(len(table.columns))]
    texts = [format_column(cells) for cells in columns]
    numeric = [is_number_column(cells) for cells in columns]
    return list(zip(*texts, strict=True)), numeric


# --- HTML ----------------------------------------------------------------------------------------


def _html_of(block, names):
    escape = html.escape
    match block:
        case Heading(text, level):
            return f'<h{level} id="{names[id(block)]}">{escape(text)}</h{level}>'
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
        case Code(text, None):
            return f"<pre>{escape(text)}</pre>"
        case Code(text, title):
            return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
        case Missing(what, command):
            code = f" To measure it: <code>{escape(command)}</code>" if command else ""
            return f'<p class="missing">{escape(_missing(what))}{code}</p>'
        case Picture(name, content, caption):
            kind = _TYPES[name.rpartition(".")[2]]
            data = base64.b64encode(content).decode()
            return (
                f'<figure><img alt="{escape(caption)}" src="data:{kind};base64,{data}">'
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )
        case Table():
            return _html_table(block)
    raise TypeError(f"{type(block).__name__} is no block of a document.")


def _html_table(table):
    rows, numeric = _formatted(table)
    classes = [' class="number"' if is_number else "" for is_number in numeric]

    def line(cells, tag):
        parts = zip(cells, classes, strict=True)
        is_cell = tag == "td"
        shown = (f"<{tag}{c}>{_broken(x, c and is_cell)}</{tag}>" for x, c in parts)
        return f"<tr>{''.join(shown)}</tr>"

    caption = f"<caption>{html.escape(table.title)}</caption>" if table.title else ""
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="table"><table>{caption}<thead>{line(table.columns, "th")}</thead><tbody>'
        + "".join(line(row, "td") for row in rows)
        + f"</tbody></table></div>{note}"
    )


def _broken(text, is_number):
    """Escapes a cell; a number may break before its interval, and nowhere else."""
    text = html.escape(text)
    return f"<span>{text.replace(' [', '</span> <span>[')}</span>" if is_number else text


# --- Markdown ------------------------------------------------------------------------------------


def _plain(text):
    """Escapes what Markdown, or HTML in it, would take for more than text."""
    text = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", text)


def _fenced(text):
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}"


def _markdown_of(block, folder):
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_plain(text)}"
        case Paragraph(text):
            return _plain(text)
        case Bullets(items):
            return "\n".join(f"- {_plain(item)}" for item in items)
        case Code(text, title):
            return (f"{_plain(title)}:\n\n" if title else "") + _fenced(text)
        case Missing(what, command):
            return f"*{_plain(_missing(what))}*" + (f"\n\n{_fenced(command)}" if command else "")
        case Picture(name, _, caption):
            return f"![{_plain(name)}]({folder}/{quote(name)})\n\n{_plain(caption)}"
        case Table(title, columns, _, note):
            rows, numeric = _formatted(block)
            lines = [columns, ["---:" if is_number else "---" for is_number in numeric]]
            lines = [[*map(_plain, columns)], lines[1], *([*map(_plain, row)] for row in rows)]
            text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
            text = f"**{_plain(title)}**\n\n{text}" if title else text
            return f"{text}\n\n{_plain(note)}" if note else text
    raise TypeError(f"{type(block).__name__} is no block of a document.")


def _missing(what):
    return f"{what}: {NOT_MEASURED}."


# The policy makes "no request beyond the file" a matter of the browser, not of trust.
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
body { max-width: 62rem; margin: 0 auto; padding: 1.5rem; color: #222; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.4rem; margin: 2.6rem 0 0.8rem; padding-bottom: 0.2rem; border-bottom: 1px solid #ccd; }
h3 { font-size: 1.1rem; margin: 1.8rem 0 0.5rem; }
nav { font-size: 0.92rem; background: #f6f7fa; border-radius: 6px; padding: 0.8rem 1.2rem; }
nav ol { columns: 17rem; list-style: none; margin: 0; padding: 0; }
nav .level3 { padding-left: 1.2rem; }
a { color: #1f4e9c; text-decoration: none; }
.table { overflow-x: auto; margin: 1rem 0 0.4rem; }
table { border-collapse: collapse; font-size: 0.9rem; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.3rem; white-space: nowrap; }
th, td { padding: 0.25rem 0.8rem 0.25rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 1.5px solid #667; vertical-align: bottom; }
td { border-bottom: 1px solid #e4e6ec; overflow-wrap: break-word; max-width: 34rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; padding-left: 0.8rem; }
td.number span { white-space: nowrap; }
.note, figcaption { font-size: 0.86rem; color: #555; margin: 0.2rem 0 1.2rem; }
.missing { background: #fff6e0; border-left: 4px solid #e0a100; padding: 0.4rem 0.8rem; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; height: auto; }
pre { background: #f6f7fa; border-radius: 6px; padding: 0.7rem 1rem; overflow-x: auto; font-size: 0.85rem; }
code { font-size: 0.9em; overflow-wrap: anywhere; }
summary { cursor: pointer; }
@media print { body { max-width: none; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
</style>
</head>
<body>
<h1>$title</h1>
<nav><ol>
$contents
</ol></nav>
$body
</body>
</html>
""")
