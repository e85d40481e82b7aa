"""Notes of what was begun in a folder, and who may go on there. Imports nothing heavy."""

import glob
import json
import os
import shutil

from mmlearn.experiments.output import write_json

NOTE = "begun.json"


def begin(folder, begun):
    """Writes the note of what is begun in a folder, or compares it with the one that is there.

    Args:
        folder: str. It must exist.
        begun: dict of plain JSON types: all that decides the results.

    Returns:
        Whether it is the same, so that work may go on from what the folder holds.
    """
    path = os.path.join(folder, NOTE)
    if os.path.exists(path):
        return read_note(folder) == json.loads(json.dumps(begun))
    write_json(path, begun)
    return True


def read_note(folder):
    """Returns the note in a folder, or `None` where there is none or it is damaged."""
    try:
        with open(os.path.join(folder, NOTE), encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def open_output(output, begun, contents, restart=False):
    """Opens the output folder of a command that fills it run by run, new or to go on in it.

    Args:
        output: str.
        begun: dict of plain JSON types: `command`, for the messages, and all that decides the
            results.
        contents: patterns of the names that the command writes there. Nothing else is removed.
        restart: bool. Whether to throw away what the same command has left there.

    Raises:
        ValueError: when the folder is something else, or of another experiment or other data.
    """
    command, there = begun["command"], read_note(output)
    is_own = isinstance(there, dict) and there.get("command") == command
    is_new = not os.path.exists(output) or (
        os.path.isdir(output) and not set(os.listdir(output)) - {f"{NOTE}.partial"}
    )
    if not is_new and not is_own:
        raise ValueError(
            f"The output {output!r} exists and is not the result of `{command}`. Fix: pass another "
            "folder, --output DIR, or remove it."
        )
    os.makedirs(output, exist_ok=True)
    if restart and is_own:
        # The note goes last, so that an interruption in here leaves a folder that can be restarted.
        for pattern in (*contents, NOTE):
            for path in glob.glob(os.path.join(glob.escape(output), pattern)):
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    if not begin(output, begun):
        raise ValueError(
            f"{output!r} was begun by `{command}` with another experiment, other options or other "
            "data. Fix: repeat that command to go on, or pass --training.restart to throw its results "
            "away, or another --output."
        )
