"""Leaves what was measured on a model beside it: JSON, Markdown, pictures."""

import math
import os

from mmlearn.analysis.document import to_markdown
from mmlearn.analysis.evidence import evidence_folder, write_evidence
from mmlearn.analysis.evidence_blocks import evidence_blocks


def leave_findings(run, topic, title, content, draw):
    """Writes evidence with its pictures, and the same as Markdown.

    Args:
        run: str. Folder in which `evidence/` is made, or is; made if it is missing.
        topic: str, see `mmlearn.analysis.evidence`.
        title: str. Of the Markdown.
        content: dict, see `mmlearn.analysis.evidence`.
        draw: function of a folder that writes the pictures there.

    Returns:
        The content, with `path`, where the JSON is.
    """
    content = _without_nan(content)
    os.makedirs(run, exist_ok=True)
    folder = evidence_folder(run)
    draw(folder)
    path = write_evidence(run, topic, content)
    # Its pictures lie beside it.
    text, _ = to_markdown(title, evidence_blocks(content, folder), ".")
    partial = os.path.join(folder, f"{topic}.md.partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, os.path.join(folder, f"{topic}.md"))
    return {**content, "path": path}


def _without_nan(content):
    """What could not be measured is `None`: JSON knows no NaN. So is an interval without a value."""
    if isinstance(content, dict):
        content = {name: _without_nan(each) for name, each in content.items()}
        is_interval = set(content) == {"value", "low", "high"}
        return None if is_interval and None in content.values() else content
    if isinstance(content, (list, tuple)):
        return [_without_nan(each) for each in content]
    is_number = isinstance(content, float)
    return None if is_number and not math.isfinite(content) else content
