"""Writes the report of runs: one HTML file, and Markdown beside it."""

import os
import pathlib

from mmlearn.analysis.document import Missing, to_html, to_markdown
from mmlearn.analysis.evidence import read_evidence
from mmlearn.analysis.report.build import build_report
from mmlearn.analysis.run_record import read_run_record
from mmlearn.experiments.output import replacing


def write_report(folders, output=None, evidence=()):
    """Writes the report of one run, or of several beside each other.

    Args:
        folders: list of str. Output folders of runs.
        output: str, the HTML file; the Markdown and the folder of its figures get their names from it.
            By default `report.html` in the folder of the one run.
        evidence: list of str. JSON files of what was measured elsewhere, such as the one in the folder of
            an ablation (see `mmlearn.analysis.evidence`), each shown under its name. Only with one run.

    Returns:
        A dict of `html`, `markdown`, `figures`: paths; and `missing`, a list of what was not measured.

    Raises:
        ValueError: when a folder is no run, a file is not in its format, or the output's name is not right.
    """
    folders = list(folders)
    if not folders:
        raise ValueError("A report needs a run. Fix: pass the output folder of one.")
    if len(folders) > 1 and (output is None or evidence):
        raise ValueError(
            f"`output` must be given for several runs, and `evidence` is of one. Received: {len(folders)} "
            f"runs, output={output!r}, evidence={list(evidence)}. Fix: --output FILE.html; copy the "
            "evidence into the runs' folders `evidence`."
        )
    runs = [read_run_record(folder) for folder in folders]
    for path in evidence:
        topic = pathlib.Path(path).stem
        runs[0].evidence[topic] = read_evidence(path)
        runs[0].places[topic] = os.path.dirname(path)
    output = os.path.join(runs[0].folder, "report.html") if output is None else str(output)
    stem, extension = os.path.splitext(output)
    if extension.lower() not in (".html", ".htm"):
        raise ValueError(f"`output` must end in .html. Received: output={output!r}.")
    title, blocks = build_report(runs)
    text, pictures = to_markdown(title, blocks, f"{os.path.basename(stem)}_figures")
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    with replacing(f"{stem}_figures") as partial:
        for name, content in pictures.items():
            pathlib.Path(partial, name).write_bytes(content)
    _write(f"{stem}.md", text)
    _write(output, to_html(title, blocks))
    return {
        "html": output,
        "markdown": f"{stem}.md",
        "figures": f"{stem}_figures",
        "missing": [block.what for block in blocks if isinstance(block, Missing)],
    }


def _write(path, text):
    partial = f"{path}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, path)
