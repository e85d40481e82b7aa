"""What a command measured on a run, in a form that the report shows without knowing the command.

A run's folder has a folder `evidence`, with a JSON file per topic and the pictures that go with it:

    saved_models/shapes/evidence/ablation.json
    saved_models/shapes/evidence/ablation_map.png

A file is one object:

| key | holds |
|---|---|
| `tables` | list of objects `title`, `columns` (list of str), `rows` (lists of cells, as long as `columns`) and maybe `note` (str, shown under the table) |
| `figures` | list of names of PNG files in the same folder |
| `captions` | maybe: an object of such a name to a str |
| `remarks` | maybe: a list of sentences, shown above the tables |
| `command` | maybe: the command line that measured it |

and any further keys, such as the figures behind a table, which no report shows. A cell is a str; a
number; `null`, which is shown as "not measured"; or an object `value`, `low`, `high`, a number with its
interval (95 %, unless the note says otherwise).

The report has a section for each of `ABLATION` to `PROFILE`; other topics come last, in a section of
their own.
"""

import json
import os
import re

FOLDER = "evidence"
ABLATION, ATTENTION, CONTRIBUTION = "ablation", "attention", "contribution"
ROBUSTNESS, ERRORS, PROFILE = "robustness", "errors", "profile"

_TOPIC = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_INTERVAL = {"value", "low", "high"}


def evidence_folder(run):
    """Makes the folder of a run's evidence, if it is not there, and returns it.

    Args:
        run: str. Output folder of a run.

    Raises:
        ValueError: when there is no such folder.
    """
    if not os.path.isdir(run):
        raise ValueError(f"{str(run)!r} is not a folder. Fix: pass the output folder of a run.")
    folder = os.path.join(run, FOLDER)
    os.makedirs(folder, exist_ok=True)
    return folder


def write_evidence(run, topic, content):
    """Writes the evidence of one topic, in the place of an earlier one, whole or not at all.

    Args:
        run: str. Output folder of a run.
        topic: str, such as `"ablation"`. The file's name.
        content: dict, see above. Its pictures must be in `evidence_folder(run)` already.

    Returns:
        str, the path of the file.

    Raises:
        ValueError: when the content is not in the format.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run:
    ...     table = {"title": "mAP", "columns": ["fusion", "mAP"], "rows": [["concat", 0.5]]}
    ...     path = write_evidence(run, "ablation", {"tables": [table], "figures": []})
    ...     read_evidence(path)["tables"][0]["rows"]
    [['concat', 0.5]]
    """
    if not _TOPIC.fullmatch(topic):
        raise ValueError(
            f"`topic` must be lower-case words joined by underscores. Received: topic={topic!r}."
        )
    path = os.path.join(evidence_folder(run), f"{topic}.json")
    text = json.dumps(content, indent=2)
    # As it will be read: a tuple has become a list by then.
    check_evidence(json.loads(text), path)
    partial = f"{path}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, path)
    return path


def read_evidence(path):
    """Reads the evidence of one topic.

    Args:
        path: str.

    Returns:
        dict, see above.

    Raises:
        ValueError: when the file cannot be read or is not in the format; the path is named.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read ({error}). Fix: measure it again, or remove the file."
        ) from None
    check_evidence(content, path)
    return content


def read_all_evidence(run):
    """Reads all evidence of a run.

    Args:
        run: str. Output folder of a run.

    Returns:
        dict of topic to content, in the topics' alphabetical order. Empty where nothing was measured.

    Raises:
        ValueError: when a file is not in the format.
    """
    folder = os.path.join(run, FOLDER)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = (os.path.splitext(name) for name in names)
    return {
        topic: read_evidence(os.path.join(folder, f"{topic}.json"))
        for topic, extension in found
        if extension == ".json"
    }


def check_evidence(content, path):
    """Checks that evidence is in the format.

    Args:
        content: plain JSON types.
        path: str. Where it is, or will be: its pictures are beside it.

    Raises:
        ValueError: which names the path and the key.
    """

    def require(is_right, what, value):
        if not is_right:
            raise ValueError(
                f"{str(path)!r}: {what}. Received: {str(value)[:100]!r}. Fix: see the format in "
                "mmlearn/analysis/evidence.py."
            )

    require(isinstance(content, dict), "evidence must be an object", content)
    for key in ("tables", "figures"):
        require(isinstance(content.get(key), list), f"`{key}` must be a list", content.get(key))
    for number, table in enumerate(content["tables"]):
        where = f"`tables[{number}]"
        require(isinstance(table, dict), f"{where}` must be an object", table)
        for key in ("title", "note"):
            value = table.get(key, "")
            require(isinstance(value, str), f"{where}.{key}` must be a string", value)
        columns, rows = table.get("columns"), table.get("rows")
        require(_is_texts(columns) and columns, f"{where}.columns` must be strings", columns)
        require(isinstance(rows, list), f"{where}.rows` must be a list", rows)
        for place, row in enumerate(rows):
            is_row = isinstance(row, list) and len(row) == len(columns)
            what = f"{where}.rows[{place}]` must be a list of {len(columns)} cells"
            require(is_row, what, row)
            for cell in row:
                what = f"{where}.rows[{place}]` must hold strings, numbers, null or intervals"
                require(_is_cell(cell), what, cell)
    require(_is_texts(content["figures"]), "`figures` must be names of files", content["figures"])
    for name in content["figures"]:
        is_plain = os.path.basename(name) == name and name.endswith(".png")
        require(is_plain, "`figures` must be names of PNG files in the same folder", name)
        is_there = os.path.isfile(os.path.join(os.path.dirname(path), name))
        require(is_there, "the picture is missing", name)
    captions = content.get("captions", {})
    is_dict = isinstance(captions, dict) and _is_texts(list(captions.values()))
    require(is_dict, "`captions` must be an object of strings", captions)
    remarks, command = content.get("remarks", []), content.get("command", "")
    require(_is_texts(remarks), "`remarks` must be strings", remarks)
    require(isinstance(command, str), "`command` must be a string", command)


def _is_texts(values):
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _is_cell(cell):
    if isinstance(cell, dict):
        return set(cell) == _INTERVAL and all(map(_is_number, cell.values()))
    return cell is None or isinstance(cell, str) or _is_number(cell)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
