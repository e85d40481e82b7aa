"""`python -m mmlearn check`: whether this machine has what is needed, and what to do."""

import dataclasses
import json
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from data_prep.quiet import quiet_start
from mmlearn.experiments.requirements import FINE, FIX, NOTE, check_extras, check_versions

_MARKS = {FINE: "[green]fine[/]", NOTE: "[yellow]note[/]", FIX: "[red]fix [/]"}


@dataclass(frozen=True)
class Check:
    """Looks at versions, devices, memory, folders, optional parts and the network.

    The exit status is 1 where training would fail, else 0: a missing optional part, GPU or network is a
    note.
    """

    data: str = "data"
    """Folder where data sets are written."""
    models: str = "saved_models"
    """Folder where runs are written."""
    timeout_seconds: float = 3.0
    """How long each hub of published weights may take to answer."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Checks, prints and returns the exit status."""
    options = tyro.cli(Check, prog="python -m mmlearn check", args=args)
    if not options.timeout_seconds > 0:
        raise ValueError(
            f"--timeout-seconds must be above 0. Received: {options.timeout_seconds}. Fix: 3."
        )
    console = Console(stderr=options.json)
    found = check_versions()
    if all(each.status != FIX for each in found):  # or what follows could not be imported
        with quiet_start():
            from mmlearn.experiments.machine import check_machine

        with console.status("looking at the machine"):
            found += check_machine(options.data, options.models, options.timeout_seconds)
        found += check_extras()
    for each in found:
        console.print(
            f"{_MARKS[each.status]}  [bold]{each.topic}[/]: {escape(each.what)}", highlight=False
        )
        if each.todo:
            console.print(Padding(escape(each.todo), (0, 0, 0, 6)), highlight=False)
    to_fix = sum(each.status == FIX for each in found)
    verdict = f"{to_fix} to fix before training." if to_fix else "This machine is ready to train."
    console.print(verdict, highlight=False)
    if options.json:
        print(json.dumps({"findings": [dataclasses.asdict(each) for each in found]}))
    return 1 if to_fix else 0
