"""Evidence as blocks of a document, whatever command wrote it."""

import os

from mmlearn.analysis.document import Bullets, Code, Picture, Table


def evidence_blocks(content, folder, prefix=""):
    """Makes blocks of evidence: remarks, tables, figures, the command.

    Args:
        content: dict, see `mmlearn.analysis.evidence`.
        folder: str. Where its pictures are.
        prefix: str. What the names of its pictures begin with in the document.

    Returns:
        A list of blocks, see `mmlearn.analysis.document`.

    Example:

    >>> table = {"title": "mAP", "columns": ["fusion", "mAP"], "rows": [["concat", 0.5]]}
    >>> evidence_blocks({"tables": [table], "figures": []}, ".")
    [Table(title='mAP', columns=('fusion', 'mAP'), rows=(('concat', 0.5),), note='')]
    """
    blocks = []
    if remarks := content.get("remarks"):
        blocks.append(Bullets(tuple(remarks)))
    for table in content["tables"]:
        rows, columns = tuple(map(tuple, table["rows"])), tuple(table["columns"])
        blocks.append(Table(table.get("title", ""), columns, rows, table.get("note", "")))
    captions = content.get("captions") or {}
    for name in content["figures"]:
        with open(os.path.join(folder, name), "rb") as file:
            picture = file.read()
        blocks.append(Picture(f"{prefix}{name}", picture, captions.get(name, f"{prefix}{name}")))
    if command := content.get("command"):
        blocks.append(Code(command))
    return blocks
