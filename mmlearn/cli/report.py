"""`python -m mmlearn report RUN... [--output report.html]`."""

import json
from dataclasses import dataclass

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start


@dataclass(frozen=True)
class Report:
    """Writes what runs have left as one HTML file, and as Markdown."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Output folders of runs, such as saved_models/shapes. Several are compared."""
    output: str | None = None
    """The HTML file. By default `report.html` in the folder of the one run."""
    evidence: tuple[str, ...] = ()
    """JSON files of what was measured elsewhere, such as that of an ablation; of one run."""
    json: bool = False
    """Print one JSON object as the last line of standard output."""


def run(args):
    """Writes the report and says what it could not show."""
    options = tyro.cli(Report, prog="python -m mmlearn report", args=args)
    with quiet_start():
        from mmlearn.experiments.report import write_report

    console = Console(stderr=options.json)
    with console.status("drawing and writing"):
        result = write_report(options.runs, options.output, options.evidence)
    for what in dict.fromkeys(result["missing"]):
        console.print(f"[bold]not measured[/]: {what}", highlight=False)
    console.print(f"{result['html']}\n{result['markdown']}", highlight=False, markup=False)
    if options.json:
        print(json.dumps(result))
