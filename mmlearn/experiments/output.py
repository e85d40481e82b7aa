"""Results on disk: written beside their place and renamed, so that nothing is ever half there.

Imports nothing heavy.
"""

import contextlib
import json
import os
import shutil
import tempfile

from mmlearn.serving.server_config import BATCHING, MODELS

# What other commands leave in the folder of a model, and what is of no other one.
MEASURED = ("evidence", "report.html", "report.md", "report_figures")

# The first version, and the config of the server beside it.
ALWAYS_SERVED = ("1", MODELS, BATCHING)


def check_output(output, what, record, results):
    """Checks before the work that the results can be written.

    Args:
        output: str. The folder.
        what: str. What an earlier result may be of, for the message.
        record: str. The file that shows it.
        results: tuple of str. All that it consists of.

    Raises:
        ValueError: when the folder exists and is not such a result.
        OSError: when its parent cannot be made or written to.
    """
    is_run = os.path.isfile(os.path.join(output, record))
    is_empty = os.path.isdir(output) and not os.listdir(output)
    if os.path.exists(output) and not is_run and not is_empty:
        raise ValueError(
            f"The output {output!r} exists and is not the result of {what}. Fix: pass another "
            "folder, --output DIR, or remove it."
        )
    if os.path.ismount(output):
        raise ValueError(
            f"The output {output!r} is a mount point, which cannot be replaced as a whole. Fix: pass "
            "a folder inside it, --output DIR."
        )
    if is_run:
        serving = os.path.join(output, "serving")
        versions_there = os.listdir(serving) if os.path.isdir(serving) else []
        kept = sorted(set(os.listdir(output)) - set(results))
        kept += sorted(
            f"serving/{version}" for version in versions_there if version not in ALWAYS_SERVED
        )
        if kept:
            raise ValueError(
                f"The output {output!r} holds {kept[0]!r} besides the results of {what}, and would be "
                "replaced. Fix: pass another folder, --output DIR, or move that away."
            )
    parent = os.path.dirname(os.path.abspath(output))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryFile(dir=parent):
        pass


@contextlib.contextmanager
def replacing(output):
    """Gives a new folder that takes the place of the output at the end; the old one goes last.

    After an error, what was there stays. The config of the server goes from the old folder to the new
    one, since it is whoever edits it who knows what is served; remove it for a new one.

    Args:
        output: str. The folder, see `check_output`.

    Yields:
        str, the folder to write to.
    """
    partial = f"{output.rstrip(os.sep)}.partial-{os.getpid()}"
    old = f"{partial}.old"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    try:
        yield partial
        _keep_server_config(output, partial)
        if os.path.exists(output):
            os.rename(output, old)
        try:
            os.rename(partial, output)
        except OSError:
            if os.path.exists(old):
                os.rename(old, output)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _keep_server_config(output, partial):
    serving = os.path.join(partial, "serving")
    for name in (MODELS, BATCHING):
        path = os.path.join(output, "serving", name)
        if os.path.isfile(path) and os.path.isdir(serving):
            shutil.copy2(path, os.path.join(serving, name))


def write_json(path, content):
    """Writes a JSON file, whole or not at all.

    Args:
        path: str.
        content: plain JSON types.
    """
    partial = f"{path}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    os.replace(partial, path)


def remove(folder):
    """Removes a folder so that an interruption leaves nothing of it under its name.

    Args:
        folder: str. It may be missing, and hold files that are still open.
    """
    if os.path.exists(folder):
        trash = f"{folder.rstrip(os.sep)}.old-{os.getpid()}"
        os.rename(folder, trash)
        shutil.rmtree(trash, ignore_errors=True)
