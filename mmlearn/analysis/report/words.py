"""How a report writes names, numbers and lists."""

import math

SHOWN_CLASSES = 25  # rows of a table; the note says how many there are


def name_of(text):
    """A name as prose has it: `_` as a space."""
    return text.replace("_", " ")


def title_of(head):
    """A head, of which rows begin with `objects_`, as prose has it."""
    return name_of(head.rstrip("_"))


def number_of(cell):
    """The number of a cell, with or without an interval; NaN where there is none."""
    value = cell["value"] if isinstance(cell, dict) else cell
    return math.nan if value is None else value


def text_of(cell):
    """A cell as prose has it, with its interval where there is one."""
    if isinstance(cell, dict):
        return f"{cell['value']:.4f} [{cell['low']:.4f}, {cell['high']:.4f}]"
    return "that was not measured" if cell is None else f"{cell:.4f}"


def plain(value):
    """A setting as a table can hold it."""
    return value if isinstance(value, (int, float, str)) and value is not True else str(value)


def join(words):
    """A list as prose has it: commas, and "and" before the last."""
    words = [str(word) for word in words]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def fingerprint_of(data):
    """The fingerprint of the data of a record, short enough for a table."""
    return str(data.get("fingerprint", "unknown"))[:12]
